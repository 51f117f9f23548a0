"""Keysets that seal links, by Tink: AES-256-SIV (RFC 5297), each seal naming its key.

Laws:
- Sealing is deterministic: what is sealed again is the same text, and no nonce can be used twice.
- A forger guesses a tag of 128 bits; nothing else opens.
- Every key that ever sealed goes on opening, since a link in a message has no end.
- No key shows in a repr, and none of Tink's errors is handed on.

Source: ADR 0043; https://developers.google.com/tink (deterministic AEAD, the output prefix).
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import DecodeError
from tink import (
    TinkError,
    daead,
    new_keyset_handle,
    proto_keyset_format,
    secret_key_access,
)
from tink.proto import tink_pb2

from heed_server.secrets.errors import SecretsError

PREFIX_BYTES: Final = 5
"""What Tink puts before a seal: its version, and the id of the key in 4 bytes."""
_TINK_VERSION: Final = b"\x01"

_TinkKeyset: Any = tink_pb2.Keyset  # pyright: ignore[reportAttributeAccessIssue] - made at import

daead.register()


class SealingKeyset:
    """Keys of which one, the primary, seals, and every one opens what it sealed. A value."""

    __slots__ = ("_daead", "_serialized", "key_ids", "primary_id")

    def __init__(self, serialized: bytes) -> None:
        """`serialized` is what `to_bytes` gave.

        Raises:
            SecretsError: it is no keyset that can be used.
        """
        try:
            keys = _TinkKeyset.FromString(serialized)
            handle = proto_keyset_format.parse(serialized, secret_key_access.TOKEN)
            self._daead: daead.DeterministicAead = handle.primitive(daead.DeterministicAead)
        except (DecodeError, TinkError):
            raise SecretsError("a keyset of links is damaged: Tink cannot use it") from None
        self._serialized = serialized
        self.primary_id = int(keys.primary_key_id)
        self.key_ids = tuple(int(key.key_id) for key in keys.key)

    @classmethod
    def generate(cls) -> SealingKeyset:
        """Return a keyset of one new key."""
        return cls(_generated())

    def to_bytes(self) -> bytes:
        """Return all of it, keys too: to be wrapped, and never to be kept as it is."""
        return self._serialized

    def seal(self, content: bytes, associated: bytes) -> bytes:
        """Seal under the primary, whose id is left out; `associated` is needed again to open."""
        return bytes(self._daead.encrypt_deterministically(content, associated))[PREFIX_BYTES:]

    def open(self, key_id: int, sealed: bytes, associated: bytes) -> bytes | None:
        """Return what one key sealed with this `associated`; None: it did not."""
        if key_id not in self.key_ids:
            return None
        named = _TINK_VERSION + key_id.to_bytes(4) + sealed
        try:
            return bytes(self._daead.decrypt_deterministically(named, associated))
        except TinkError:
            return None

    def __repr__(self) -> str:
        return f"SealingKeyset(key_ids={self.key_ids}, primary_id={self.primary_id})"


def _generated() -> bytes:
    handle = new_keyset_handle(daead.deterministic_aead_key_templates.AES256_SIV)
    return bytes(proto_keyset_format.serialize(handle, secret_key_access.TOKEN))

"""Keysets that seal links, by Tink: AES-256-SIV (RFC 5297), each seal naming its key.

Laws:
- Sealing is deterministic: what is sealed again is the same text, and no nonce can be used twice.
- A forger guesses a tag of 128 bits; nothing else opens.
- Every key that ever sealed goes on opening, since a link in a message has no end. A new key opens
  before it seals, so that no node meets a seal whose key it was not told yet.
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

KEYS_MAX: Final = 100
"""Keys of one keyset; none is ever dropped."""

_TinkKeyset: Any = tink_pb2.Keyset  # pyright: ignore[reportAttributeAccessIssue] - made at import

daead.register()


class SealingKeyset:
    """Keys of which one, the primary, seals, and every one opens what it sealed. A value."""

    __slots__ = ("_by_id", "_serialized", "key_ids", "primary_id")

    def __init__(self, serialized: bytes) -> None:
        """`serialized` is what `to_bytes` gave.

        Raises:
            SecretsError: it is no keyset that can be used.
        """
        try:
            keys = _TinkKeyset.FromString(serialized)
            _daead_of(serialized)  # all of it is good
            self._by_id = {
                int(key.key_id): _daead_of(
                    _TinkKeyset(primary_key_id=key.key_id, key=[key]).SerializeToString()
                )
                for key in keys.key
            }
        except (DecodeError, TinkError):
            raise SecretsError("a keyset of links is damaged: Tink cannot use it") from None
        self._serialized = serialized
        self.primary_id = int(keys.primary_key_id)
        self.key_ids = tuple(self._by_id)
        """In the order in which they were added; those after the primary wait."""

    @classmethod
    def generate(cls) -> SealingKeyset:
        """Return a keyset of one new key."""
        return cls(_generated())

    def to_bytes(self) -> bytes:
        """Return all of it, keys too: to be wrapped, and never to be kept as it is."""
        return self._serialized

    def with_new_key(self) -> SealingKeyset:
        """Return these keys and a new one that waits: it opens, and does not seal yet.

        Raises:
            SecretsError: there are `KEYS_MAX`.
        """
        if len(self.key_ids) >= KEYS_MAX:
            raise SecretsError(f"a keyset of links has {KEYS_MAX} keys, and none can be dropped")
        keys = _TinkKeyset.FromString(self._serialized)
        new = _TinkKeyset.FromString(_generated()).key[0]
        while new.key_id in self._by_id:  # random, of 32 bits
            new = _TinkKeyset.FromString(_generated()).key[0]
        keys.key.append(new)
        return SealingKeyset(keys.SerializeToString())

    def with_last_as_primary(self) -> SealingKeyset:
        """Return these keys, of which the one that was added last seals."""
        keys = _TinkKeyset.FromString(self._serialized)
        keys.primary_key_id = self.key_ids[-1]
        return SealingKeyset(keys.SerializeToString())

    def seal(self, content: bytes, associated: bytes, key_id: int | None = None) -> bytes:
        """Seal under a key, None: the primary, whose id is left out; `associated` opens it again.

        Raises KeyError: there is no such key.
        """
        by = self._by_id[self.primary_id if key_id is None else key_id]
        return bytes(by.encrypt_deterministically(content, associated))[PREFIX_BYTES:]

    def open(self, key_id: int, sealed: bytes, associated: bytes) -> bytes | None:
        """Return what one key sealed with this `associated`; None: it did not."""
        by = self._by_id.get(key_id)
        if by is None:
            return None
        named = _TINK_VERSION + key_id.to_bytes(4) + sealed
        try:
            return bytes(by.decrypt_deterministically(named, associated))
        except TinkError:
            return None

    def __repr__(self) -> str:
        return f"SealingKeyset(key_ids={self.key_ids}, primary_id={self.primary_id})"


def _daead_of(serialized: bytes) -> daead.DeterministicAead:
    handle = proto_keyset_format.parse(serialized, secret_key_access.TOKEN)
    made: daead.DeterministicAead = handle.primitive(daead.DeterministicAead)
    return made


def _generated() -> bytes:
    handle = new_keyset_handle(daead.deterministic_aead_key_templates.AES256_SIV)
    return bytes(proto_keyset_format.serialize(handle, secret_key_access.TOKEN))

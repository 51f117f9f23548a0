"""Keysets that encrypt and decrypt, by Tink: AES-256-GCM, each ciphertext naming its key.

Laws:
- The one module, with `sealing`, that knows Tink; what it writes is Tink's own formats and
  nothing of ours.
- A keyset is a value: rotating gives another one.
- No key shows in a repr, and none of Tink's errors is handed on, which may hold what was wrong.

Source: https://developers.google.com/tink (AEAD, keysets, the output prefix).
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import DecodeError, Message
from tink import (
    TinkError,
    aead,
    json_proto_keyset_format,
    new_keyset_handle,
    proto_keyset_format,
    secret_key_access,
)
from tink.proto import tink_pb2

from heed_server.secrets.errors import SecretsError

_PREFIX_BYTES: Final = 5
"""What Tink puts before a ciphertext: its version, and the id of the key in 4 bytes."""
_TINK_VERSION: Final = 1

_TinkKeyset: Any = tink_pb2.Keyset  # pyright: ignore[reportAttributeAccessIssue] - made at import

aead.register()


def key_id_of(ciphertext: bytes) -> int | None:
    """Return the id of the key that a ciphertext names; None: it is none of Tink's."""
    if len(ciphertext) < _PREFIX_BYTES or ciphertext[0] != _TINK_VERSION:
        return None
    return int.from_bytes(ciphertext[1:_PREFIX_BYTES])


class Keyset:
    """Keys of which one, the primary, encrypts, and every one decrypts what it encrypted."""

    __slots__ = ("_aead", "_keys")

    def __init__(self, keys: Message) -> None:
        """`keys` are a keyset of Tink's; they are not changed afterwards.

        Raises:
            SecretsError: they are no keyset that can be used.
        """
        self._keys: Any = keys
        try:
            handle = proto_keyset_format.parse(keys.SerializeToString(), secret_key_access.TOKEN)
            self._aead: aead.Aead = handle.primitive(aead.Aead)
        except TinkError:
            raise SecretsError("a keyset is damaged: Tink cannot use it") from None

    @classmethod
    def generate(cls) -> Keyset:
        """Return a keyset of one new key."""
        return cls(_generated())

    @classmethod
    def from_bytes(cls, serialized: bytes) -> Keyset:
        """Return the keyset that `to_bytes` gave.

        Raises:
            SecretsError: they are no keyset.
        """
        try:
            return cls(_TinkKeyset.FromString(serialized))
        except DecodeError:
            raise SecretsError("a keyset is damaged: it cannot be read") from None

    @classmethod
    def from_json(cls, text: str) -> Keyset:
        """Return a keyset of Tink's JSON format.

        Raises:
            SecretsError: it is none.
        """
        try:
            handle = json_proto_keyset_format.parse(text, secret_key_access.TOKEN)
        except (TinkError, ValueError):
            raise SecretsError("a keyset is damaged: it cannot be read") from None
        serialized = proto_keyset_format.serialize(handle, secret_key_access.TOKEN)
        return cls.from_bytes(serialized)

    def to_bytes(self) -> bytes:
        """Return all of it, keys too: to be wrapped, and never to be kept as it is."""
        return bytes(self._keys.SerializeToString())

    def to_json(self) -> str:
        """Return it in Tink's JSON format, keys too."""
        handle = proto_keyset_format.parse(self.to_bytes(), secret_key_access.TOKEN)
        return str(json_proto_keyset_format.serialize(handle, secret_key_access.TOKEN))

    @property
    def primary_id(self) -> int:
        """The id of the key that encrypts."""
        return int(self._keys.primary_key_id)

    @property
    def key_ids(self) -> tuple[int, ...]:
        """The ids of all keys, in the order in which they were added."""
        return tuple(int(key.key_id) for key in self._keys.key)

    def with_new_key(self, *, is_primary: bool) -> Keyset:
        """Return it with one key more; one that is not the primary decrypts only, for now."""
        keys = _TinkKeyset.FromString(self.to_bytes())
        new = _generated()
        while new.primary_key_id in self.key_ids:  # ids are random
            new = _generated()
        keys.key.append(new.key[0])
        if is_primary:
            keys.primary_key_id = new.primary_key_id
        return Keyset(keys)

    def with_last_as_primary(self) -> Keyset:
        """Return it with the key that was added last as the one that encrypts."""
        keys = _TinkKeyset.FromString(self.to_bytes())
        keys.primary_key_id = self.key_ids[-1]
        return Keyset(keys)

    def without_old_keys(self) -> Keyset:
        """Return it without the keys before the primary: what they encrypted is lost by this."""
        first_kept = self.key_ids.index(self.primary_id)
        keys = _TinkKeyset.FromString(self.to_bytes())
        del keys.key[:first_kept]
        return Keyset(keys)

    def encrypt(self, plaintext: bytes, associated: bytes) -> bytes:
        """Encrypt under the primary; `associated` has to be given again to decrypt."""
        return bytes(self._aead.encrypt(plaintext, associated))

    def decrypt(self, ciphertext: bytes, associated: bytes) -> bytes:
        """Decrypt what one of the keys encrypted.

        Raises:
            SecretsError: none did, or not with this `associated`, or it was changed since.
        """
        try:
            return bytes(self._aead.decrypt(ciphertext, associated))
        except TinkError:
            raise SecretsError(
                f"what key {key_id_of(ciphertext)} encrypted cannot be read by the keys "
                f"{', '.join(map(str, self.key_ids))}"
            ) from None

    def __repr__(self) -> str:
        return f"Keyset(key_ids={self.key_ids}, primary_id={self.primary_id})"


def _generated() -> Any:
    handle = new_keyset_handle(aead.aead_key_templates.AES256_GCM)
    serialized = proto_keyset_format.serialize(handle, secret_key_access.TOKEN)
    return _TinkKeyset.FromString(serialized)

"""The root keys: they wrap every secret of a store, and stand outside of its database.

    wrapped = root.wrap("secrets/lookup-key/1/1", key)
    root.unwrap("secrets/lookup-key/1/1", wrapped) == key

Law: the name is part of what is encrypted, so that a wrapped secret put under another name is
refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Final, cast

from heed_server.secrets.errors import SecretsError
from heed_server.secrets.keysets import Keyset, key_id_of
from heed_server.secrets.names import PURPOSES, purpose_of

_FORMAT: Final = "heed root keys 1"


class RootKeys:
    """A keyset for each purpose. A value: rotating gives others."""

    __slots__ = ("_keysets",)

    def __init__(self, keysets: Mapping[str, Keyset]) -> None:
        """Holds one of each purpose."""
        self._keysets = MappingProxyType({purpose: keysets[purpose] for purpose in PURPOSES})

    @classmethod
    def generate(cls) -> RootKeys:
        """Return new ones."""
        return cls({purpose: Keyset.generate() for purpose in PURPOSES})

    @classmethod
    def from_json(cls, text: str) -> RootKeys:
        """Return the root keys that `to_json` gave.

        Raises:
            SecretsError: it is something else, or damaged.
        """
        try:
            decoded = json.loads(text)
            if decoded.pop("format") != _FORMAT:
                raise SecretsError(f"the format is not {_FORMAT!r}; a later heed wrote it")
            keysets = cast("dict[str, object]", decoded)
            return cls({name: Keyset.from_json(json.dumps(keysets[name])) for name in PURPOSES})
        except (ValueError, LookupError, AttributeError, TypeError):
            raise SecretsError("it holds no root keys, or is damaged") from None

    def to_json(self) -> str:
        """Return all of them as text: the keysets in Tink's JSON format, by purpose."""
        keysets = {name: json.loads(keyset.to_json()) for name, keyset in self._keysets.items()}
        return json.dumps({"format": _FORMAT, **keysets}, indent=1) + "\n"

    def keyset(self, purpose: str) -> Keyset:
        """Return the keyset of a purpose."""
        return self._keysets[purpose]

    def wrap(self, name: str, secret: bytes) -> bytes:
        """Encrypt a secret so that it may be kept in the database under this name."""
        return self._keysets[purpose_of(name)].encrypt(secret, _associated(name))

    def unwrap(self, name: str, wrapped: bytes) -> bytes:
        """Return a secret that was wrapped under this name.

        Raises:
            SecretsError: other root keys wrapped it, or it was changed, or it was of another name.
        """
        return self._keysets[purpose_of(name)].decrypt(wrapped, _associated(name))

    def is_current(self, name: str, wrapped: bytes) -> bool:
        """Whether a secret is wrapped by the key that wraps today."""
        return key_id_of(wrapped) == self._keysets[purpose_of(name)].primary_id

    def changed(self, purposes: Collection[str], change: Callable[[Keyset], Keyset]) -> RootKeys:
        """Return these with some keysets changed."""
        return RootKeys(
            {
                purpose: change(keyset) if purpose in purposes else keyset
                for purpose, keyset in self._keysets.items()
            }
        )

    def __repr__(self) -> str:
        return f"RootKeys({dict(self._keysets)!r})"


def _associated(name: str) -> bytes:
    return b"heed secret\0" + name.encode()

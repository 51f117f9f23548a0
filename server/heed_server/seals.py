"""Seals: what a link carries, readable and made by nobody without its tenant's key.

    v1.<key id>.<what the key sealed>

Laws:
- What is sealed is sealed for a tenant and a use: what was made to be pressed opens no page, under
  the same key. The tag has 128 bits.
- Sealing is deterministic, and nothing is stored: the same content is the same text, and has the
  same name for as long as its key opens, whichever key seals by then.

Source: ADR 0043, ADR 0046.
"""

import base64
import binascii
import enum
import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Final, NamedTuple

from heed.model import TenantId
from heed_server.secrets.sealing import SealingKeyset

_VERSION: Final = "v1"
_TOKEN: Final = re.compile(r"v1\.([0-9a-f]{8})\.([A-Za-z0-9_-]{24,})")


class Use(bytes, enum.Enum):
    """What a seal is for; none opens as another."""

    LINK = b"heed link 1\0"
    PAGE = b"heed page 1\0"


_NAME: Final = {Use.LINK: b"heed link use 1\0", Use.PAGE: b"heed page use 1\0"}
"""Sets what names a seal apart from seals, under the same key."""


class Opened(NamedTuple):
    """What was sealed, and for which tenant."""

    tenant_id: TenantId
    content: bytes
    name: str
    """32 characters that nobody without the key can tell; the same for the same text."""
    is_of_newest_key: bool
    """Whether the key that sealed it is the one that seals now."""

    @property
    def reference(self) -> str:
        """What its use is asked about by: 16 characters, which tell nothing of the name."""
        return sha256(b"heed reference\0" + self.name.encode()).hexdigest()[:16]


class SealOpener:
    """Opens what the keysets of some tenants sealed. A value."""

    def __init__(self, keysets: Iterable[tuple[TenantId, SealingKeyset]]) -> None:
        """Takes each tenant's keyset."""
        self._by_key_id: dict[int, list[tuple[TenantId, SealingKeyset]]] = {}
        for tenant_id, keyset in keysets:
            for key_id in keyset.key_ids:  # random: two tenants may have one in common
                self._by_key_id.setdefault(key_id, []).append((tenant_id, keyset))

    def open(self, token: str, use: Use) -> Opened | None:
        """Return what a token carries; None: none of these tenants' keysets sealed it for this."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        key_id = int(found[1], 16)
        keysets = self._by_key_id.get(key_id)
        if keysets is None:
            return None
        try:
            sealed = base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4))
        except binascii.Error:
            return None
        if _text_of(sealed) != found[2]:  # bits that stand for nothing
            return None
        for tenant_id, keyset in keysets:
            content = keyset.open(key_id, sealed, _associated(use.value, tenant_id))
            if content is not None:
                name = _name_of(keyset, key_id, _associated(_NAME[use], tenant_id), content)
                return Opened(tenant_id, content, name, key_id == keyset.primary_id)
        return None


def seal(keyset: SealingKeyset, tenant_id: TenantId, use: Use, content: bytes) -> str:
    """Return the token that carries something, for a tenant and a use."""
    sealed = keyset.seal(content, _associated(use.value, tenant_id))
    return f"{_VERSION}.{keyset.primary_id:08x}.{_text_of(sealed)}"


def _text_of(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def _name_of(keyset: SealingKeyset, key_id: int, associated: bytes, content: bytes) -> str:
    return sha256(keyset.seal(content, associated, key_id)).hexdigest()[:32]


def _associated(what: bytes, tenant_id: TenantId) -> bytes:
    return what + tenant_id.to_bytes(8)

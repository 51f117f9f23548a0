"""Links: what one says, sealed, and the text that stands in messages.

    /u/v1.<key id>.<what the key sealed>

Laws:
- A link names a tenant, a subject and a scope, and can do one thing: stop messages there. It has
  no end and can be used any number of times, since one that is refused is an opt-out lost.
- Nothing about the subject can be read in it, and nobody without the key can make one: the tenant
  is what it is sealed for, and the tag has 128 bits.
- It says the subject and not its key: a lookup key may be replaced, and a link outlives it.

Source: RFC 8058; ADR 0043.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from heed.model import Channel, Scope, Subject, SubjectType, TenantId
from heed.wire.asked import LinkTarget
from heed_server.secrets.sealing import SealingKeyset

PATH: Final = "/u/"
"""Where links are, below the public URL."""
TOKEN_CHARACTERS_MAX: Final = 2_100
"""Characters of what stands after `PATH`: of a longest subject, at a longest topic."""

_VERSION: Final = "v1"
_TOKEN: Final = re.compile(r"v1\.([0-9a-f]{8})\.([A-Za-z0-9_-]{24,2080})")
_LINK: Final = b"heed link 1\0"
_USE: Final = b"heed link use 1\0"
"""Sets what names the use of a link apart from links, under the same key."""
_HEADER_BYTES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedLink:
    """What a link says, and the name of its use."""

    tenant_id: TenantId
    target: LinkTarget = field(repr=False)
    use: str
    """32 characters that nobody without the key can tell; the same for the same target."""


class LinkOpener:
    """Opens the links of some tenants. A value."""

    def __init__(self, keysets: Iterable[tuple[TenantId, SealingKeyset]]) -> None:
        """Takes each tenant's keyset."""
        self._by_key_id: dict[int, list[tuple[TenantId, SealingKeyset]]] = {}
        for tenant_id, keyset in keysets:
            for key_id in keyset.key_ids:  # random: two tenants may have one in common
                self._by_key_id.setdefault(key_id, []).append((tenant_id, keyset))

    def open(self, token: str) -> OpenedLink | None:
        """Return what a link says; None: it is none of these tenants'."""
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
            content = keyset.open(key_id, sealed, _associated(_LINK, tenant_id))
            if content is not None:
                return OpenedLink(
                    tenant_id=tenant_id,
                    target=_target_of(content),
                    use=_use_of(keyset, tenant_id, content),
                )
        return None


def seal_link(keyset: SealingKeyset, tenant_id: TenantId, target: LinkTarget) -> str:
    """Return what stands in a link after `PATH`."""
    sealed = keyset.seal(_content_of(target), _associated(_LINK, tenant_id))
    return f"{_VERSION}.{keyset.primary_id:08x}.{_text_of(sealed)}"


def _text_of(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def _use_of(keyset: SealingKeyset, tenant_id: TenantId, content: bytes) -> str:
    named = keyset.seal(content, _associated(_USE, tenant_id))
    return sha256(named).hexdigest()[:32]


def _content_of(target: LinkTarget) -> bytes:
    subject, scope = target.subject, target.scope
    topic = scope.topic.encode()
    header = bytes([subject.type, scope.channel, len(topic)])
    return header + topic + subject.value.encode()


def _target_of(content: bytes) -> LinkTarget:
    subject_type, channel, topic_bytes = content[:_HEADER_BYTES]
    subject_at = _HEADER_BYTES + topic_bytes
    return LinkTarget(
        subject=Subject(type=SubjectType(subject_type), value=content[subject_at:].decode()),
        scope=Scope(channel=Channel(channel), topic=content[_HEADER_BYTES:subject_at].decode()),
    )


def _associated(what: bytes, tenant_id: TenantId) -> bytes:
    return what + tenant_id.to_bytes(8)

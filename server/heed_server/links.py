"""Links: what one says, and the address that stands in messages.

    /u/v1.<key id>.<what the key sealed>

Laws:
- A link names a tenant, a subject and a scope, and can do one thing: stop messages. It has no end
  and can be used any number of times, since one that is refused is an opt-out lost.
- Nothing about the subject can be read in it, and nobody without the key can make one.
- It says the subject and not its key: a lookup key may be replaced, and a link outlives it.

Source: RFC 8058; ADR 0043.
"""

from dataclasses import dataclass, field
from typing import Final

from heed.model import Channel, Scope, Subject, SubjectType, TenantId
from heed.wire.asked import LinkTarget
from heed_server.seals import SealOpener, Use, seal
from heed_server.secrets.sealing import SealingKeyset

PATH: Final = "/u/"
"""Where links are, below the public URL."""
TOKEN_CHARACTERS_MAX: Final = 2_100
"""Characters of what stands after `PATH`: of a longest subject, at a longest topic."""

_HEADER_BYTES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedLink:
    """What a link says, and the name of its use."""

    tenant_id: TenantId
    target: LinkTarget = field(repr=False)
    reference: str
    """What its use is asked about by, as the log has it with what was chosen: 16 characters."""
    use: str
    """32 characters that nobody without the key can tell; the same for the same link."""


def open_link(opener: SealOpener, token: str) -> OpenedLink | None:
    """Return what a link says; None: it is no link of these tenants'."""
    if len(token) > TOKEN_CHARACTERS_MAX:
        return None
    found = opener.open(token, Use.LINK)
    if found is None:
        return None
    return OpenedLink(
        tenant_id=found.tenant_id,
        target=_target_of(found.content),
        reference=found.reference,
        use=found.name,
    )


def seal_link(keyset: SealingKeyset, tenant_id: TenantId, target: LinkTarget) -> str:
    """Return what stands in a link after `PATH`."""
    return seal(keyset, tenant_id, Use.LINK, _content_of(target))


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

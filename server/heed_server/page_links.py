"""Page links: what one says, and the address that a tenant's systems give to a person.

    /p/v1.<key id>.<what the key sealed>

Laws:
- A page link names a tenant, one person by their identifiers, who had it made and when. Opened,
  nothing else tells whose page it is: there is no cookie and no session.
- It is of another kind than a link: neither opens as the other.
- It says when it was made, and not when it ends: how long that is good for is a setting, which may
  be made shorter for those that were made before.

Source: ADR 0046.
"""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from heed.model import Instant, Subject, SubjectType, TenantId
from heed.wire.asked import PageTarget
from heed_server.seals import SealOpener, Use, seal
from heed_server.secrets.sealing import SealingKeyset

PATH: Final = "/p/"
"""Where page links are, below the public URL."""
PAGE_LINK_CHARACTERS_MAX: Final = 14_200
"""Characters of what stands after `PATH`: of eight longest subjects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedPageLink:
    """What a page link says, and the name of its use."""

    tenant_id: TenantId
    target: PageTarget = field(repr=False)
    made_by: str
    """The principal who had it made."""
    made_at: Instant
    reference: str
    """What its use is asked about by, as the log has it with what was chosen: 16 characters."""
    use: str
    """32 characters that nobody without the key can tell; the same for the same link."""
    is_of_newest_key: bool
    """One of a key that was replaced stops, and does nothing else: the key may have leaked."""


class _Content(msgspec.Struct, array_like=True, frozen=True):
    """What is sealed, as msgpack."""

    made_at: int
    made_by: str
    jurisdiction: str
    subjects: tuple[tuple[int, str], ...]


def open_page_link(opener: SealOpener, token: str) -> OpenedPageLink | None:
    """Return what a page link says; None: it is no page link of these tenants'."""
    if len(token) > PAGE_LINK_CHARACTERS_MAX:
        return None
    found = opener.open(token, Use.PAGE)
    if found is None:
        return None
    said = msgspec.msgpack.decode(found.content, type=_Content)
    subjects = tuple(
        Subject(type=SubjectType(number), value=value) for number, value in said.subjects
    )
    return OpenedPageLink(
        tenant_id=found.tenant_id,
        target=PageTarget(subjects=subjects, jurisdiction=said.jurisdiction),
        made_by=said.made_by,
        made_at=Instant(said.made_at),
        reference=found.reference,
        use=found.name,
        is_of_newest_key=found.is_of_newest_key,
    )


def seal_page_link(
    keyset: SealingKeyset,
    tenant_id: TenantId,
    target: PageTarget,
    *,
    made_by: str,
    made_at: Instant,
) -> str:
    """Return what stands in a page link after `PATH`."""
    content = _Content(
        made_at,
        made_by,
        target.jurisdiction,
        tuple((int(one.type), one.value) for one in target.subjects),
    )
    return seal(keyset, tenant_id, Use.PAGE, msgspec.msgpack.encode(content))

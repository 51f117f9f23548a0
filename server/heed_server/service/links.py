"""Links: MakeLinks, and the one thing that a link does.

Laws:
- Whoever may make a link may record the stop that it is: nothing is given away that the right
  `write` does not have.
- A link stops, and only stops. It is pressed by nobody in particular: the edge's own principal may
  write choices, and no opt-in.
- A stop that stands already is not written again. One that does not is written under a key that
  names what stood, so that neither two presses at once make two changes, nor the answer of an
  earlier press hides that the person opted in since.

Source: RFC 8058; ADR 0043.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from heed import keys
from heed.errors import ConflictError, ErrorReason, UnavailableError
from heed.model import Choice, ChoiceKind, Method, Origin, Reach
from heed.records import stop_stands
from heed.wire.asked import LinksAsked, PersonAsked, PreferencesAsked, WriteCall
from heed_server.auth.policy import Principal, Right
from heed_server.links import PATH, OpenedLink, open_link, seal_link
from heed_server.secrets.sealing import SealingKeyset
from heed_server.service.choices import Choices
from heed_server.service.tenants import TenantContext

PRESSED_AGAIN_MAX: Final = 4
"""How often a stop is written again because an opt-in came in between. Higher: a press waits for
longer where somebody opts in without end. Lower: it is answered 503 sooner."""

PRESSED_BY: Final = "link"
"""The principal of the edge, and the source of what it writes."""


class PressedLink(NamedTuple):
    """A link of this store's, with the tenant that it is of."""

    context: TenantContext
    link: OpenedLink


class Links(Choices):
    """Makes links, and does what they say."""

    def make_links(self, principal: Principal, asked: LinksAsked) -> Sequence[str]:
        """Return the address of a link for each target; nothing is written, and nothing waited for.

        Raises:
            RightRequiredError: the right `write` is missing.
            ConflictError: LINKS_NOT_SERVED, `web.public_url` is not set.
            UnavailableError: an earlier heed made the tenant, while this node ran.
        """
        context = self.enter("MakeLinks", principal, asked.tenant)
        begin, keyset = self.served_links(context)
        begin += PATH
        return [begin + seal_link(keyset, context.tenant_id, target) for target in asked.targets]

    def served_links(self, context: TenantContext) -> tuple[str, SealingKeyset]:
        """Return what every link of a tenant begins with, and what seals it.

        Raises: as `make_links`.
        """
        if not self.public_url:
            raise ConflictError(
                "this server makes no links; set web.public_url to where they are served",
                reason=ErrorReason.LINKS_NOT_SERVED,
            )
        keyset = self.link_keys.keyset(context)
        if keyset is None:
            raise UnavailableError(
                f"tenant {context.name!r} has no key for links, because an earlier heed made it; "
                "start this server again"
            )
        return self.public_url, keyset

    def open_link(self, token: str) -> PressedLink | None:
        """Return whose link this is, and what it says; None: it is none of this store's."""
        found = self.link_keys.open(token, open_link)
        return None if found is None else PressedLink(*found)

    async def press_link(self, pressed: PressedLink) -> bool:
        """Stop what a link stops, and return once it is committed, or stood already.

        True: something was written.

        Raises:
            HeedError: it is not known to be committed; as `set_preference`, and UnavailableError
                where the database cannot be read.
        """
        context, link = pressed
        principal = Principal(name=PRESSED_BY, rights=frozenset({Right.WRITE}), tenant=context.name)
        subject, scope = keys.normalise(link.target.subject), link.target.scope
        person = PersonAsked(
            subjects=(subject,),
            choices=(Choice(kind=ChoiceKind.OPT_OUT, scope=scope, reach=Reach.PROMOTIONAL),),
            origin=Origin(source=PRESSED_BY, actor="person", method=Method.ONE_CLICK),
        )
        for _ in range(PRESSED_AGAIN_MAX):
            (stands_under,) = context.keys_of([subject])
            standing = await self.store.standing(context.tenant_id, stands_under)
            records = [one.record for one in standing.records]
            if stop_stands(records, scope):
                return False
            stood = max((record.revision for record in records), default=0)
            call = WriteCall(
                tenant=context.name,
                idempotency_key=f"link:{link.use}:{stood}",
                payload_hash=sha256(link.use.encode()).digest(),
            )
            appended = await self.set_preference(
                principal, PreferencesAsked(call=call, people=(person,))
            )
            if not appended.replayed:
                return True
            # Another press wrote it, and an opt-in may have come since: look again.
        raise UnavailableError("the person opts in again as often as the link is pressed")

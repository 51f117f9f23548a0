"""Links: MakeLinks, and the two things that a link does.

Laws:
- Whoever may make a link may record the stops that it is: nothing is given away that the right
  `write` does not have.
- A link stops what it says, or everything if its page is asked to, and only stops. It is pressed by
  nobody in particular: the edge's own principal may write choices, and no opt-in.
- A stop that stands already is not written again. One that does not is written under a key that
  names what stood, so that neither two presses at once make two changes, nor the answer of an
  earlier press hides that the person opted in since.

Source: RFC 8058; ADR 0043, ADR 0046.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from heed import keys
from heed.errors import ConflictError, ErrorReason, UnavailableError
from heed.model import (
    Cause,
    Channel,
    Choice,
    ChoiceKind,
    Method,
    Origin,
    Reach,
    Record,
    RecordKind,
    Revision,
    Scope,
    TopicClass,
)
from heed.records import stop_stands
from heed.still_sent import plan_at
from heed.topics import TopicTable
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
EVERYTHING: Final = Scope(channel=Channel.ANY)
"""What "unsubscribe from everything" stops: all that promotes, on every channel of messages."""
SIGNALLED: Final = Scope(channel=Channel.PROCESSING)
"""What the signal of Global Privacy Control stops."""


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

    def declared_topics(self, context: TenantContext) -> TopicTable | None:
        """Return the topics of a tenant; None: they are not known here. Nothing is waited for."""
        try:
            return context.follower.index.topics
        except UnavailableError:
            return None

    def still_sent_after(
        self, context: TenantContext, scope: Scope
    ) -> tuple[list[TopicClass], list[str]]:
        """Return what is still let through within a scope for somebody who only stopped there.

        The same whoever it is: the classes of message, and the mandatory topics.
        """
        topics = self.declared_topics(context) or TopicTable(())
        stop = Record(
            RecordKind.OPT_OUT,
            Cause.NONE,
            Reach.PROMOTIONAL,
            scope.channel,
            scope.topic,
            self.now(),
            None,
            Revision(0),
        )
        return plan_at(topics, (scope,)).within([(0, 0, stop)], self.now())

    async def press_link(
        self, pressed: PressedLink, *, everything: bool = False, has_signal: bool = False
    ) -> bool:
        """Stop what a link stops, and return once it is committed, or stood already.

        `everything`: stop all that promotes instead. `has_signal`: whoever pressed it sends the
        signal of Global Privacy Control, so that the processing stops as well. True: something was
        written.

        Raises:
            HeedError: it is not known to be committed; as `set_preference`, and UnavailableError
                where the database cannot be read.
        """
        context, link = pressed
        principal = Principal(name=PRESSED_BY, rights=frozenset({Right.WRITE}), tenant=context.name)
        subject = keys.normalise(link.target.subject)
        scopes = [EVERYTHING if everything else link.target.scope]
        if has_signal and SIGNALLED not in scopes:
            scopes.append(SIGNALLED)
        for _ in range(PRESSED_AGAIN_MAX):
            (stands_under,) = context.keys_of([subject])
            standing = await self.store.standing(context.tenant_id, stands_under)
            records = [one.record for one in standing.records]
            missing = [scope for scope in scopes if not stop_stands(records, scope)]
            if not missing:
                return False
            stood = max((record.revision for record in records), default=0)
            name = _name_of(link, missing)
            call = WriteCall(
                tenant=context.name,
                idempotency_key=f"link:{name}:{stood}",
                payload_hash=sha256(name.encode()).digest(),
            )
            person = PersonAsked(
                subjects=(subject,),
                choices=tuple(
                    Choice(kind=ChoiceKind.OPT_OUT, scope=scope, reach=Reach.PROMOTIONAL)
                    for scope in missing
                ),
                origin=Origin(
                    source=PRESSED_BY,
                    actor="person",
                    method=Method.ONE_CLICK,
                    reference=reference_of(link.reference, has_signal=SIGNALLED in missing),
                ),
            )
            appended = await self.set_preference(
                principal, PreferencesAsked(call=call, people=(person,))
            )
            if not appended.replayed:
                return True
            # Another press wrote it, and an opt-in may have come since: look again.
        raise UnavailableError("the person opts in again as often as the link is pressed")


def reference_of(reference: str, *, made_by: str = "", has_signal: bool = False) -> str:
    """Return the reference of what is chosen by a link: also who had it made, and which signal
    came with it.
    """
    said = [reference, *([f"made by {made_by[:100]}"] if made_by else [])]
    return "; ".join([*said, *(["Sec-GPC: 1"] if has_signal else [])])


def _name_of(link: OpenedLink, scopes: Sequence[Scope]) -> str:
    """Return what names a use of a link: of what it says itself as it always was."""
    if list(scopes) == [link.target.scope]:
        return link.use
    return sha256(f"{link.use} {scopes}".encode()).hexdigest()[:32]

"""Page links: MakePageLinks, what stands for the person whose page it is, and what they choose.

Laws:
- Whoever may make a page link may record, and read, all that it gives the power to: `consent` and
  `write`.
- A page link is good for so many hours, and until its key is replaced; from then on it stops and
  does nothing else. That it was
  good is judged by the wall clock and by the boot clock: one that is set back makes none young.
- What weakens a protection names the newest revision that stood when the person decided. If
  anything was written since, it is not recorded: a form that is sent again reverses nothing.
- What stands already is not written again. What does not is written under a key that names what
  stood, so that a form that is sent twice is one change.
- Opt-ins are under the cap of whoever had the link made: who has that key can mint pages, and gets
  no further with them than without.

Source: ADR 0046.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from heed import keys
from heed.acts import only_stops
from heed.answers import SetAnswer
from heed.audit.claims import ReceiptClaim
from heed.errors import UnavailableError, invalid_field
from heed.model import (
    TOPIC_ROOT,
    Choice,
    ChoiceKind,
    Instant,
    Method,
    Origin,
    Revision,
)
from heed.topics import TopicTable
from heed.wire import read
from heed.wire.asked import PageLinksAsked, PersonAsked, WriteCall
from heed_proto.v1 import preference_service_pb2 as preference
from heed_server.audit import Proven
from heed_server.auth.policy import OPEN, Principal, Right, require
from heed_server.page_links import PATH, OpenedPageLink, open_page_link, seal_page_link
from heed_server.rates import RateKind
from heed_server.service.answering import CLOCK_DOUBT_MICROSECONDS
from heed_server.service.links import (
    PRESSED_AGAIN_MAX,
    PRESSED_BY,
    SIGNALLED,
    Links,
    reference_of,
)
from heed_server.service.personal import PersonalStanding, stands, weakens
from heed_server.service.tenants import TenantContext

_OWN_SOURCES: Final = frozenset({"page", PRESSED_BY})
_SIGNALLED: Final = Choice(kind=ChoiceKind.OPT_OUT, scope=SIGNALLED)

PAGE: Final = "page"
"""The source of what is chosen on a page, and the principal where nobody needs a credential."""


class MadePageLink(NamedTuple):
    """A page link, and from when on it can only stop."""

    url: str
    expire_time: Instant


class OpenedPage(NamedTuple):
    """A page link of this store's, with the tenant that it is of."""

    context: TenantContext
    link: OpenedPageLink


class Refusal(enum.Enum):
    """Why what was chosen is not recorded; nothing was."""

    EXPIRED = "expired"
    """The page link is good for stops only by now."""
    CHANGED = "changed"
    """Something was written since the person decided, and this would weaken a protection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What became of a choice: it stands."""

    is_written: bool
    """Whether anything was; it stood already if not."""
    claim: ReceiptClaim | None = None
    """What was written left this in the log; None: nothing, or nobody signs it."""
    standing: PersonalStanding
    """As of afterwards."""


class Pages(Links):
    """Makes page links, and does what is chosen on a page."""

    def make_page_links(
        self, principal: Principal, asked: PageLinksAsked
    ) -> Sequence[MadePageLink]:
        """Return the address of each person's page; nothing is written, and nothing waited for.

        Raises:
            RightRequiredError: the right `consent`, or `write`, is missing.
            ConflictError: LINKS_NOT_SERVED, `web.public_url` is not set.
            UnavailableError: an earlier heed made the tenant, while this node ran.
        """
        context = self.enter("MakePageLinks", principal, asked.tenant)
        require(principal, Right.WRITE)
        begin, keyset = self.served_links(context)
        begin += PATH
        made_at = self.now()
        made_by = "" if principal is OPEN else principal.name
        return [
            MadePageLink(
                begin
                + seal_page_link(
                    keyset, context.tenant_id, target, made_by=made_by, made_at=made_at
                ),
                self._end_of(made_at),
            )
            for target in asked.targets
        ]

    def open_page(self, token: str) -> OpenedPage | None:
        """Return whose page this is; None: it is none of this store's."""
        found = self.link_keys.open(token, open_page_link)
        return None if found is None else OpenedPage(*found)

    def is_good(self, page: OpenedPage) -> bool:
        """Whether a page link still opens its page, and does more than stop."""
        if not page.link.is_of_newest_key:
            return False
        now, made_at = self.now(), page.link.made_at
        doubted = self.doubted(now)
        return all(
            made_at - CLOCK_DOUBT_MICROSECONDS <= at < self._end_of(made_at)
            for at in (now, now if doubted is None else doubted)
        )

    async def standing_of(self, page: OpenedPage) -> PersonalStanding:
        """Return what stands for the person whose page it is; the page link has to be good.

        Raises:
            UnavailableError: the database does not answer.
        """
        subjects = tuple(keys.normalise(one) for one in page.link.target.subjects)
        keys_of_each = page.context.keys_of(subjects)
        asked = [key for each in keys_of_each for key in each]
        standing = await self.store.standing(page.context.tenant_id, asked)
        return PersonalStanding(
            subjects=subjects,
            records=tuple(
                tuple(one for one in standing.records if one.key in each) for each in keys_of_each
            ),
            topics=TopicTable(standing.topics),
            head=standing.head,
            now=self.now(),
        )

    async def choose(
        self,
        page: OpenedPage,
        choice: Choice,
        *,
        stood: Revision | None = None,
        has_signal: bool = False,
    ) -> Chosen | Refusal:
        """Record what a person chose on their page, and return once it is committed, or stood.

        `stood` is the newest revision that stood when they decided; None: that is not known, and
        only what stops is recorded. `has_signal`: they send the signal of Global Privacy Control,
        so that the processing stops as well, unless it is just that which they opt in to.

        Raises:
            InvalidArgumentError: it is an opt-in to everything at once.
            HeedError: it is not known to be committed; as `set_preference`, and UnavailableError
                where the database cannot be read.
        """
        is_opt_in = choice.kind is ChoiceKind.OPT_IN
        if is_opt_in and choice.scope.topic == TOPIC_ROOT:
            raise invalid_field("scope", "consent is to something named; name a topic")
        if not self.is_good(page) and choice.kind is not ChoiceKind.OPT_OUT:
            return Refusal.EXPIRED
        choices = [choice]
        if has_signal and not (is_opt_in and choice.scope.channel is SIGNALLED.channel):
            choices += [_SIGNALLED] if choice != _SIGNALLED else []
        # Before what stands is read: what is committed after that was decided later.
        decided_time = self.now()
        for _ in range(PRESSED_AGAIN_MAX):
            standing = await self.standing_of(page)
            missing = [one for one in choices if not stands(standing, one)]
            if not missing:
                return Chosen(is_written=False, standing=standing)
            if stood != standing.newest and any(weakens(standing, one) for one in missing):
                return Refusal.CHANGED
            answer = await self._record(page, standing, missing, decided_time)
            if not answer.replayed:
                return Chosen(
                    is_written=True,
                    claim=answer.receipt_claim,
                    standing=await self.standing_of(page),
                )
            # Another press wrote it, and something may have come since: look again.
        raise UnavailableError("something else is chosen as often as this is")

    async def _record(
        self,
        page: OpenedPage,
        standing: PersonalStanding,
        choices: Sequence[Choice],
        decided_time: Instant,
    ) -> SetAnswer:
        context, link = page
        is_stop = only_stops(choices)
        origin = Origin(
            source=PAGE,
            actor="person",
            method=Method.WEB_FORM,
            jurisdiction=link.target.jurisdiction,
            reference=reference_of(
                link.reference, made_by=link.made_by, has_signal=_SIGNALLED in choices
            ),
            decided_time=None if is_stop else decided_time,
        )
        person = PersonAsked(subjects=standing.subjects, choices=tuple(choices), origin=origin)
        said = sha256(repr([link.use, *map(_said, choices)]).encode())
        call = WriteCall(
            tenant=context.name,
            idempotency_key=f"page:{said.hexdigest()[:32]}:{standing.newest}",
            payload_hash=said.digest(),
        )
        if is_stop:
            appended = await self.record_choices(context, None, call, person)
        else:
            principal = _acting_for(page)
            self.admission.rates.take(RateKind.WRITES, principal)
            with self.admission.place(principal):
                capped = principal if link.made_by else None
                appended = await self.record_choices(context, capped, call, person)
        answer = preference.SetPreferenceResponse.FromString(appended.answer)
        answer.replayed = appended.replayed
        return read.set_preference(answer, call.idempotency_key)

    async def receipt_of(self, page: OpenedPage, revision: Revision) -> Proven | None:
        """Return the receipt of what was chosen by a link or on a page; None: it is none of these.

        Raises:
            NotFoundError: CHECKPOINT_UNKNOWN, it is not signed yet.
            UnavailableError: the database does not answer.
        """
        standing = await self.standing_of(page)
        is_own = any(
            one.record.revision == revision
            and one.origin is not None
            and one.origin.source in _OWN_SOURCES
            for one in standing.each()
        )
        if not is_own:
            return None
        return await self.prover.receipt(page.context.tenant_id, revision)

    def _end_of(self, made_at: Instant) -> Instant:
        return Instant(made_at + self.page_link_seconds * 1_000_000)


def _acting_for(page: OpenedPage) -> Principal:
    """By whom an opt-in is counted: whoever had the page link made."""
    return Principal(
        name=page.link.made_by or PAGE,
        rights=frozenset({Right.WRITE, Right.CONSENT}),
        tenant=page.context.name,
    )


def _said(choice: Choice) -> tuple[object, ...]:
    """What tells one choice from another, when it is sent again."""
    evidence = choice.evidence
    version = "" if evidence is None else evidence.notice_version
    scope = choice.scope
    return (
        int(choice.kind),
        int(scope.channel),
        scope.topic,
        int(choice.reach),
        choice.end_time,
        version,
        str(choice.quiet_hours),
        choice.no_ask_until,
    )

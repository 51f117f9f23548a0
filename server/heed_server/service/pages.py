"""Page links: MakePageLinks, what stands for the person whose page it is, and what they choose.

Laws:
- Whoever may make a page link may record, and read, all that it gives the power to: `consent` and
  `write`.
- A page link is good for so many hours; from then on it stops and does nothing else. That it was
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
from typing import Final, NamedTuple, assert_never

from heed import keys
from heed.acts import STOPS, only_stops
from heed.answers import SetAnswer
from heed.audit.claims import ReceiptClaim
from heed.errors import UnavailableError
from heed.model import (
    Choice,
    ChoiceKind,
    Head,
    Instant,
    Method,
    Origin,
    Record,
    RecordKind,
    Revision,
    Subject,
)
from heed.records import stop_stands
from heed.topics import TopicTable
from heed.wire import read
from heed.wire.asked import PageLinksAsked, PersonAsked, WriteCall
from heed_proto.v1 import preference_service_pb2 as preference
from heed_server.auth.policy import OPEN, Principal, Right, require
from heed_server.page_links import PATH, OpenedPageLink, open_page_link, seal_page_link
from heed_server.rates import RateKind
from heed_server.service.answering import CLOCK_DOUBT_MICROSECONDS
from heed_server.service.links import PRESSED_AGAIN_MAX, Links
from heed_server.service.tenants import TenantContext
from heed_server.store import StandingRecord

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalStanding:
    """What stands for the person whose page it is, read in one transaction."""

    subjects: tuple[Subject, ...]
    records: tuple[tuple[StandingRecord, ...], ...]
    """Of each subject, in order."""
    topics: TopicTable
    head: Head
    now: Instant

    @property
    def newest(self) -> Revision:
        """The newest revision that any of it is of; 0: nothing stands."""
        return max((one.record.revision for all_ in self.records for one in all_), default=_NONE)


class Refusal(enum.Enum):
    """Why what was chosen is not recorded."""

    EXPIRED = "expired"
    """The page link is good for stops only by now."""
    CHANGED = "changed"
    """Something was written since the person decided, and this would weaken a protection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What became of a choice: it stands."""

    claim: ReceiptClaim | None
    """What was written left this in the log; None: it stood already."""
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
        self, page: OpenedPage, choices: Sequence[Choice], *, stood: Revision | None
    ) -> Chosen | Refusal:
        """Record what a person chose on their page, and return once it is committed, or stood.

        `stood` is the newest revision that stood when they decided; None: that is not known, and
        only what stops is recorded.

        Raises:
            HeedError: it is not known to be committed; as `set_preference`, and UnavailableError
                where the database cannot be read.
        """
        if not self.is_good(page) and any(one.kind is not ChoiceKind.OPT_OUT for one in choices):
            return Refusal.EXPIRED
        # Before what stands is read: what is committed after that was decided later.
        decided_time = self.now()
        for _ in range(PRESSED_AGAIN_MAX):
            standing = await self.standing_of(page)
            missing = [one for one in choices if not _stands(standing, one)]
            if not missing:
                return Chosen(claim=None, standing=standing)
            if stood != standing.newest and any(_weakens(standing, one) for one in missing):
                return Refusal.CHANGED
            answer = await self._record(page, standing, missing, decided_time)
            if not answer.replayed:
                return Chosen(claim=answer.receipt_claim, standing=await self.standing_of(page))
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
            reference=f"page link {link.use[:16]}",
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
    )


def _stands(standing: PersonalStanding, choice: Choice) -> bool:
    """Whether recording a choice would change nothing for any of the person's subjects."""
    return all(
        _stands_in([one.record for one in records], choice, standing.now)
        for records in standing.records
    )


def _stands_in(records: Sequence[Record], choice: Choice, now: Instant) -> bool:
    match choice.kind:
        case ChoiceKind.OPT_OUT:
            return stop_stands(records, choice.scope)
        case ChoiceKind.OPT_IN:
            given = _at(records, RecordKind.OPT_IN, choice, now)
            return given is not None and not any(
                one.kind is RecordKind.OPT_OUT and one.decided_time >= given.decided_time
                for one in records
            )
        case ChoiceKind.PAUSE:
            paused = _at(records, RecordKind.PAUSE, choice, now)
            return paused is not None and (paused.end_time, paused.reach) == (
                choice.end_time,
                choice.reach,
            )
        case ChoiceKind.END_PAUSE:
            return _at(records, RecordKind.PAUSE, choice, now) is None
        case _:
            assert_never(choice.kind)


def _weakens(standing: PersonalStanding, choice: Choice) -> bool:
    """Whether recording a choice may let through what is stopped."""
    if choice.kind is not ChoiceKind.PAUSE:
        return choice.kind not in STOPS
    return any(
        paused is not None
        and ((paused.end_time or 0) > (choice.end_time or 0) or paused.reach > choice.reach)
        for paused in (
            _at([one.record for one in records], RecordKind.PAUSE, choice, standing.now)
            for records in standing.records
        )
    )


def _at(records: Sequence[Record], kind: RecordKind, choice: Choice, now: Instant) -> Record | None:
    """The record of a kind at a choice's scope that counts now."""
    return next(
        (
            one
            for one in records
            if one.kind is kind
            and (one.channel, one.topic) == (choice.scope.channel, choice.scope.topic)
            and one.is_active(now)
        ),
        None,
    )


_NONE: Final = Revision(0)

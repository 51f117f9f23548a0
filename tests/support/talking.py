"""A caller that writes and checks in turn, at random, and keeps what it was told."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import heed
from heed.model import Channel
from tests.support.stores import EVIDENCE, FakeClock

PEOPLE = ("ada@example.com", "bob@example.com")
TOPICS = ("", "news", "news.weekly", "security", "invited")
CAMPAIGNS = ("", "spring")


@dataclass(frozen=True)
class Told:
    """One question, and what was answered."""

    query: heed.Query
    answer: heed.CheckAnswer

    def is_given_back_by(self, explained: heed.CheckAnswer) -> bool:
        """Whether this is the decision of then, and its reasons."""
        told = self.answer
        voices = explained.reasons[: len(told.reasons)]
        return (
            (told.verdict, told.topic_class, told.undeclared_topic, told.subjects_with_records)
            == (
                explained.verdict,
                explained.topic_class,
                explained.undeclared_topic,
                explained.subjects_with_records,
            )
            and [_plain(one) for one in told.reasons] == [_plain(one) for one in voices]
            and all(one.rule != told.rule for one in explained.reasons[len(voices) :])
        )


def _plain(reason: heed.Reason) -> object:
    record, hold = reason.record, reason.hold
    return (
        reason.rule,
        reason.until_time,
        hold and (hold.hold_id, hold.reason, hold.revision),
        record
        and (
            record.kind,
            record.cause,
            record.reach,
            record.scope,
            record.decided_time,
            record.end_time,
            record.revision,
            record.subject_index,
            record.active,
        ),
    )


class Talk:
    """Goes on by one write and some checks at a time."""

    def __init__(self, client: heed.Client, clock: FakeClock, chance: random.Random) -> None:
        self._client = client
        self._clock = clock
        self._chance = chance
        self._is_begun = False
        self._holds: list[str] = []

    async def go_on(self, queries: int) -> list[Told]:
        """Write something, then ask; what was told."""
        if not self._is_begun:
            await self._begin()
            self._is_begun = True
        await self._write()
        # Where the clock stands still, no check shares its instant with a write.
        self._clock.pass_seconds(0.01)
        asked = [self.query() for _ in range(queries)]
        answers = await self._client.check_many(asked)
        self._clock.pass_seconds(0.01)
        return [Told(query, answer) for query, answer in zip(asked, answers, strict=True)]

    def query(self, reference: str = "") -> heed.Query:
        """Some question."""
        pick = self._chance.choice
        people = pick((*PEOPLE, PEOPLE))
        return heed.Query(
            channel=pick((Channel.EMAIL, Channel.EMAIL, Channel.SMS)),
            topic=pick(TOPICS),
            campaign=pick(CAMPAIGNS),
            email=people if isinstance(people, str) else list(people),
            reference=reference,
        )

    async def _begin(self) -> None:
        by = heed.Origin(source="tests")
        await self._client.declare_topic(
            "security", topic_class="mandatory", mandatory_channels=["email"], origin=by
        )
        await self._client.declare_topic(
            "invited", topic_class="promotional", requires_opt_in=True, origin=by
        )

    async def _write(self) -> None:
        try:
            await self._chance.choice(self._writes())()
        except (heed.NotFoundError, heed.ConflictError):
            return  # released what does not stand, or shortened what does

    def _writes(self) -> tuple[Callable[[], Awaitable[object]], ...]:
        pick, client = self._chance.choice, self._client
        whom, topic, by = pick(PEOPLE), pick(TOPICS), heed.Origin(source="tests")
        channel, cause, fault = (
            pick(("email", "any")),
            pick(("bounce", "manual")),
            pick(("", "news")),
        )
        decided = self._time(-pick((0.001, 0.05, 5)))
        end = self._time(pick((0.02, 0.2, 60)))
        opt_out = lambda: client.opt_out(  # noqa: E731 - several stand in the tuple below
            email=whom, topic=topic, channel=channel, source="tests", decided_time=decided
        )
        opt_in = lambda: client.opt_in(  # noqa: E731
            email=whom,
            topic=topic,
            channel=channel,
            source="tests",
            evidence=EVIDENCE,
            method="web_form",
            decided_time=decided,
            end_time=pick((None, end)),
        )
        suppress = lambda: client.add_suppressions(  # noqa: E731
            [
                heed.Suppression(
                    subject=heed.email(whom),
                    cause=cause,
                    topic=fault,
                    end_time=pick((None, end)),
                )
            ],
            origin=by,
        )
        release = lambda: client.release_suppression(  # noqa: E731
            subject=heed.email(whom),
            cause=cause,
            topic=fault,
            reason="tests",
            origin=by,
        )
        return (
            opt_out,
            opt_in,
            opt_in,
            suppress,
            release,
            release,
            lambda: client.pause(email=whom, topic=topic, end_time=end, source="tests"),
            lambda: self._place(topic, end),
            self._lift,
            self._lift,
            self._declare,
        )

    async def _place(self, topic: str, end: datetime) -> None:
        placed = await self._client.place_hold(
            reason="tests",
            origin=heed.Origin(source="tests"),
            topic=topic,
            campaign=self._chance.choice(CAMPAIGNS),
            end_time=self._chance.choice((None, end)),
        )
        self._holds.append(placed.hold.hold_id)

    async def _lift(self) -> None:
        if self._holds:
            await self._client.lift_hold(
                self._holds.pop(), reason="tests", origin=heed.Origin(source="tests")
            )

    async def _declare(self) -> None:
        pick = self._chance.choice
        await self._client.loosen_topic(
            pick(("news", "invited")),
            topic_class=pick(("promotional", "transactional")),
            requires_opt_in=pick((False, True)),
            suppress_undeclared=pick((False, True)),
            reason="tests",
            origin=heed.Origin(source="tests"),
        )

    def _time(self, ahead: float) -> datetime:
        return datetime.fromtimestamp(self._clock.ahead(ahead) / 1e6, UTC)

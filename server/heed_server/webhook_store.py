"""What webhooks keep in the database, beside the log; none of it is of the log.

Laws:
- No address, no URL and no secret is in it: what is sent is made anew from the log each time.
- A `Position` together with the late lanes and the dead letters says of each event of the log up to
  it what became of it: it was delivered, it is of a late lane, or it is a dead letter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, NewType, Protocol

from heed.model import Instant, Revision, TenantId

Lane = NewType("Lane", bytes)
"""What keeps its order at a target: a subject's key, `TENANT_LANE`, or the name of a notice."""

NO_TIME: Final = Instant(0)
"""Before all times."""

TENANT_LANE: Final = Lane(b"")
"""The lane of what is of no subject: topics, holds, lookup keys."""


class Place(NamedTuple):
    """Whose webhooks: a tenant's target, by its name."""

    tenant_id: TenantId
    target: str


class Position(NamedTuple):
    """A place in a tenant's log."""

    epoch: bytes
    revision: Revision
    running_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LateLane:
    """A lane whose first event was not delivered yet, though it was tried, or is to be replayed.

    Nothing of the lane is sent before that event is delivered, or is a dead letter.
    """

    lane: Lane
    revision: Revision
    """Its first event that was not delivered; of a notice the opt-out that it is about."""
    attempts: int = 0
    """How often that event was tried."""
    first_time: Instant | None = None
    """When it was tried first; None: it was not."""
    next_time: Instant = NO_TIME
    """When it is tried next."""
    failure: str = ""
    """Why it failed last, in words of ours."""
    replay: int = 0
    """How often an operator had it sent anew."""
    behind: Lane | None = None
    """The lane that has to be in time before this one goes on: the same person's, under another
    key."""
    notice: str = ""
    """What is told, as JSON, where it is not a change of the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An event that was given up."""

    letter_id: str
    """Its id without the number of its replay."""
    lane: Lane = field(repr=False)
    revision: Revision
    event: str
    """Its type: `preference.changed`."""
    dead_time: Instant
    first_time: Instant
    attempts: int
    failure: str
    replay: int
    notice: str = ""


class DeadLetterPage(NamedTuple):
    """Some dead letters. `next_cursor` is empty on the last page."""

    letters: tuple[DeadLetter, ...]
    next_cursor: str


class Health(NamedTuple):
    """How a target was doing when it was noted last."""

    delivered_time: Instant | None = None
    """When it took something last."""
    failing_since: Instant | None = None
    """Since when it has taken nothing; None: it takes what it is sent."""
    failure: str = ""
    """Why not, or why nothing is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All that is kept of a target."""

    position: Position
    version: int
    """Changes with whoever takes the target over, and whatever is noted."""
    late: tuple[LateLane, ...]
    dead_count: int
    health: Health
    dead: frozenset[Revision] = frozenset()
    """The changes whose events are dead letters, which nothing but a replay sends again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What others than the node that delivers have asked for."""

    notices: tuple[LateLane, ...]
    """Every notice that waits."""
    replays: tuple[DeadLetter, ...]
    """Dead letters that are to be sent anew, the oldest first."""
    dead_count: int
    """Those that are not."""
    moved: Mapping[Lane, tuple[Lane, ...]] = field(default_factory=dict[Lane, tuple[Lane, ...]])
    """By the lanes of `replays` whose subject was moved since: those after it, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What became of events, to be written in one transaction."""

    position: Position
    late: tuple[LateLane, ...] = ()
    """In the place of those of the same lanes."""
    in_time: tuple[Lane, ...] = ()
    """Lanes that are late no more."""
    dead: tuple[DeadLetter, ...] = ()
    replayed: tuple[str, ...] = ()
    """Ids of dead letters that lanes of `late` have begun anew."""
    health: Health = field(default_factory=Health)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStanding:
    """What is told of a target."""

    target: str
    position: Position
    late_count: int
    dead_count: int
    health: Health


class WebhookStore(Protocol):
    """Where webhooks stand, for all nodes."""

    async def open_target(self, place: Place, begin: Position) -> Standing:
        """Return where a target stands, taken over from whoever had it; new ones stand at `begin`.

        What another node notes from now on is refused.
        """
        ...

    async def note(self, place: Place, version: int, note: Note) -> bool:
        """Write what became of events; False, and nothing is written: another took it over."""
        ...

    async def asked_counts(self) -> Mapping[Place, int]:
        """Return of every target a number that rises with what others ask for."""
        ...

    async def asked(self, place: Place, replays_max: int) -> Asked:
        """Return what others have asked for and was not noted to be begun, so many replays."""
        ...

    async def add_notices(self, place: Place, notices: Sequence[LateLane], limit: int) -> int:
        """Have notices sent, those that do not wait already, and return how many were left out.

        So many are, by which more than `limit` would wait.
        """
        ...

    async def targets(self, tenant_id: TenantId) -> Sequence[TargetStanding]:
        """Return every target that a tenant has had, by name."""
        ...

    async def dead_letters(self, place: Place, cursor: str, limit: int) -> DeadLetterPage | None:
        """Return a page of the dead letters of a target that are not to be replayed, by age.

        None: there was never such a target.
        """
        ...

    async def replay(self, place: Place, letter_ids: Sequence[str] | None) -> int | None:
        """Have dead letters sent anew, without ids all; return how many there were.

        None: there was never such a target.
        """
        ...

    async def discard(self, place: Place, letter_ids: Sequence[str] | None) -> int | None:
        """Delete dead letters that are not to be sent anew; ids and answer as of `replay`."""
        ...

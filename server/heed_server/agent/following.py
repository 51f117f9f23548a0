"""What an agent knows: the library's replica of one tenant's log, as Checks read it.

Laws:
- The state is read before the index, and the clock after both: so an age is never too small. All
  that one Check reads between two awaits goes by the state that its first look at `index` found.
- A tenant is a number, a name and its lookup keys. Once the replica says others, keys made by those
  before are answered by nothing: STATE_STALE, and the upstream is asked.
- By a log that needs later rules or another normaliser than these nothing is allowed here.
- Used on the event loop alone; the replica's own threads write what is read here.
Source: heed.replica, ADR 0020.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from heed.decide import Facts
from heed.errors import ErrorReason, UnavailableError
from heed.index.faults import Fault, IndexUnusableError
from heed.index.place import Source
from heed.index.shared import SharedIndex, View
from heed.keys import LookupKey, LookupKeys
from heed.model import (
    Hold,
    Instant,
    Record,
    Revision,
    SubjectKey,
    TenantId,
)
from heed.records import DamagedRecordError, decode_each
from heed.replica.follower import Follower
from heed.replica.replica import Replica
from heed.replica.shared_state import NOTHING, SharedState
from heed.tokens import TOKEN_HASH_BYTES
from heed.topics import TopicTable
from heed_server.service.tally import Tally

WAITERS_MAX: Final = 1_000
"""Calls that wait for a token's revision; the next is asked of the upstream at once."""
LOOK_SECONDS: Final = 0.005
"""How often those look whether it came: another process may be the one that follows."""

_NOTHING: Final[tuple[tuple[Record, ...], ...]] = ((),)
"""The records of the one subject that has none."""


class ReplicaIndex:
    """One generation of the replica's index."""

    __slots__ = ("_follower", "_view", "index", "is_foreign", "source")

    def __init__(self, index: SharedIndex, follower: Follower) -> None:
        """Read where it stands.

        Raises:
            IndexUnusableError: it cannot be read.
        """
        self.index = index
        self._follower = follower
        self._view, _ = index.find_all((), None)
        self.source = self._view.source
        self.is_foreign = False
        """Whether it was found to be of another source by now: it is to be read anew."""

    @property
    def view(self) -> View:
        """What was last read of it."""
        return self._view

    @property
    def epoch(self) -> bytes:
        """The life of the store whose log it is of."""
        return self._view.place.epoch

    @property
    def revision(self) -> Revision:
        """Where it stood when it was last read."""
        return self._view.place.revision

    @property
    def running_hash(self) -> bytes:
        """The running hash of the log there."""
        return self._view.place.running_hash

    @property
    def holds(self) -> tuple[Hold, ...]:
        """The holds that were not lifted."""
        return self._view.holds

    @property
    def topics(self) -> TopicTable:
        """The declared topics."""
        return self._view.topics

    @property
    def is_capable(self) -> bool:
        """Whether this version knows enough to allow anything by it."""
        return self._view.place.is_understood

    def facts(self, keys: Sequence[SubjectKey]) -> Facts:
        """Return all that `decide` needs of these subjects.

        Raises:
            IndexUnusableError: it is damaged, or of other keys than those by now.
        """
        view = self._view
        if len(keys) == 1:
            # The commonest Check in the fewest steps: the view is read anew only when it moved.
            is_same, encoded = self.index.find(keys[0], view)
            if is_same and encoded is None:
                return Facts(_NOTHING, view.holds, view.topics)
        records = tuple(self.records_many(keys))
        view = self._view
        return Facts(records, view.holds, view.topics)

    def records_many(self, keys: Sequence[SubjectKey]) -> list[tuple[Record, ...]]:
        """Return the records of each subject, by position. Raises: as `facts`."""
        view, encoded = self.index.find_all(keys, self._view)
        if view is not self._view:
            if view.source is not self.source:
                self.is_foreign = True
                raise IndexUnusableError(Fault.FOREIGN, "the tenant's lookup key is another one")
            self._view = view
        try:
            return decode_each(encoded)
        except DamagedRecordError as error:
            self._follower.rebuild()
            raise IndexUnusableError(Fault.DAMAGED, error.message) from error

    def hash_at(self, revision: Revision) -> bytes | None:
        """Return the first bytes of the running hash where the index stands; None elsewhere."""
        self.records_many(())
        place = self._view.place
        return place.running_hash[:TOKEN_HASH_BYTES] if revision == place.revision else None


class ReplicaFollower:
    """The replica of an agent, and the follower that keeps it in step with the upstream."""

    def __init__(self, replica: Replica, follower: Follower) -> None:
        """Read nothing yet."""
        self._replica = replica
        self._follower = follower
        self._clock = replica.clock
        self._state: SharedState = NOTHING
        self._index: ReplicaIndex | None = None
        self.last: AgentTenant | None = None
        """The tenant that was last served; it knows when it is another one."""
        self._waiting = 0

    @property
    def tally(self) -> Tally:
        """What was answered."""
        return Tally() if self.last is None else self.last.tally

    @property
    def index(self) -> ReplicaIndex:
        """The index, to be read before the next await.

        Raises:
            UnavailableError: STATE_STALE: there is none, or it cannot be read.
        """
        state = self._state = self._replica.state()
        if not state.is_whole:
            raise UnavailableError(
                "this agent has no replica yet that it may answer by; "
                "ask its upstream, or do not send",
                reason=ErrorReason.STATE_STALE,
            )
        index = self._replica.index(state.generation)
        held = self._index
        if held is None or held.index is not index or held.is_foreign:
            held = self._index = ReplicaIndex(index, self._follower)
        return held

    @property
    def revision(self) -> Revision:
        """What the index has taken at least."""
        return Revision(self._replica.state().revision)

    def tenant(self) -> "AgentTenant":
        """Return the tenant of this agent. Raises: as `index`."""
        index = self.index
        known = self.last
        if known is not None and known.is_of(index):
            return known
        source, place = index.source, index.view.place
        known = self.last = AgentTenant(
            tenant_id=place.tenant_id,
            epoch=place.epoch,
            source=source,
            known=self,
            lookup=LookupKeys(LookupKey(*one) for one in source.lookup_keys),
            tally=self.tally,
        )
        return known

    def is_young(self, age_seconds_max: float) -> bool:
        """Whether the replica may be answered by, and is at most so old."""
        try:
            self.tenant()
        except UnavailableError:
            return False
        return self.source_age_seconds() <= age_seconds_max

    def source_age_seconds(self) -> float:
        """Return how old what was read since the last look at `index` may be."""
        state, index = self._state, self._index
        if index is None or not index.is_capable:
            return math.inf
        return self._age_seconds(state)

    def state_age_seconds(self) -> float:
        """Return how old what the replica holds may be now. Any thread may ask."""
        return self._age_seconds(self._replica.state())

    def now(self) -> Instant:
        """Return the source's time: as it was last heard, and what passed on the boot clock."""
        return self._state.now_at(self._clock())

    async def reached(self, revision: Revision, timeout_seconds: float) -> bool:
        """Wait until the replica knows a revision; False if it does not in time."""
        if self._waiting >= WAITERS_MAX:
            return self.revision >= revision
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_seconds):
                while self.revision < revision:  # noqa: ASYNC110 - another process may write it
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True

    def _age_seconds(self, state: SharedState) -> float:
        age = state.age_at(self._clock())
        return math.inf if age is None else age / 1e9


@dataclass(slots=True, kw_only=True)
class AgentTenant:
    """The tenant of an agent as its replica last said it, and what answers Checks of it.

    Another life of the store, another number or another key is another tenant: by this one nothing
    is answered then.
    """

    tenant_id: TenantId
    epoch: bytes
    source: Source
    lookup: LookupKeys
    known: ReplicaFollower
    tally: Tally = field(default_factory=Tally)
    """What was answered."""
    _index: ReplicaIndex | None = None
    """The last one that was found to be of this tenant."""

    @property
    def name(self) -> str:
        """The tenant's name."""
        return self.source.tenant

    @property
    def follower(self) -> Self:
        """What its index is kept in step by."""
        return self

    @property
    def index(self) -> ReplicaIndex:
        """The index, to be read before the next await.

        Raises:
            UnavailableError: STATE_STALE: there is none of this tenant.
        """
        index = self.known.index
        if index is not self._index:
            if not self.is_of(index):
                self.known.last = None
                raise IndexUnusableError(Fault.FOREIGN, "the replica is of another log by now")
            self._index = index
        return index

    @property
    def revision(self) -> Revision:
        """What the index has taken at least."""
        return self.known.revision

    def is_of(self, index: ReplicaIndex) -> bool:
        """Whether an index is of this tenant."""
        place = index.view.place
        return (
            (index.source is self.source or index.source == self.source)
            and place.epoch == self.epoch
            and place.tenant_id == self.tenant_id
        )

    def source_age_seconds(self) -> float:
        """Return how old what was read since the last look at `index` may be."""
        return self.known.source_age_seconds()

    async def reached(self, revision: Revision, timeout_seconds: float) -> bool:
        """Wait until the index knows a revision; False if it does not in time."""
        return await self.known.reached(revision, timeout_seconds)

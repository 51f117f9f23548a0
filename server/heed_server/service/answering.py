"""What the answers to Checks stand on, wherever they are given: at a server or at an agent.

Laws:
- A method authorises before it acts, by the one table (`rights`).
- Whatever knows a tenant's records answers through the same code: what it MUST be able to tell is
  said here, and a server's follower and an agent's replica both do.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from heed.decide import Facts
from heed.keys import LookupKeys
from heed.model import Hold, Instant, Record, Revision, SubjectKey, TenantId, TopicClass
from heed.tokens import encode_token
from heed.topics import TopicTable
from heed.wire.encoded import Position
from heed_server.auth.policy import Principal
from heed_server.service.admission import Admission
from heed_server.service.tally import Tally

INDEX_WAIT_SECONDS_MAX = 3.0
"""How long an answer waits for this node's index: for a token ahead of it, or for its own write."""

POSITIONS_KEPT_MAX = 1_024
"""So many encoded positions are kept, some 700 bytes each; a tenant needs one at a time. Higher:
more memory. Lower: where there are more tenants than that, each answer encodes its own."""

CLOCK_DOUBT_MICROSECONDS = 5_000_000
"""How far the wall clock may be from the time that has passed by the boot clock before it is
doubted; as far as the store lets it (`heed_server.storage.clock`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxStaleness:
    """The oldest knowledge by which a message of each class is allowed, in seconds."""

    promotional: float = 5.0
    transactional: float = 60.0
    mandatory: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """One instant by both clocks, from which the boot clock tells the time that nobody sets."""

    at: Instant
    boot: float
    boot_seconds: Callable[[], float]

    def now_by_boot(self) -> Instant:
        """Return the time as the boot clock has it."""
        return Instant(self.at + round((self.boot_seconds() - self.boot) * 1_000_000))


class AnsweringIndex(Protocol):
    """The records of a tenant at one revision, until the next await.

    What is read after `facts` or `records_many` MUST be of the revision that they were read at.
    """

    @property
    def epoch(self) -> bytes:
        """The life of the store whose log it is of."""
        ...

    @property
    def revision(self) -> Revision:
        """Where it stands."""
        ...

    @property
    def running_hash(self) -> bytes:
        """The running hash of the log there."""
        ...

    @property
    def holds(self) -> tuple[Hold, ...]:
        """The holds that were not lifted."""
        ...

    @property
    def topics(self) -> TopicTable:
        """The declared topics."""
        ...

    def facts(self, keys: Sequence[SubjectKey]) -> Facts:
        """Return all that `decide` needs of these subjects.

        Raises:
            UnavailableError: it cannot be read.
        """
        ...

    def records_many(self, keys: Sequence[SubjectKey]) -> list[tuple[Record, ...]]:
        """Return the records of each subject, by position. Raises: as `facts`."""
        ...

    def hash_at(self, revision: Revision) -> bytes | None:
        """Return the first bytes of the running hash at a revision; None: it is not known here."""
        ...


class AnsweringFollower(Protocol):
    """What keeps an index in step with a tenant's log."""

    @property
    def index(self) -> AnsweringIndex:
        """The index, to be read before the next await.

        Raises:
            UnavailableError: STATE_STALE: there is none to answer by.
        """
        ...

    @property
    def revision(self) -> Revision:
        """Where the index stands."""
        ...

    def source_age_seconds(self) -> float:
        """Return how old what was last read of `index` may be, or anything read since."""
        ...

    async def reached(self, revision: Revision, timeout_seconds: float) -> bool:
        """Wait until the index knows a revision; False if it does not in time."""
        ...


class AnsweringTenant(Protocol):
    """A tenant whose Checks are answered here."""

    @property
    def tally(self) -> Tally:
        """What was answered; written only by the service's checks."""
        ...

    @property
    def tenant_id(self) -> TenantId:
        """Its number, which is in its tokens."""
        ...

    @property
    def name(self) -> str:
        """What callers call it."""
        ...

    @property
    def follower(self) -> AnsweringFollower:
        """What its index is kept in step by."""
        ...

    @property
    def lookup(self) -> LookupKeys:
        """What makes the keys of its index."""
        ...


class Answering(ABC):
    """A clock, and how old may be what is answered by it."""

    def __init__(
        self,
        *,
        now: Callable[[], Instant],
        max_staleness: MaxStaleness | None = None,
        admission: Admission | None = None,
    ) -> None:
        """`admission` None: the default limits."""
        self.now = now
        self.admission = admission or Admission()
        self._checks_rate = self.admission.rates.checks
        bounds = max_staleness or MaxStaleness()
        self.max_staleness_seconds: dict[TopicClass, float] = {
            TopicClass.PROMOTIONAL: bounds.promotional,
            TopicClass.TRANSACTIONAL: bounds.transactional,
            TopicClass.MANDATORY: bounds.mandatory,
        }
        self.max_staleness_seconds_min = min(self.max_staleness_seconds.values())

    @abstractmethod
    def enter(self, method: str, principal: Principal, tenant: str) -> AnsweringTenant:
        """Return the tenant that a call is about, if the principal may make this call.

        Raises:
            HeedError: it may not, or there is no such tenant here for it.
        """

    @abstractmethod
    def doubted(self, now: Instant) -> Instant | None:
        """Return what time it may be instead of `now`; None while `now` is believed."""


def position_of(tenant_id: TenantId, index: AnsweringIndex) -> Position:
    """Return the position of answers about a tenant by an index, encoded once a revision."""
    return _position(tenant_id, index.epoch, index.revision, index.running_hash)


def other_time(now: Instant, by_boot: Instant) -> Instant | None:
    """Return the time by the boot clock, if it puts the wall clock's in doubt."""
    return None if abs(now - by_boot) <= CLOCK_DOUBT_MICROSECONDS else by_boot


@lru_cache(maxsize=POSITIONS_KEPT_MAX)
def _position(
    tenant_id: TenantId, epoch: bytes, revision: Revision, running_hash: bytes
) -> Position:
    token = encode_token(
        epoch=epoch, tenant_id=tenant_id, revision=revision, running_hash=running_hash
    )
    return Position(revision, token)

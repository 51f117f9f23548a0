"""What is asked of a cache at one moment: what it answers, and what keeps it from answering."""

from dataclasses import dataclass
from datetime import timedelta

from heed.answers import CacheState, CheckAnswer, Positioned
from heed.errors import InvalidArgumentError
from heed.index.place import Place
from heed.model import TopicClass
from heed.replica.tick import Tick
from heed.tokens import TOKEN_HASH_BYTES, decode_token


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """What the cache may not answer by itself."""

    state: CacheState
    age: timedelta | None
    wait_revision: int = 0
    """The revision of the token, where the cache does not have it yet; 0: none is waited for."""
    has_policy: bool = True
    """Whether the policy may answer; not what is malformed, of another tenant, or of a token that
    the cache does not have."""
    position: Positioned | None = None
    """Where the cache stands, if it is whole."""
    topic_class: TopicClass = TopicClass.PROMOTIONAL
    last_known: CheckAnswer | None = None
    """What the cache would have allowed, were it younger, to a mandatory message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is the same for all that is asked at once."""

    tick: Tick
    is_ours: bool
    """Whether the tenant asked about is the cache's."""
    has_token: bool
    """Whether the token's revision is in what was read."""
    wait_revision: int


def judged(token: str, place: Place) -> tuple[int, bool]:
    """Return the revision to wait for, 0 for none, and whether the token's is there already."""
    try:
        asked = decode_token(token)
    except InvalidArgumentError:
        return 0, False
    if (asked.epoch, asked.tenant_id) != (place.epoch, place.tenant_id):
        return 0, False
    if asked.revision > place.revision:
        return asked.revision, False
    is_here = asked.revision < place.revision or (
        asked.running_hash == place.running_hash[:TOKEN_HASH_BYTES]
    )
    return 0, is_here

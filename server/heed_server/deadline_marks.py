"""What the watch on deadlines keeps in the database, beside the log; none of it is of the log."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from heed.model import Instant, Revision, TenantId


class DeadlineMark(NamedTuple):
    """How far the opt-outs that a subscriber has not applied were looked at, and warned of."""

    subscriber: str
    look_time: Instant
    """Whatever was near by then was warned of."""
    read_revision: Revision
    """The last revision that was looked at."""
    rules: str
    """The digest of the rules by which it was near."""


class DeadlineWarning(NamedTuple):
    """That a subscriber has not applied an opt-out whose earliest deadline is near, or passed."""

    subscriber: str
    status: str
    """`pending` or `missing`."""
    revision: Revision
    applied_revision: Revision
    """What the subscriber has applied."""
    deadline: Instant
    policy: str
    calendar: str
    is_over: bool
    opt_outs: int = 1
    """So many are meant, of which this is the one whose deadline comes first."""


class AppliedByAll(NamedTuple):
    """An instant at which everybody who counts was seen to have applied a revision."""

    revision: Revision
    time: Instant


class DeadlineStore(Protocol):
    """Where all nodes see what was warned of, and what everybody has applied."""

    async def marks(self, tenant_id: TenantId) -> Sequence[DeadlineMark]:
        """Return a tenant's, by subscriber."""
        ...

    async def put_marks(self, tenant_id: TenantId, marks: Sequence[DeadlineMark]) -> None:
        """Put these in the place of all of a tenant's."""
        ...

    async def note_applied_by_all(
        self, tenant_id: TenantId, seen: AppliedByAll, keep_from: Instant
    ) -> None:
        """Keep that this was seen, unless as much was before; forget what is of before a time.

        The last of what is forgotten stays, so that it is known how far everybody was by then.
        """
        ...

    async def applied_by_all(
        self, tenant_id: TenantId, first: Revision, last: Revision
    ) -> Sequence[AppliedByAll]:
        """Return, ascending, those that say when revisions of this range were applied by all.

        The first that names `first` or more, and so on up to the first that names `last` or more.
        """
        ...

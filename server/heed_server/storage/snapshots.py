"""One tenant's current state, read a batch at a time in one view of the database."""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from heed.model import Head, Hold, Record, SubjectKey, Topic
from heed_server.storage.backend import Reading
from heed_server.storage.log_reads import FIRST_PLACE, Place

T = TypeVar("T")


class SqlSnapshot:
    """One tenant's current state, all of one revision (see `heed_server.store.Snapshot`)."""

    def __init__(
        self,
        *,
        head: Head,
        topics: tuple[Topic, ...],
        holds: tuple[Hold, ...],
        reading: Reading,
        read: Callable[[Connection, Place], tuple[list[tuple[SubjectKey, Record]], Place | None]],
    ) -> None:
        """`read` reads one batch from a place on, within `reading`."""
        self.head = head
        self.topics = topics
        self.holds = holds
        self._reading = reading
        self._read = read

    def records(self) -> AsyncIterator[Sequence[tuple[SubjectKey, Record]]]:
        """Yield every standing record once, in batches, ascending by subject key."""
        return batches(self._reading, self._read)


async def batches(
    reading: Reading, read: Callable[[Connection, Place], tuple[list[T], Place | None]]
) -> AsyncIterator[Sequence[T]]:
    """Yield what is read within a view, a batch at a time, to its end."""
    place: Place | None = FIRST_PLACE
    while place is not None:
        batch, place = await reading.run(partial(_read_from, read, place))
        if batch:
            yield batch


def _read_from(read: Callable[[Connection, Place], T], place: Place, connection: Connection) -> T:
    return read(connection, place)

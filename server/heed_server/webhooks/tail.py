"""The newest changes of a tenant's log, once for all of its targets.

Law: what it gives continues a place whose history the asker has compared with the log; what is not
here is read from there.
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from heed.model import Change, Revision
from heed_server.follow import Follower

TAIL_CHANGES_MAX: Final = 1_000
"""So many changes that the follower took are kept, some 1 MB; targets that are further behind read
the log."""


class Tail:
    """What one tenant's follower took last. All state is the event loop's."""

    def __init__(self, follower: Follower) -> None:
        """Listens to the follower from now on."""
        self.follower = follower
        self.turns = 0
        """How often what follows may be of another log than what was before."""
        self._changes: deque[Change] = deque(maxlen=TAIL_CHANGES_MAX)
        self._told: list[Callable[[], None]] = []
        follower.listen(self)

    def tell(self, told: Callable[[], None]) -> None:
        """Call this whenever there may be more."""
        self._told.append(told)

    def forget(self, told: Callable[[], None]) -> None:
        """Call it no more."""
        self._told.remove(told)

    def took(self, changes: Sequence[Change]) -> None:
        """Note that there is more (see `Listener`)."""
        if self._changes and changes[0].revision != self._changes[-1].revision + 1:
            self._changes.clear()
        self._changes.extend(changes)
        self._tell()

    def made_anew(self) -> None:
        """Note that there may be more, and of another log (see `Listener`)."""
        self._changes.clear()
        self.turns += 1
        self._tell()

    def after(self, revision: Revision, limit: int) -> Sequence[Change]:
        """Return the changes after a revision, so many; none where the first is not here."""
        if not self._changes:
            return ()
        start = revision + 1 - self._changes[0].revision
        if not 0 <= start < len(self._changes):
            return ()
        return tuple(islice(self._changes, start, start + limit))

    def _tell(self) -> None:
        for told in tuple(self._told):
            told()

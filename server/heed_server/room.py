"""How much may be under way: in all, of one principal, and none once the node stops."""

from collections.abc import Generator, Hashable
from contextlib import contextmanager

from heed.errors import ErrorReason, ExhaustedError, UnavailableError


class Room:
    """Counts what is open, by who opened it (`Principal.identity`). Written on one loop alone."""

    def __init__(
        self,
        what: str,
        *,
        most: tuple[str, int],
        most_of_principal: tuple[str, int],
        reason: ErrorReason = ErrorReason.LIMIT_REACHED,
    ) -> None:
        """`what` is counted, in messages: `streams`; each limit is its setting's name and value.

        `reason`: LIMIT_REACHED of what its callers have to end, OVERLOADED of what ends by itself.
        """
        self.refused = 0
        """How often there was none, since the start."""
        self._reason = reason
        self._what = what
        self._most = most
        self._most_of_principal = most_of_principal
        self._of_principal: dict[Hashable, int] = {}
        self._count = 0
        self._is_closed = False

    def require(self, principal: Hashable) -> None:
        """Return if a principal may open one more now.

        Raises:
            UnavailableError: DRAINING.
            ExhaustedError: LIMIT_REACHED.
        """
        if self.has_room(principal):
            return
        if self._is_closed:
            raise stopping()
        self.refused += 1
        count, (limit, most) = self._count, self._most
        if count < most:
            count, (limit, most) = self._of_principal.get(principal, 0), self._most_of_principal
        raise self._refusal(limit, count, most)

    def has_room(self, principal: Hashable) -> bool:
        """Whether a principal may open one more now."""
        return (
            self._count < self._most[1]
            and self._of_principal.get(principal, 0) < self._most_of_principal[1]
            and not self._is_closed
        )

    @contextmanager
    def place(self, principal: Hashable) -> Generator[None]:
        """Count one more within the block. Raises: as `require`."""
        self.require(principal)
        self.take(principal)
        try:
            yield
        finally:
            self.give_back(principal)

    def take(self, principal: Hashable) -> None:
        """Count one more, that there is room for; give it back, whatever happens."""
        self._count += 1
        self._of_principal[principal] = self._of_principal.get(principal, 0) + 1

    def give_back(self, principal: Hashable) -> None:
        """Count one less of a principal's."""
        self._count -= 1
        left = self._of_principal[principal] - 1
        if left:
            self._of_principal[principal] = left
        else:
            del self._of_principal[principal]

    def close(self) -> None:
        """Let none be opened any more."""
        self._is_closed = True

    def _refusal(self, limit: str, count: int, most: int) -> ExhaustedError:
        there_are = f"there are {count} {self._what}"
        if self._reason is ErrorReason.LIMIT_REACHED:
            return limit_reached(there_are, limit, count, most)
        return ExhaustedError(
            f"{there_are}, and may be {most}; wait and try again",
            reason=self._reason,
            metadata={"limit": limit},
        )


def limit_reached(there_are: str, limit: str, count: int, most: int) -> ExhaustedError:
    """Return the refusal of one stream more than may be; it begins with how many there are."""
    return ExhaustedError(
        f"{there_are}, and may be {most}; end some",
        reason=ErrorReason.LIMIT_REACHED,
        metadata={"limit": limit, "value": str(count)},
    )


def stopping() -> UnavailableError:
    """Return the refusal of a stream at a node that stops."""
    return UnavailableError(
        "this node is stopping; open a stream at another", reason=ErrorReason.DRAINING
    )

"""How many streams may be open: in all, of one principal, and none once the node stops."""

from collections import Counter

from heed.errors import ErrorReason, ExhaustedError, UnavailableError


class Room:
    """Counts what is open, by who opened it. Written on the event loop alone."""

    def __init__(
        self, what: str, *, most: tuple[str, int], most_of_principal: tuple[str, int]
    ) -> None:
        """`what` is counted, in messages: `streams`; each limit is its setting's name and value."""
        self._what = what
        self._most = most
        self._most_of_principal = most_of_principal
        self._of_principal: Counter[str] = Counter()
        self._is_closed = False

    def require(self, principal: str) -> None:
        """Return if a principal may open one more now.

        Raises:
            UnavailableError: DRAINING.
            ExhaustedError: LIMIT_REACHED.
        """
        if self._is_closed:
            raise stopping()
        for count, (limit, most) in (
            (self._of_principal.total(), self._most),
            (self._of_principal[principal], self._most_of_principal),
        ):
            if count >= most:
                raise limit_reached(f"there are {count} {self._what}", limit, count, most)

    def take(self, principal: str) -> None:
        """Count one more, that there is room for; give it back, whatever happens."""
        self._of_principal[principal] += 1

    def give_back(self, principal: str) -> None:
        """Count one less of a principal's."""
        self._of_principal[principal] -= 1
        if not self._of_principal[principal]:
            del self._of_principal[principal]

    def close(self) -> None:
        """Let none be opened any more."""
        self._is_closed = True


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

"""The wrong fields of one request: every one is found, the first hundred are named.

A violation says what is wrong and what to do. It never repeats what a person may be known by.
"""

from heed.errors import ErrorReason, FieldViolation, InvalidArgumentError
from heed.wire.limits import VIOLATIONS_MAX


class Violations:
    """What is wrong with one request, in the order in which it was found."""

    __slots__ = ("count", "named")

    def __init__(self) -> None:
        self.named: list[FieldViolation] = []
        self.count = 0

    def add(self, field: str, description: str) -> None:
        """Note that the field at this path breaks its constraint."""
        self.count += 1
        if len(self.named) < VIOLATIONS_MAX:
            self.named.append(FieldViolation(field, description))

    def raise_if_any(self) -> None:
        """Return if nothing is wrong.

        Raises:
            InvalidArgumentError: INVALID_FIELD, with the violations.
        """
        if self.count:
            raise self.as_error()

    def as_error(self) -> InvalidArgumentError:
        """Return the error that names them; there must be one at least."""
        first = self.named[0]
        others = self.count - 1
        message = f"{first.field}: {first.description}" if first.field else first.description
        if others:
            message += f" (and {others} more)"
        return InvalidArgumentError(
            message,
            violations=self.named,
            metadata={"field": first.field, "violations": str(self.count)},
        )


def too_large(field: str, items: int, items_max: int) -> InvalidArgumentError:
    """Return the error for more items than one call may carry."""
    return InvalidArgumentError(
        f"{field} has {items} items and may have {items_max}; send several calls",
        violations=[FieldViolation(field, f"has {items} items, at most {items_max} are taken")],
        reason=ErrorReason.BATCH_TOO_LARGE,
        metadata={"field": field, "items": str(items), "items_max": str(items_max)},
    )

"""Why an operator does something, as a command is told it."""

from heed.errors import invalid_field
from heed.model import REASON_CHARACTERS_MAX


def require_reason(reason: str) -> None:
    """Refuse what says nothing, is too long for the log, or would break its lines.

    Raises:
        InvalidArgumentError: it does.
    """
    if not reason.strip() or len(reason) > REASON_CHARACTERS_MAX or not reason.isprintable():
        raise invalid_field("--reason", f"is 1 to {REASON_CHARACTERS_MAX} printable characters")

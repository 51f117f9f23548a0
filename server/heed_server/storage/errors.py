"""What goes wrong between the store and its database, told apart once, at this boundary.

The two exceptions that are no `HeedError` stay within `storage`: the writer turns them into the
answers that its callers get.
"""

from heed.errors import ErrorReason, FieldViolation, InvalidArgumentError, UnavailableError


class SchemaError(UnavailableError):
    """The database has no schema, an older one, or one of a later heed; says what to do."""


class SchemaOlderError(SchemaError):
    """The database has no schema or an older one, which a migration mends."""


class NotWrittenError(Exception):
    """A transaction failed before its commit: nothing of it was written."""

    def __init__(self, message: str, *, again: bool = False, fatal: bool = False) -> None:
        """`again`: the same may well succeed now. `fatal`: the writer must not go on."""
        super().__init__(message)
        self.again = again
        self.fatal = fatal


class CommitLostError(Exception):
    """A commit was sent and its answer is not known: it may or may not have happened."""

    def __init__(self, message: str, *, fatal: bool = False) -> None:
        """`fatal`: the writer must not go on, what it holds in memory may not be what is stored."""
        super().__init__(message)
        self.fatal = fatal


def store_unavailable(what: str) -> UnavailableError:
    """Return the error of a database that does not answer."""
    return UnavailableError(
        f"the database does not answer: {what}", reason=ErrorReason.STORE_UNAVAILABLE
    )


def unknown_cursor() -> InvalidArgumentError:
    """Return the error of a cursor that no page gave."""
    said = "is not one that an earlier page gave; begin again without it"
    return InvalidArgumentError(
        f"page_token {said}", violations=[FieldViolation("page_token", said)]
    )

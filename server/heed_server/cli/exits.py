"""How a command ends: the exit codes that scripts decide by, and errors as people read them."""

import enum
import json
import sys
from collections.abc import Generator
from contextlib import contextmanager

from heed.errors import ConflictError, HeedError, InvalidArgumentError, NotFoundError


class Exit(enum.IntEnum):
    """The exit codes, the same for every command; docs/operations.md explains them."""

    OK = 0
    NO = 1
    """It was asked and the answer is no: a check failed, a server does not serve, no such key."""
    USAGE = 2
    """The command or the settings are wrong; nothing was done."""
    UNAVAILABLE = 3
    """The server, the database, a port or a file cannot be had now."""
    STOPPED = 4
    """The server stopped itself, because it could not go on safely."""


def exit_of(error: HeedError) -> Exit:
    """Return the exit code that an error ends a command with."""
    match error:
        case InvalidArgumentError():
            return Exit.USAGE
        case NotFoundError() | ConflictError():
            return Exit.NO
        case _:
            return Exit.UNAVAILABLE


@contextmanager
def errors_as_exits(*, as_json: bool = False) -> Generator[None]:
    """End the command with the right code when heed refuses or cannot do something."""
    try:
        yield
    except HeedError as error:
        print_error(error, as_json=as_json)
        sys.exit(exit_of(error))


def print_error(error: HeedError, *, as_json: bool) -> None:
    """Say on standard error what is wrong, every violation on a line of its own."""
    violations = error.violations if isinstance(error, InvalidArgumentError) else ()
    if as_json:
        said = {
            "error": error.message,
            "reason": error.reason.value,
            "violations": {one.field: one.description for one in violations},
        }
        print(json.dumps(said), file=sys.stderr)
        return
    if not violations:
        print(f"heed-server: {error.message}", file=sys.stderr)
    for one in violations:
        print(f"heed-server: {one.field}: {one.description}", file=sys.stderr)

"""How a command ends: the exit codes that scripts decide by.

They are those of the command `heed` where both have them, and errors are told in its words.
"""

import enum
import sys
from collections.abc import Generator
from contextlib import contextmanager

from heed.cli.exits import tell
from heed.errors import ConflictError, HeedError, InvalidArgumentError, NotFoundError


class Exit(enum.IntEnum):
    """The exit codes, the same for every command; docs/operations.md explains them."""

    OK = 0
    NO = 1
    """It was asked, and the answer is no: a check failed, a server does not serve."""
    USAGE = 2
    """The command or the settings are wrong; nothing was done."""
    UNAVAILABLE = 3
    """The server, the database, a port or a file cannot be had now."""
    REFUSED = 4
    """It does not fit what stands: no such key, no such tenant."""
    STOPPED = 5
    """The server stopped itself, because it could not go on safely."""


def exit_of(error: HeedError) -> Exit:
    """Return the exit code that an error ends a command with."""
    match error:
        case InvalidArgumentError():
            return Exit.USAGE
        case NotFoundError() | ConflictError():
            return Exit.REFUSED
        case _:
            return Exit.UNAVAILABLE


@contextmanager
def errors_as_exits(*, as_json: bool = False) -> Generator[None]:
    """End the command with the right code when heed refuses or cannot do something."""
    try:
        yield
    except HeedError as error:
        tell(error, as_json=as_json)
        sys.exit(exit_of(error))

"""Exit codes that scripts can use, and how an error is told.

Laws:
- The numbers never change their meaning; docs/cli.md lists them.
- Whatever failed, the code is not 0, so `heed check … && send` never sends by a failure.
- An error is told on stderr by its reason and what to do; no address of a person is in it.
"""

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import typer

from heed.errors import (
    ErrorReason,
    ExhaustedError,
    HeedError,
    InvalidArgumentError,
    OutcomeUnknownError,
    UnavailableError,
)

DONE: Final = 0
"""Done; of a check: allowed; of a list: every row was answered or imported."""
FAILED: Final = 1
"""heed itself failed; please report it."""
INVALID: Final = 2
"""What was asked is malformed; nothing was done."""
UNAVAILABLE: Final = 3
"""No answer could be had. Of a check: do not send."""
REFUSED: Final = 4
"""The server refused: a right is missing, it conflicts with what stands, or it is not there."""
OUTCOME_UNKNOWN: Final = 5
"""A write may or may not have happened; the same call with the same key tells."""
SOME_REJECTED: Final = 6
"""Of a list: some rows are malformed; all others were answered or imported."""
SUPPRESSED: Final = 10
"""Of a check: suppressed."""
NOT_PROPAGATED: Final = 12
"""Of an opt-out, or of `heed propagation`: somebody who counts has not been heard to have it."""
NOT_PROVED: Final = 13
"""Of `heed audit verify`: it does not prove what it claims to."""
INTERRUPTED: Final = 130
"""Stopped by the user."""


def code_of(error: HeedError) -> int:
    """Return the exit code that tells a script of this error."""
    match error:
        case InvalidArgumentError():
            return INVALID
        case OutcomeUnknownError():
            return OUTCOME_UNKNOWN
        case UnavailableError() | ExhaustedError():
            return UNAVAILABLE
        case _:
            return REFUSED


@contextmanager
def reporting(*, as_json: bool) -> Generator[None]:
    """Turn what goes wrong inside into words on stderr and an exit code.

    Raises:
        typer.Exit: with the code.
    """
    try:
        yield
    except HeedError as error:
        tell(error, as_json=as_json)
        raise typer.Exit(code_of(error)) from None
    except UnicodeError:
        # Its text quotes the argument, which may be an address.
        message = "an argument or the input is not text in UTF-8; write it in UTF-8"
        tell(InvalidArgumentError(message), as_json=as_json)
        raise typer.Exit(INVALID) from None
    except BrokenPipeError:
        raise  # whoever read our output has gone; typer ends quietly
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        message = f"{where}{error.strerror or error}"
        tell(InvalidArgumentError(message), as_json=as_json)
        raise typer.Exit(INVALID) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def tell(error: HeedError, *, as_json: bool) -> None:
    """Print an error on stderr."""
    if as_json:
        told: dict[str, object] = {
            "error": {
                "reason": error.reason.value,
                "message": error.message,
                "metadata": error.metadata,
            }
        }
        if isinstance(error, InvalidArgumentError) and error.violations:
            told["violations"] = [
                {"field": one.field, "description": one.description} for one in error.violations
            ]
        print(json.dumps(told, ensure_ascii=False), file=sys.stderr)
        return
    print(f"{error.reason}: {error.message}", file=sys.stderr)
    if isinstance(error, InvalidArgumentError):
        for violation in error.violations[1:]:
            print(f"  {violation.field}: {violation.description}", file=sys.stderr)
    hint = _hint_of(error)
    if hint is not None:
        print(f"  {hint}", file=sys.stderr)


def _hint_of(error: HeedError) -> str | None:
    if error.reason is not ErrorReason.APPROVAL_REQUIRED:
        return _HINTS.get(error.reason)
    key = error.metadata.get("idempotency_key")
    if key is None:
        return None  # nothing waits: there is nobody to ask, or it was an approval that was refused
    again = "then give the very same command again"
    if error.metadata.get("method") not in _KEYED_BY_CONTENT:
        again = f"then give the same command again with --idempotency-key {key}"
    return (
        "the second person sees it by `heed approvals list` and says yes by `heed approvals grant "
        f"ID`; {again}"
    )


_KEYED_BY_CONTENT: Final = frozenset({"ImportRecords", "ReleaseSuppressions", "RevertBatch"})
"""Methods whose commands make the key of what is asked, so that it need not be said again."""

_HINTS: Final = {
    ErrorReason.CREDENTIAL_INVALID: (
        "put a key into HEED_API_KEY, or name the file that holds it with --api-key-file; on the "
        "server's host `heed-server keys create NAME --right check --right write` makes one, and "
        "shows it once. If you gave one: it is mistyped, revoked, past its end or of another server"
    ),
    ErrorReason.SERVER_UNREACHABLE: (
        "`heed doctor` looks into it; --address and HEED_ADDRESS say where the server is, "
        "--ca-file and HEED_CA_FILE that it speaks TLS, --certificate-file and "
        "--certificate-key-file who we are where it asks for a certificate"
    ),
    ErrorReason.TENANT_REQUIRED: "name one with --tenant or HEED_TENANT; `heed tenants list`",
}

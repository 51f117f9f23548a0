"""Why an index cannot be used, as errors.

Each of them means: this node knows nothing it may allow by. They are `UnavailableError`s with the
reason STATE_STALE, so one that reaches a caller says "ask another node, else suppress".
"""

import enum
from collections.abc import Generator
from contextlib import contextmanager

import lmdb

from heed.errors import ErrorReason, UnavailableError


class Fault(enum.StrEnum):
    """What is wrong with an index."""

    MISSING = "missing"
    """There is none."""
    UNCLEAN = "unclean"
    """It was not closed: the process was killed, or the power failed."""
    VERSION = "version"
    """It was written by other rules, another normaliser or another layout of files."""
    FOREIGN = "foreign"
    """It is of another tenant or another epoch."""
    BEHIND = "behind"
    """It is so far behind its log that making it anew is quicker."""
    DAMAGED = "damaged"
    """Its bytes are not what was written."""
    REFUSED = "refused"
    """It could not take a change: the disk is full, the map is at its cap, the change is odd."""


class IndexUnusableError(UnavailableError):
    """The index must be rebuilt before anything is allowed by it."""

    default_reason = ErrorReason.STATE_STALE

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message, metadata={"fault": fault.value})
        self.fault = fault


class IndexGapError(UnavailableError):
    """The changes given do not begin right after the index; read the ones between first."""

    default_reason = ErrorReason.STATE_STALE


class IndexClaimedError(UnavailableError):
    """Another process uses this index; rebuilding will not help."""

    default_reason = ErrorReason.STATE_STALE


@contextmanager
def lmdb_errors_as(fault: Fault, act: str) -> Generator[None, None, None]:
    """Turn what LMDB refuses into an unusable index."""
    try:
        yield
    except lmdb.Error as error:
        raise IndexUnusableError(fault, f"the index cannot {act}: {error}") from error


@contextmanager
def os_errors_as(fault: Fault, act: str) -> Generator[None, None, None]:
    """Turn what the operating system refuses into an unusable index."""
    try:
        yield
    except OSError as error:
        raise IndexUnusableError(fault, f"the index cannot {act}: {error}") from error

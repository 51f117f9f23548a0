"""Batches, as a log has them: what `heed.Client.list_batches` gives back. Pure."""

from dataclasses import dataclass
from datetime import datetime

from heed.requests import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchUndoing:
    """How a batch was undone."""

    revision: int
    """The change by which that began, and the batch was closed."""
    begin_time: datetime
    """When that was committed."""
    reason: str
    asked_by: str
    """The name of the principal that asked for it."""
    approved_by: str
    """The name of the one that granted it; empty: it needed nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What calls of one name brought: an import, or choices that were set together."""

    batch_id: str
    first_revision: int
    """Its first change. Between this one and the last stand changes of others too."""
    last_revision: int
    """Its last change so far; one less than `first_revision` where it changed nothing."""
    first_time: datetime | None
    """When its first change was committed; None: it changed nothing."""
    last_time: datetime | None
    origin: Origin | None
    """Who said so in its first change; None: it changed nothing, or that was erased."""
    undoing: BatchUndoing | None
    """None: it stands."""

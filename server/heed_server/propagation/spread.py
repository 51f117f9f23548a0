"""How far single revisions have spread: by how many applied, and after how long. Pure.

Who counts is who counts in `progress`: a revision is held against those that count now.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from heed.model import Instant, Revision
from heed_server.propagation.progress import Seen, counting_by_name
from heed_server.propagation.trails import ReaderKey, Step
from heed_server.store import Subscriber

NAMES_TOLD_MAX = 100
"""Names of those who have not applied a revision that are told of it."""


class Spread(NamedTuple):
    """How far one revision has spread."""

    revision: Revision
    counting: int
    """Subscribers that count, or should."""
    applied: int
    """Those of them that have applied it."""
    time: Instant | None
    """By when the last of these had; None: it is not known of each."""
    is_exact: bool
    """Whether it is known of each when, and not only by when at the latest."""
    waiting_for: tuple[str, ...]
    """Who has not, some of them."""


def spread_of(
    seen: Iterable[Seen],
    revisions: Sequence[Revision],
    boot_seconds: float,
    step_of: Callable[[ReaderKey, Revision], Step | None],
) -> list[Spread]:
    """Return how far each of these revisions has spread, in their order."""
    by_name = counting_by_name(seen, boot_seconds)
    return [_spread(revision, by_name, step_of) for revision in revisions]


def _spread(
    revision: Revision,
    by_name: Mapping[str, Sequence[Subscriber]],
    step_of: Callable[[ReaderKey, Revision], Step | None],
) -> Spread:
    waiting: list[str] = []
    steps: list[Step | None] = []
    for name, streams in by_name.items():
        if not streams or any(one.applied_revision < revision for one in streams):
            waiting.append(name)
        else:
            steps += [step_of((one.tenant_id, name, one.instance), revision) for one in streams]
    known = [step for step in steps if step is not None]
    is_known = bool(known) and len(known) == len(steps)
    return Spread(
        revision=revision,
        counting=len(by_name),
        applied=len(by_name) - len(waiting),
        time=max(step.time for step in known) if is_known else None,
        is_exact=is_known and all(step.is_exact for step in known),
        waiting_for=tuple(waiting[:NAMES_TOLD_MAX]),
    )

"""What may be shown of root keys: their ids, and how much each wraps."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RootState:
    """What wraps the secrets of one purpose."""

    purpose: str
    key_ids: tuple[int, ...]
    """Of the file, in the order in which they were added."""
    primary_id: int
    """The one that wraps today; those after it wait, and open already."""
    wrapped: Mapping[int, int]
    """How many secrets each key wraps, by its id."""

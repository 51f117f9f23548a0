"""What may be shown of keys: their ids, and what each is for."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkKeyState:
    """The keys under which a tenant's links are sealed."""

    tenant: str
    key_ids: tuple[int, ...]
    """In the order in which they were added; all of them open."""
    primary_id: int
    """The one that seals; those after it wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupState:
    """A lookup key of a tenant, and how many subjects stand under it."""

    tenant: str
    key_id: int
    is_newest: bool
    readable: int
    """Whose address is kept: they are moved under the newest."""
    erased: int
    """Of whom nothing readable is left: they stay."""

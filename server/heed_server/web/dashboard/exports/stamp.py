"""What every file says of itself: of what it is, whose, who made it, and when."""

import re
from dataclasses import dataclass

from heed.model import Instant, Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """Where a file comes from."""

    view: str
    title: str
    tenant: str
    asked_by: str
    """The principal's name."""
    now: Instant
    revision: Revision | None


def file_name(stamp: Stamp, *parts: str, is_cut: bool = False) -> str:
    """Return a name without its ending, of characters that every system takes."""
    at = stamp.now // 1_000_000
    named = ["heed", stamp.tenant, stamp.view, *parts, str(at), *(["cut"] if is_cut else ())]
    return "-".join(re.sub(r"[^A-Za-z0-9_]+", "-", part) for part in named if part)

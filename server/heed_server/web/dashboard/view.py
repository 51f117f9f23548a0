"""What a view is: a title, its rights, and how its tables are read. All else is made of that.

To add one, write a module in `views` with a `VIEW`, and name it in `views.VIEWS`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from heed.model import Instant, Revision
from heed_server.auth.policy import Principal, Right
from heed_server.service import Service
from heed_server.web.dashboard.limits import LIVE_SECONDS
from heed_server.web.dashboard.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who asks for a view, and for what of it."""

    service: Service
    principal: Principal
    tenant: str
    """The tenant's name; the service says whether it is theirs to see."""
    query: Mapping[str, str]
    """What the address says after its `?`, or the form that was sent. Not checked yet."""
    rows_max: int
    """How many rows of a table may be told."""
    is_export: bool = False
    """Whether it is for a file, which has more than a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a view shows at one instant."""

    tables: tuple[Table, ...]
    now: Instant
    revision: Revision | None = None
    """Where the tenant's log stood; None: the view is not of the log."""
    next_query: Mapping[str, str] = field(default_factory=dict[str, str])
    """What to ask for to see what comes after; empty: nothing does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One thing that a form asks for."""

    name: str
    title: str
    choices: tuple[tuple[str, str], ...] = ()
    """Values and their words; empty: a text is written."""
    characters_max: int = 320
    is_required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a view asks for before it shows anything; sent by POST, so that no address has it."""

    fields: tuple[Field, ...]
    """Empty: there is only the button."""
    button: str
    hint: str = ""


Read: TypeAlias = Callable[[Asking], Awaitable[Shown]]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One page of the dashboard, with its exports."""

    name: str
    """In addresses: lower-case letters."""
    title: str
    lead: str
    """What it answers, in a sentence or two."""
    rights: frozenset[Right]
    """Any of them is enough, as the service has it; who has none is shown no way here."""
    read: Read
    """Raises HeedError: as the methods of the service that it calls."""
    live_seconds: float = LIVE_SECONDS
    """How often an open page reads it again; one with a form, or 0: never."""
    form: Form | None = None
    """None: it is shown at once. Else `read` is called with the form that was sent."""
    is_shown_at_once: bool = False
    """With a form: whether `read` is called before it was sent too, then with nothing."""

"""The pages, and the headers of every answer.

Laws:
- Whatever a page shows is escaped. It loads nothing but this server's own style, script and icon,
  and nothing may frame it.
- A page is whole without its script, which only reads the same tables again.
"""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from heed.model import Instant
from heed_server.auth.policy import Principal
from heed_server.web.dashboard.charts import drawn
from heed_server.web.dashboard.limits import CREDENTIAL_CHARACTERS_MAX
from heed_server.web.dashboard.tables import Cell, Column, Kind, State
from heed_server.web.dashboard.texts import instant_shown, instant_written, shown
from heed_server.web.dashboard.view import Shown, View

_FOLDER: Final = Path(__file__).parent
_CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # With no-referrer a browser would tell no origin when a form is sent.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
"""Of every answer."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages load."""

    content: bytes
    content_type: str


def _asset(path: Path) -> Asset:
    return Asset(path.read_bytes(), _CONTENT_TYPES[path.suffix])


ASSETS: Final[Mapping[str, Asset]] = {
    path.name: _asset(path) for path in sorted((_FOLDER / "assets").iterdir())
}
"""By name."""
_ADDRESSES: Final = {
    name: f"/assets/{name}?v={hashlib.sha256(asset.content).hexdigest()[:12]}"
    for name, asset in ASSETS.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Looker:
    """Who looks, and at what they may."""

    principal: Principal
    tenants: Sequence[str]
    tenant: str
    views: Sequence[View]
    form_token: str


def sign_in_page(*, is_open: bool, minutes: float, problem: str = "") -> bytes:
    """Return the form to sign in by, with what was wrong with the attempt before."""
    return _page(
        "sign_in.html",
        title="Sign in",
        is_open=is_open,
        minutes=f"{minutes:g}",
        problem=problem,
        characters_max=CREDENTIAL_CHARACTERS_MAX,
    )


def problem_page(title: str, text: str) -> bytes:
    """Return the page of what cannot be shown."""
    return _page("problem.html", title=title, text=text)


def view_page(
    view: View,
    looker: Looker,
    view_shown: Shown | None,
    asked: Mapping[str, str],
    *,
    problem: str = "",
) -> bytes:
    """Return the page of a view; without what it shows, its form alone."""
    query = _query_of(view, looker, {})
    of_address = _query_of(view, looker, asked)
    exports = [
        ("JSON", address(view.name, "json", of_address)),
        ("PDF", address(view.name, "pdf", of_address)),
    ]
    following = view_shown.next_query if view_shown else {}
    return _page(
        "view.html",
        title=view.title,
        view=view,
        shown=view_shown,
        asked=asked,
        problem=problem,
        principal=looker.principal,
        tenants=looker.tenants,
        tenant=looker.tenant,
        views=looker.views,
        form_token=looker.form_token,
        tenant_query=f"?{urlencode(query)}" if query else "",
        exports=exports,
        csv=_csv(view, view_shown, of_address),
        here=address(view.name, "", of_address),
        part_url=address(view.name, "part", of_address),
        next_url=address(view.name, "", {**query, **following}) if following else "",
    )


def part_of(view: View, looker: Looker, view_shown: Shown, asked: Mapping[str, str]) -> bytes:
    """Return the tables of a view alone, as an open page reads them again."""
    csv = _csv(view, view_shown, _query_of(view, looker, asked))
    return _page("live.html", view=view, shown=view_shown, csv=csv)


def address(name: str, suffix: str, query: Mapping[str, str]) -> str:
    """Return where a view is, or an export of it."""
    path = f"/{name}.{suffix}" if suffix else f"/{name}"
    return f"{path}?{urlencode(query)}" if query else path


def _query_of(view: View, looker: Looker, asked: Mapping[str, str]) -> dict[str, str]:
    """What an address of the view says: of a form nothing, which is for no address."""
    of_tenant = {"tenant": looker.tenant} if len(looker.tenants) > 1 else {}
    return of_tenant if view.form else {**of_tenant, **asked}


def _csv(view: View, view_shown: Shown | None, query: Mapping[str, str]) -> dict[str, str]:
    """Where the CSV of each table is, by its name."""
    tables = view_shown.tables if view_shown else ()
    return {
        table.name: address(view.name, "csv", {**query, "table": table.name}) for table in tables
    }


def _cell(cell: Cell, column: Column) -> Markup:
    text = shown(cell, column.kind)
    if isinstance(cell, State):
        return Markup('<span class="state-word {}">{}</span>').format(cell.tone.value, text)
    if column.kind is Kind.INSTANT and isinstance(cell, int):
        return Markup('<time datetime="{}">{}</time>').format(instant_written(Instant(cell)), text)
    return escape(text)


def _page(name: str, **said: object) -> bytes:
    return _environment().get_template(name).render(**said).encode()


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
    )
    for name, said in (
        ("assets", _ADDRESSES),
        ("drawn", drawn),
        ("cell", _cell),
        ("instant", instant_shown),
        ("written", instant_written),
    ):
        made.globals[name] = cast("Any", said)
    return made

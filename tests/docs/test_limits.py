"""docs/limits.md names every bound of a request and an answer, with the value it has."""

import re
from types import ModuleType

import pytest

from heed import hours, keys, quiet
from heed import links as mail_links
from heed.connection import asking
from heed.formats import streams, tables
from heed.importing import chunks
from heed.index import hashes
from heed.judge import operations
from heed.replica import contradictions, kept, offering, proving
from heed.wire import limits
from heed_server import approvals, page_links, rates
from heed_server.auth import client_certificates, credentials, grants, identities, jwks, jwt, spiffe
from heed_server.backup import file
from heed_server.config import web
from heed_server.deadlines import reading
from heed_server.deadlines import watch as deadline_watch
from heed_server.primary import lookup_keys, rotations
from heed_server.propagation import trails
from heed_server.rpc import check_streams
from heed_server.secrets import sealing
from heed_server.service import (
    activity,
    admission,
    capped,
    checks,
    clocks,
    links,
    node,
    opt_outs,
)
from heed_server.storage import clock, copying, writer
from heed_server.watch import verifiable
from heed_server.web import limits as web_limits
from heed_server.web.dashboard import limits as dashboard_limits
from heed_server.web.inbound import (
    app,
    mailgun,
    notification,
    opening,
    provider,
    sns,
    sns_certificates,
    sources,
)
from heed_server.web.public import colours, forms, languages, looks, rendering
from heed_server.web.rest import changes as rest_changes
from heed_server.web.rest import events as rest_events
from heed_server.webhooks import (
    notices,
    order,
    pace,
    resolving,
    signing,
    tail,
    targets,
    transport,
)
from tests.docs.pages import DOCS

OTHERS = (
    mail_links,
    clocks,
    reading,
    deadline_watch,
    keys,
    hours,
    quiet,
    proving,
    contradictions,
    kept,
    offering,
    verifiable,
    asking,
    check_streams,
    checks,
    streams,
    tables,
    chunks,
    hashes,
    credentials,
    client_certificates,
    grants,
    identities,
    jwks,
    jwt,
    spiffe,
    operations,
    lookup_keys,
    rotations,
    sealing,
    node,
    clock,
    approvals,
    rates,
    admission,
    capped,
    writer,
    file,
    copying,
    web,
    web_limits,
    rest_changes,
    rest_events,
    app,
    mailgun,
    notification,
    opening,
    provider,
    sns,
    sns_certificates,
    sources,
    dashboard_limits,
    activity,
    opt_outs,
    trails,
    links,
    page_links,
    colours,
    forms,
    languages,
    looks,
    rendering,
    notices,
    order,
    pace,
    resolving,
    signing,
    tail,
    targets,
    transport,
)
"""Where the bounds stand that are not a message's."""

ROWS = dict(
    re.findall(
        r"^\| `([A-Z0-9_]+)` \| ([0-9,.]+) \|",
        (DOCS / "limits.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
)


def test_the_page_names_every_bound_of_requests_and_answers() -> None:
    bounds = {name for name in vars(limits) if name.isupper()}

    assert bounds
    assert bounds - set(ROWS) == set()


@pytest.mark.parametrize("name", sorted(ROWS))
def test_each_bound_has_the_value_that_the_page_says(name: str) -> None:
    values = {_value(module, name) for module in (limits, *OTHERS) if hasattr(module, name)}

    assert values == {float(ROWS[name].replace(",", ""))}


def _value(module: ModuleType, name: str) -> float:
    return float(getattr(module, name))

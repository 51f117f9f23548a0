"""The dashboard, asked as a browser asks: signing in, what each right shows, and every export."""

import csv
import io
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from heed_server.web.dashboard.view import View
from heed_server.web.dashboard.views import VIEWS
from tests.support import requests as asks
from tests.support.api_keys import Keys
from tests.support.dashboard import Person, app_of
from tests.support.servers import Running, running_server


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
async def server(tmp_path: Path, keys: Keys) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "server", authenticator=keys) as running:
        yield running


async def signed_in(server: Running, keys: Keys, *rights: str) -> Person:
    person = Person(app_of(server, keys))
    answer = await person.sign_in(await keys.of(*rights))
    assert answer.code == 303, answer.body.decode()
    return person


async def test_whoever_signs_in_is_led_to_the_first_view_of_theirs(
    server: Running, keys: Keys
) -> None:
    person = await signed_in(server, keys, "operate")

    first = await person.get("/")

    assert first.code == 303
    page = await person.get(first.headers["location"])
    assert page.code == 200
    assert b"Sign out" in page.body


async def test_without_a_session_a_page_leads_to_the_form_and_all_else_is_refused(
    server: Running, keys: Keys
) -> None:
    person = Person(app_of(server, keys))

    for view in VIEWS:
        page = await person.get(f"/{view.name}")
        assert (page.code, page.headers["location"], page.body) == (303, "/sign-in", b"")
        for suffix in ("part", "csv", "json", "pdf"):
            assert (await person.get(f"/{view.name}.{suffix}")).code == 401


async def test_propagation_says_of_each_subscriber_how_far_it_is(
    server: Running, keys: Keys
) -> None:
    writer = await keys.of("write")
    written = await server.call("SetPreference", asks.set_preference(), key=writer)
    person = await signed_in(server, keys, "operate")

    told = json.loads((await person.get("/propagation.json")).body)

    (node,) = told["tables"]["subscribers"]["rows"]
    assert told["revision"] == written.position.revision
    assert (node["subscriber"], node["status"]) == ("node/test", "applied all")
    assert (node["applied_revision"], node["behind_revisions"]) == (written.position.revision, 0)


@pytest.mark.parametrize("view", [one for one in VIEWS if one.form is None], ids=lambda it: it.name)
async def test_every_export_of_a_view_has_the_rows_of_its_page(
    server: Running, keys: Keys, view: View
) -> None:
    name = view.name
    person = await signed_in(server, keys, "operate", "audit", "admin")

    page = await person.get(f"/{name}")
    told = json.loads((await person.get(f"/{name}.json")).body)
    pdf = await person.get(f"/{name}.pdf")

    assert page.code == 200
    for table, said in told["tables"].items():
        answer = await person.get(f"/{name}.csv?table={table}")
        assert answer.headers["content-type"].startswith("text/csv")
        assert "attachment" in answer.headers["content-disposition"]
        rows = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
        passing = {one["name"] for one in said["columns"] if one["kind"] == "seconds"}
        assert [row.keys() for row in rows] == [row.keys() for row in said["rows"]]
        assert [as_told(row, passing) for row in rows] == [
            as_told(row, passing) for row in said["rows"]
        ]
    text = "\n".join(one.extract_text() for one in PdfReader(io.BytesIO(pdf.body)).pages)
    assert f"heed · {told['title']} · default" in text
    assert "page 1 of " in text
    for said in told["tables"].values():
        assert said["title"] in text


def as_told(row: Mapping[str, Any], passing: set[str]) -> dict[str, str]:
    """A row as CSV has it, but for the times that pass from one export to the next."""
    return {name: as_cell(value) for name, value in row.items() if name not in passing}


def as_cell(value: Any) -> str:
    if value is None:
        return ""
    return "; ".join(value) if isinstance(value, list) else str(value)

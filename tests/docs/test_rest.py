"""docs/rest.md and the docs that REST serves: their commands run, and they say what the code says."""

import http.client
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from heed_server.web.rest import docs, openapi, reasons
from heed_server.web.rest.operations import OPERATIONS
from tests.docs.pages import DOCS
from tests.support.rest_served import RestServed

PAGE = (DOCS / "rest.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8081"
ADVICE = re.compile(r"^\| ([A-Z_]+) \| [^|]*\| [^|]*\| [^|]*\| (.*) \|$", re.MULTILINE)
RIGHTS = ("check", "write", "watch")

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="the commands are of curl")


@needs_curl
def test_the_commands_of_the_page_run(tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(curl .*?)```", PAGE, re.DOTALL)
    with RestServed(tmp_path, *RIGHTS) as served:
        check, opt_out, follow = (_run(block, served) for block in blocks)
        after, *_ = (_run(block, served) for block in blocks)

    assert json.loads(check)["verdict"] == "allowed"
    assert json.loads(opt_out)["scopes"] == [{"channel": "email", "topic": "marketing"}]
    assert "event: opened" in follow
    assert "event: reset_end" in follow
    assert json.loads(after)["verdict"] == "suppressed"


def _run(block: str, served: RestServed) -> str:
    command = shlex.split(block.replace(ADDRESS, served.url).replace("\\\n", " "))
    said = ("--header", f"Authorization: Bearer {served.key}")
    done = subprocess.run(
        [*command, *said], capture_output=True, text=True, timeout=30, check=False
    )
    return done.stdout


def test_the_page_names_every_request() -> None:
    for path in openapi.document()["paths"]:
        assert f"{path}`" in PAGE, path


def test_what_to_do_about_a_reason_is_what_the_page_of_errors_says() -> None:
    told = dict(ADVICE.findall((DOCS / "errors.md").read_text(encoding="utf-8")))

    assert {one.value: advice for one, advice in reasons.ADVICE.items()}.items() <= told.items()


def test_the_served_page_has_a_place_for_all_that_it_leads_to_and_loads_nothing() -> None:
    page = docs.page().decode()
    places = set(re.findall(r'id="([^"]+)"', page))
    leads = re.findall(r'href="#([^"]+)"', page)

    assert set(leads) <= places
    assert {reason.value for reason in reasons.ADVICE} <= places
    assert {one.name for one in OPERATIONS} <= places
    assert not re.search(r"<script|<link|<img|src=|url\(|https?://(?!HOST)", page)


def test_every_schema_of_the_openapi_is_used_and_described() -> None:
    document = openapi.document()
    schemas = document["components"]["schemas"]
    used = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))

    assert used == set(schemas)
    assert all(schema.get("description") for schema in schemas.values())


def test_every_example_of_the_openapi_is_taken(tmp_path: Path) -> None:
    document = openapi.document()
    schemas = document["components"]["schemas"]
    with RestServed(tmp_path, *RIGHTS, "consent") as served:
        for path, item in document["paths"].items():
            for method, said in item.items():
                if method == "get" or path.endswith("/applied"):
                    continue
                body = said["requestBody"]["content"]["application/json"]["schema"]
                code = _status_of(served, path, docs.example_of(body, schemas))

                assert code in {200, 201}, path


def _status_of(served: RestServed, path: str, body: object) -> int:
    connection = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=20)
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": path,
        **served.headers,
    }
    connection.request("POST", path, json.dumps(body), headers)
    try:
        return connection.getresponse().status
    finally:
        connection.close()

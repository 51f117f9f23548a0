"""docs/errors.md, docs/clients.md and docs/cli.md say what the code does."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from google.rpc import code_pb2

import heed
from heed.cli import exits
from heed.cli.main import app
from heed.connection import methods, options
from heed.testing import FakeSyncClient
from heed.wire.status import code_of
from heed_proto.v1 import error_reason_pb2
from tests.docs.pages import DOCS, code_blocks

ERRORS = (DOCS / "errors.md").read_text(encoding="utf-8")
CLIENTS = (DOCS / "clients.md").read_text(encoding="utf-8")
CLI = (DOCS / "cli.md").read_text(encoding="utf-8")
OF_THE_LIBRARY = "SERVER_UNREACHABLE"
OF_THE_CACHE = {"cache", "wait_live"}
"""What a client with a cache has, and no server is called for."""


def rows(page: str, heading: str) -> list[list[str]]:
    """The rows of the table that begins with this heading."""
    table = page[page.index(f"| {heading} |") :].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


ERROR_ROWS = {row[0]: row[1:] for row in rows(ERRORS, "reason")}


def reasons_of_contract() -> set[str]:
    names = error_reason_pb2.ErrorReason.keys()
    return {name.removeprefix("ERROR_REASON_") for name in names} - {"UNSPECIFIED"}


def test_every_reason_of_the_contract_and_of_the_library_is_on_the_page_once() -> None:
    assert len(ERROR_ROWS) == len(rows(ERRORS, "reason"))
    assert set(ERROR_ROWS) == reasons_of_contract() | {OF_THE_LIBRARY}
    assert set(ERROR_ROWS) == {reason.value for reason in heed.ErrorReason}


@pytest.mark.parametrize("name", sorted(ERROR_ROWS))
def test_a_reason_has_the_class_and_the_status_of_the_page(name: str) -> None:
    status, class_name, _, advice = ERROR_ROWS[name]
    class_ = getattr(heed, class_name)
    error: heed.HeedError = class_("m", reason=heed.ErrorReason(name))

    assert issubclass(class_, heed.HeedError)
    assert advice
    if name != OF_THE_LIBRARY:
        assert status == code_pb2.Code.Name(code_of(error))
    else:
        assert status == ""


def test_the_status_and_metadata_of_the_page_are_those_of_the_contract() -> None:
    """Its comments state the status, and an example with the metadata."""
    text = (DOCS.parent / "protos/heed/v1/error_reason.proto").read_text(encoding="utf-8")
    comments = re.findall(r"((?:^  //.*\n)+)  ERROR_REASON_(\w+) = \d+;", text, re.MULTILINE)
    found = {name: comment for comment, name in comments if name != "UNSPECIFIED"}

    assert set(found) == reasons_of_contract()
    for name, comment in found.items():
        status, _, metadata, _ = ERROR_ROWS[name]
        example = json.loads(
            re.sub(r"^  //", "", comment[comment.index("{") :], flags=re.MULTILINE)
        )
        assert comment.strip("/ ").startswith(f"{status}."), name
        assert example["reason"] == name
        assert set(example["metadata"]) <= {one.strip() for one in metadata.split(",")}, name


def test_every_method_is_on_the_page_with_its_deadline_and_its_retries() -> None:
    said: dict[str, tuple[str, str]] = {}
    for names, deadline, again in rows(CLIENTS, "method"):
        for name in names.replace("`", "").split(", "):
            said[name] = (deadline, again)

    specs = {
        "check": methods.CHECK,
        "check_many": methods.CHECK_MANY,
        "check_stream": methods.CHECK_STREAM,
        "opt_out": methods.SET_PREFERENCE,
        "opt_in": methods.SET_PREFERENCE,
        "pause": methods.SET_PREFERENCE,
        "end_pause": methods.SET_PREFERENCE,
        "quiet_hours": methods.SET_PREFERENCE,
        "end_quiet_hours": methods.SET_PREFERENCE,
        "make_link": methods.MAKE_LINKS,
        "make_page_link": methods.MAKE_PAGE_LINKS,
    }
    named = {name.lower(): value for name, value in vars(methods).items() if name.isupper()}
    for name, (deadline, again) in said.items():
        spec = specs.get(name) or named[name]
        assert deadline == f"{spec.timeout_seconds:g} s", name
        assert (again == "yes") == spec.is_retried, name
    public = {name for name in vars(heed.SyncClient.__mro__[0]) if not name.startswith("_")}
    inherited = {
        name
        for class_ in heed.SyncClient.__mro__[1:-1]
        for name in vars(class_)
        if not name.startswith("_")
    }
    assert set(said) == inherited - OF_THE_CACHE
    assert all(f"`{name}`" in CLIENTS for name in OF_THE_CACHE)
    assert public == {"close", "wait_ready"}


def test_the_settings_of_a_connection_are_those_of_the_page() -> None:
    assert f"every {options.KEEPALIVE_MILLISECONDS // 1000} s" in CLIENTS
    assert f"{options.KEEPALIVE_TIMEOUT_MILLISECONDS // 1000} s to answer" in CLIENTS
    assert f"after {options.RECONNECT_FIRST_MILLISECONDS} ms" in CLIENTS
    assert f"up to {options.RECONNECT_MAX_MILLISECONDS // 1000} s" in CLIENTS
    assert f"| {options.RECEIVED_BYTES_MAX // 2**20} MiB |" in CLIENTS
    assert f"at most {options.ATTEMPTS_MAX} attempts" in CLIENTS
    assert f"after {options.READ_BACKOFF_SECONDS[0] * 1000:g} ms (reads)" in CLIENTS
    assert f"or {options.WRITE_BACKOFF_SECONDS[0] * 1000:g} ms (writes)" in CLIENTS
    assert f"has {options.CONNECT_SECONDS_MAX:g} s of its own" in CLIENTS


@pytest.mark.parametrize("block", code_blocks(DOCS / "clients.md", "python"))
def test_the_code_on_the_page_compiles_and_its_tests_pass(block: str) -> None:
    scope: dict[str, Any] = {}
    exec(compile(block, "docs/clients.md", "exec"), scope)  # noqa: S102 - our own page

    tests = [name for name in scope if name.startswith("test_")]
    for name in tests:
        scope[name]()
    assert tests or any(
        isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) for one in ast.parse(block).body
    )


async def test_the_check_on_the_page_sends_nothing_without_a_server() -> None:
    scope: dict[str, Any] = {}
    block = code_blocks(DOCS / "clients.md", "python")[0].replace("127.0.0.1:50051", "127.0.0.1:1")
    exec(compile(block, "docs/clients.md", "exec"), scope)  # noqa: S102 - our own page

    assert await scope["may_send"]("ada@example.com") is False


def test_the_opt_out_on_the_page_is_recorded_once_a_key() -> None:
    scope: dict[str, Any] = {}
    exec(code_blocks(DOCS / "clients.md", "python")[2], scope)  # noqa: S102 - our own page
    client = FakeSyncClient()
    client.clock.freeze()

    scope["on_unsubscribe"](client, "ada@example.com", "k")

    (record,) = client.get_preferences(email="ada@example.com").records
    assert record.origin is not None
    assert record.origin.method is heed.Method.ONE_CLICK


def commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def test_every_command_is_on_the_page_and_none_besides() -> None:
    said = [row[0].strip("`") for row in rows(CLI, "command")]

    assert sorted(said) == sorted(name for name, _ in commands(typer.main.get_command(app), "heed"))


def test_every_command_has_the_options_of_the_page_and_answers_in_json() -> None:
    said = {row[0].strip("`"): row[1].strip("`") for row in rows(CLI, "option")}

    for name, command in commands(typer.main.get_command(app), "heed"):
        options_ = {one.opts[0]: one.envvar for one in command.params}
        assert "--json" in options_, name
        if name in {"heed version", "heed audit verify"}:  # they ask no server
            continue
        for option, variable in said.items():
            assert option in options_, name
            if option != "--api-key-file":
                assert (options_[option] or "") == variable, option


def test_every_exit_code_is_on_the_page() -> None:
    codes = {
        value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)
    }

    assert {int(row[0]) for row in rows(CLI, "code")} == codes

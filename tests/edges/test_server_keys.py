"""API keys from end to end: made by the command, used over TLS, revoked while the server runs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from heed import OptOut, Origin, RightRequiredError, SyncClient, UnauthenticatedError
from heed.errors import ErrorReason, HeedError, NotFoundError
from heed_server.auth.keys import parse_key
from heed_server.cli.main import app
from tests.support.served import Authority, Served, run_command

ORIGIN = Origin(source="tests")
SOMEBODY = "ada@example.com"

pytestmark = pytest.mark.slow  # each starts processes


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("keys")
    with Served(folder, "--auth-required=true", *authority.flags()) as server:
        yield server


def _keys(server: Served, *arguments: str) -> str:
    done = run_command("keys", *arguments, cwd=server.folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _new_key(server: Served, *arguments: str) -> dict[str, str]:
    return json.loads(_keys(server, "create", "tests", "--json", *arguments))  # type: ignore[no-any-return]  # JSON


def _client(server: Served, authority: Authority, api_key: str | None) -> SyncClient:
    return server.client(api_key=api_key, tls=authority.tls)


def test_a_key_lets_in_what_its_rights_allow_and_no_more(
    server: Served, authority: Authority
) -> None:
    key = _new_key(server, "--right", "check")["key"]

    with _client(server, authority, key) as client:
        assert client.check(email=SOMEBODY, channel="email").allowed
        with pytest.raises(RightRequiredError) as refused:
            client.set_preference(email=SOMEBODY, choices=[OptOut()], origin=ORIGIN)

    assert refused.value.metadata == {"right": "write"}


def test_without_a_key_or_with_a_bad_one_nothing_is_answered(
    server: Served, authority: Authority
) -> None:
    key = _new_key(server, "--right", "check")["key"]

    for bad in (None, key[:-1] + ("A" if key[-1] != "A" else "B"), "nonsense"):
        with (
            _client(server, authority, bad) as client,
            pytest.raises(UnauthenticatedError) as refused,
        ):
            client.check(email=SOMEBODY, channel="email")
        assert refused.value.reason is ErrorReason.CREDENTIAL_INVALID


def test_a_revoked_key_is_refused_as_soon_as_the_command_returns(
    server: Served, authority: Authority
) -> None:
    made = _new_key(server, "--right", "check")
    with _client(server, authority, made["key"]) as client:
        client.check(email=SOMEBODY, channel="email")

        _keys(server, "revoke", made["key_id"])

        with pytest.raises(UnauthenticatedError):
            client.check(email=SOMEBODY, channel="email")


def test_a_key_of_one_tenant_sees_no_other(server: Served, authority: Authority) -> None:
    operator = _new_key(server, "--right", "admin", "--all-tenants")["key"]
    with _client(server, authority, operator) as client:
        client.create_tenant("shop")
    bound = _new_key(server, "--right", "check", "--right", "admin", "--tenant", "shop")["key"]

    with _client(server, authority, bound) as client:
        assert client.check(email=SOMEBODY, channel="email").allowed
        assert [tenant.name for tenant in client.list_tenants()] == ["shop"]
        answers = [_refusal_of_a_check(client, name) for name in ("default", "nosuch")]
        with pytest.raises(RightRequiredError):
            client.create_tenant("another")

    assert [answer.reason for answer in answers] == [ErrorReason.TENANT_UNKNOWN] * 2
    assert answers[0].message.replace("default", "nosuch") == answers[1].message


def _refusal_of_a_check(client: SyncClient, tenant: str) -> HeedError:
    with pytest.raises(NotFoundError) as refused:
        client.check(email=SOMEBODY, channel="email", tenant=tenant)
    return refused.value


def test_the_list_shows_states_and_no_secret(server: Served) -> None:
    made = _new_key(server, "--right", "check", "--right", "write", "--expires-in", "90d")
    _keys(server, "revoke", made["key_id"])

    listed = _keys(server, "list", "--json")

    rows = {row["key_id"]: row for row in map(json.loads, listed.splitlines())}
    row = rows[made["key_id"]]
    assert (row["state"], row["rights"], row["tenant"]) == (
        "revoked",
        ["check", "write"],
        "default",
    )
    assert row["expire_time"] is not None
    assert made["key"].split("_")[2] not in listed
    assert made["key_id"] in _keys(server, "list")


def test_revoking_what_is_not_there_is_refused(server: Served) -> None:
    done = run_command("keys", "revoke", "nosuchkey000", cwd=server.folder)

    assert done.returncode == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "x"),
        ("create", "x", "--right", "everything"),
        ("create", "x", "--right", "check", "--expires-in", "soon"),
        ("create", "", "--right", "check"),
        ("create", "x", "--right", "check", "--tenant", ""),
        ("create", "x", "--right", "check", "--storage-ulr", "x"),
    ],
)
def test_a_malformed_key_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)

    done = CliRunner().invoke(app, ["keys", *arguments])

    assert done.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_key_of_a_tenant_that_is_not_there_is_refused(server: Served, tmp_path: Path) -> None:
    """Whether the server of the database is asked, or the database itself."""
    before = _keys(server, "list")
    for folder in (server.folder, tmp_path):
        done = run_command(
            "keys", "create", "mailer", "--right", "check", "--tenant", "shpo", cwd=folder
        )

        assert (done.returncode, done.stdout) == (4, "")
        assert "no tenant 'shpo'" in done.stderr
    assert _keys(server, "list") == before


def test_the_first_key_closes_a_server_that_was_open_and_says_so(tmp_path: Path) -> None:
    with Served(tmp_path) as server:
        with server.client() as client:
            assert client.check(email=SOMEBODY, channel="email").allowed

            first = run_command("keys", "create", "mailer", "--right", "check", cwd=tmp_path)
            second = run_command("keys", "create", "other", "--right", "check", cwd=tmp_path)

            with pytest.raises(UnauthenticatedError):
                client.check(email=SOMEBODY, channel="email")
        server.wait_for("keys_required")
        with server.client(api_key=first.stdout.strip()) as client:
            assert client.check(email=SOMEBODY, channel="email").allowed

    assert "it is the first key: from now on" in first.stderr
    assert "first key" not in second.stderr


def test_keys_are_made_before_the_first_start_and_from_then_on_required(tmp_path: Path) -> None:
    done = run_command("keys", "create", "mailer", "--right", "check", cwd=tmp_path)
    key = done.stdout.strip()
    assert parse_key(key) is not None  # and nothing else on stdout

    with Served(tmp_path) as server:
        assert server.serving["keys_required"] is True
        with server.client(api_key=key) as client:
            assert client.check(email=SOMEBODY, channel="email").allowed
        with server.client() as client, pytest.raises(UnauthenticatedError):
            client.check(email=SOMEBODY, channel="email")


def test_no_key_and_no_secret_gets_into_the_log(server: Served, authority: Authority) -> None:
    made = _new_key(server, "--right", "check")
    with _client(server, authority, made["key"]) as client:
        client.check(email=SOMEBODY, channel="email")
    _keys(server, "revoke", made["key_id"])

    server.wait_for("key_revoked")

    assert made["key_id"] in server.log
    assert made["key"].split("_")[2] not in server.log

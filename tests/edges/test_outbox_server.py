"""The outbox of a real server: what it publishes, how it is set, and that writes never wait for it."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heed import Client, OptOut, Origin, Suppression, email, phone
from tests.support.cutting_proxy import CuttingProxy
from tests.support.nats_server import NatsServer
from tests.support.outbox_reader import (
    Mirror,
    assert_knows_all,
    connected,
    last_sequence,
    read_to,
    until,
)
from tests.support.served import Served, run_command

ORIGIN = Origin(source="tests", actor="canary-actor@example.com")
CANARIES = ("canary-1@example.com", "+15550001234", "canary-user")

pytestmark = pytest.mark.slow  # each starts processes


@pytest.fixture
def nats() -> Iterator[NatsServer]:
    with NatsServer() as server:
        yield server


def settings(nats_url: str) -> dict[str, str]:
    return {
        "HEED_OUTBOX_NATS_URL": nats_url,
        "HEED_OUTBOX_RETRY_SECONDS_MAX": "0.2",
        "HEED_OUTBOX_ACK_SECONDS_MAX": "1",
    }


async def write_some(client: Client, first: int, count: int) -> int:
    """Write so many changes; return the last revision."""
    revision = 0
    for number in range(first, first + count):
        answer = await client.set_preference(
            user=f"u-{number % 20}", choices=[OptOut(topic=f"t{number % 3}")], origin=ORIGIN
        )
        revision = answer.revision
    return revision


def metric(server: Served, name: str) -> float:
    """The value of a metric, its labels left out; NaN where it has none."""
    port = server.serving["metrics_port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.partition("{")[0].split(" ")[0] == name:
                return float(line.rpartition(" ")[2])
    return float("nan")


async def test_every_change_is_published_and_a_restart_adds_nothing(
    nats: NatsServer, tmp_path: Path
) -> None:
    mirror = Mirror()
    with Served(tmp_path, variables=settings(nats.url)) as server:
        async with Client(server.address, timeout=10) as client:
            revision = await write_some(client, 0, 50)
            await read_to(mirror, nats.url, revision)
        await assert_knows_all(mirror, server)
        assert server.stop() == 0
    with Served(tmp_path, variables=settings(nats.url)) as server:
        async with Client(server.address, timeout=10) as client:
            revision = await write_some(client, 7, 20)
            await read_to(mirror, nats.url, revision)
        await assert_knows_all(mirror, server)
        published = metric(server, "heed_outbox_published_total")
        lag = metric(server, "heed_outbox_lag_revisions")

    assert (revision, published, lag) == (70, 20, 0)
    assert mirror.begins == 1
    assert await last_sequence(nats.url) == 71


async def test_no_address_is_in_any_byte_of_the_stream(nats: NatsServer, tmp_path: Path) -> None:
    """Nor in what NATS keeps on its disk, nor in the server's log."""
    mail, number, user_id = CANARIES
    mirror = Mirror()
    with Served(tmp_path, variables=settings(nats.url)) as server:
        async with Client(server.address, timeout=10) as client:
            await client.set_preference(
                email=mail, phone=number, user=user_id, choices=[OptOut()], origin=ORIGIN
            )
            await client.add_suppressions(
                [
                    Suppression(subject=email(mail), cause="bounce", reason=f"550 <{mail}>"),
                    Suppression(subject=phone(number), cause="complaint", reason=number),
                ],
                origin=ORIGIN,
            )
            await client.place_hold(topic="news", reason=f"ask {mail}", origin=ORIGIN)
            revision = await write_some(client, 0, 1)
            await read_to(mirror, nats.url, revision)
        await assert_knows_all(mirror, server)

    assert revision > 6
    assert mirror.running_hash.encode() in nats.stored, "it is not readable, so nothing is shown"
    for canary in (*CANARIES, "canary-actor", "canary", "15550001234"):
        assert canary.encode() not in nats.stored
        assert canary not in server.log


async def test_a_message_is_a_cloud_event(nats: NatsServer, tmp_path: Path) -> None:
    with Served(tmp_path, variables=settings(nats.url)) as server:
        async with Client(server.address, timeout=10) as client:
            answer = await client.set_preference(
                email="ada@example.com",
                choices=[OptOut(channel="email", topic="news")],
                origin=ORIGIN,
            )
            await read_to(Mirror(), nats.url, answer.revision)
    async with connected(nats.url) as (_, context):
        message = await context.get_msg("HEED_default", 2)
    headers = dict(message.headers or {})

    assert message.subject == "heed.default.record.email"
    assert headers["ce-id"] == f"{headers['ce-epoch']}.1.1" == headers["Nats-Msg-Id"]
    assert headers["ce-time"].endswith("Z")
    assert len(headers["ce-subject"]) == 32
    assert {name: headers[name] for name in headers if name in _FIXED} == _FIXED


_FIXED = {
    "ce-specversion": "1.0",
    "ce-source": "/heed/default",
    "ce-type": "dev.heed.v1.Change",
    "ce-datacontenttype": "application/protobuf",
    "ce-dataschema": "proto:heed.v1.Change",
    "ce-revision": "1",
    "ce-began": "1",
    "ce-ruleversion": "1",
    "ce-normaliserversion": "1",
    "Nats-Expected-Last-Sequence": "1",
}


async def test_each_tenant_has_a_stream_of_its_own(nats: NatsServer, tmp_path: Path) -> None:
    shop, default = Mirror(), Mirror()
    with Served(tmp_path, variables=settings(nats.url)) as server:
        async with Client(server.address, timeout=10) as client:
            await client.create_tenant("shop")
        for tenant, mirror in (("shop", shop), ("default", default)):
            async with Client(server.address, tenant=tenant, timeout=10) as client:
                revision = await write_some(client, len(tenant), 10)
                await read_to(mirror, nats.url, revision, f"HEED_{tenant}")
            await assert_knows_all(mirror, server, tenant)

    assert shop.standing() != default.standing()
    assert all(subject.startswith("heed.shop.") for subject in shop.subjects)


async def test_while_nats_is_away_writes_go_on_and_all_is_published_afterwards(
    nats: NatsServer, tmp_path: Path
) -> None:
    mirror = Mirror()
    with Served(tmp_path, variables=settings(nats.url)) as server:
        async with Client(server.address, timeout=10) as client:
            await read_to(mirror, nats.url, await write_some(client, 0, 10))
            nats.kill()
            revision = await write_some(client, 10, 30)
            await until(lambda: metric(server, "heed_outbox_lag_revisions") == 30)
            assert metric(server, "heed_outbox_connected") == 0
            await asyncio.to_thread(nats.start)
            await read_to(mirror, nats.url, revision)
        await assert_knows_all(mirror, server)
        await until(lambda: metric(server, "heed_outbox_lag_revisions") == 0)
        events = [json.loads(line)["event"] for line in server.lines if line.startswith("{")]

    assert events.count("outbox_away") == 1
    assert events.count("outbox_connected_again") == 1


async def test_a_server_starts_and_writes_where_nats_never_was(tmp_path: Path) -> None:
    with Served(tmp_path, variables=settings("nats://127.0.0.1:1")) as server:
        server.wait_for("outbox_away")
        async with Client(server.address, timeout=10) as client:
            assert await write_some(client, 0, 10) == 10
        lag = metric(server, "heed_outbox_lag_revisions")
        assert server.stop() == 0

    assert lag != lag, "no stream was seen, so nothing is said of one"  # noqa: PLR0124 - NaN


async def test_a_nats_that_hangs_holds_up_no_write(nats: NatsServer, tmp_path: Path) -> None:
    """Through a proxy that swallows everything, with a wait for NATS that outlasts the test."""
    mirror = Mirror()
    async with CuttingProxy(nats.url) as proxy:
        variables = {**settings(proxy.url), "HEED_OUTBOX_ACK_SECONDS_MAX": "60"}
        with Served(tmp_path, variables=variables) as server:
            async with Client(server.address, timeout=10) as client:
                quick = await _seconds_of(write_some(client, 0, 40))
                await read_to(mirror, nats.url, 40)
                proxy.hush()
                slow = await _seconds_of(write_some(client, 40, 40))
                published = await last_sequence(nats.url)
                proxy.down()
                await proxy.up()
                await read_to(mirror, nats.url, 80)
            await assert_knows_all(mirror, server)

    assert published == 41
    assert slow < 5 * quick + 1, "a write waited for NATS"


async def _seconds_of(work: Any) -> float:
    began = time.monotonic()
    await work
    return time.monotonic() - began


def test_what_is_no_url_of_nats_is_refused_and_not_shown(tmp_path: Path) -> None:
    done = run_command("serve", cwd=tmp_path, variables=settings("http://user:hunter2@nats"))

    assert done.returncode == 2
    assert "nats_url is no URL of NATS" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


def test_doctor_says_whether_nats_is_there(nats: NatsServer, tmp_path: Path) -> None:
    here = run_command("doctor", cwd=tmp_path, variables=settings(nats.url))
    away = run_command("doctor", cwd=tmp_path, variables=settings("nats://ada:hunter2@127.0.0.1:1"))

    assert f"ok  outbox: NATS answers at {nats.url}" in here.stdout
    assert away.returncode == 1
    assert "BAD outbox: nats://ada:***@127.0.0.1:1: NATS cannot be had" in away.stdout


def test_a_server_without_the_library_says_how_to_install_it(tmp_path: Path) -> None:
    """A folder that hides the library stands for an installation without it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "known = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'nats' else known(name, *more)\n"
    )
    variables = {**settings("nats://127.0.0.1:4222"), "PYTHONPATH": str(tmp_path)}

    done = run_command("serve", "--listen", "127.0.0.1:0", cwd=tmp_path, variables=variables)

    assert done.returncode == 2
    assert "pip install 'heed-server[nats]'" in done.stderr


def test_the_settings_show_no_password_and_no_token(tmp_path: Path) -> None:
    url = "nats://ada:hunter2@a:4222,tls://hunter3@b:4222"

    done = run_command("serve", "--print-config", cwd=tmp_path, variables=settings(url))

    assert 'nats_url = "nats://ada:***@a:4222,tls://***@b:4222"' in done.stdout
    assert "hunter" not in done.stdout + done.stderr

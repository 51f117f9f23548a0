"""Webhooks over HTTP: a receiver that verifies what comes, and an operator who looks after it."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

import heed
from heed.cli.main import app
from heed.errors import NotFoundError
from heed.model import Instant, TenantId
from heed.webhooks import WebhookTarget
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import watch_service_pb2 as watch
from heed_server.deadlines import DeadlineWatch, DeadlineWatchLimits
from heed_server.webhooks import DeadlineNotices, Means, TargetsFile, WebhookLimits, Webhooks
from heed_server.webhooks.resolving import Guard
from heed_server.webhooks.targets import Target
from heed_server.webhooks.transport import Transport
from tests.support import requests as ask
from tests.support.outbox_reader import until
from tests.support.receiver import SECRET, Receiver, new_secret, target_file
from tests.support.servers import Running, running_server

HOUR = 3_600_000_000
SHOP = TenantId(1)
LOOPBACK = (ip_network("127.0.0.0/8"),)
LIMITS = WebhookLimits(retry_seconds_min=0.02, retry_seconds_max=0.05, lease_seconds=1)


@dataclass
class Sending:
    """A server that sends webhooks, and who receives them."""

    server: Running
    receiver: Receiver
    targets: TargetsFile
    webhooks: Webhooks
    folder: Path

    async def opts_out(self, *names: str) -> int:
        for name in names:
            key = f"k-{name}-{len(self.receiver.came)}-{os.urandom(4).hex()}"
            await self.server.call(
                "SetPreference", ask.set_preference(key=key, email=f"{name}@example.com")
            )
        return await self.server.head()


@asynccontextmanager
async def sending(
    folder: Path, *, limits: WebhookLimits = LIMITS, **target: Any
) -> AsyncGenerator[Sending]:
    folder.mkdir(exist_ok=True)
    async with Receiver() as receiver, running_server(folder / "server") as server:
        file = target_file(folder, receiver.url, **target)
        targets = TargetsFile(file, private_networks=LOOPBACK)
        webhooks = webhooks_of(server, targets, limits)
        task = asyncio.create_task(webhooks.run())
        try:
            yield Sending(server, receiver, targets, webhooks, folder)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def webhooks_of(
    server: Running, targets: TargetsFile, limits: WebhookLimits, holder: str = "test"
) -> Webhooks:
    def open_sender(target: Target) -> Transport:
        return Transport(
            target,
            guard=Guard(targets.private_networks),
            request_seconds_max=5,
            connections_max=8,
        )

    means = Means(
        log=server.store,
        store=server.store.webhooks,
        open_sender=open_sender,
        now=server.service.now,
        chance=lambda: 1.0,
        limits=limits,
    )
    return Webhooks(
        server.store,
        means,
        targets,
        holder=holder,
        followers=lambda: [context.follower for context in server.tenants.all()],
        boot_seconds=asyncio.get_running_loop().time,
    )


async def test_each_change_is_told_signed_and_in_order(tmp_path: Path) -> None:
    async with sending(tmp_path) as one:
        head = await one.opts_out("ada", "bob", "ada")
        await one.server.call("PlaceHold", ask.place_hold())
        await one.receiver.until_taken(head + 1)

    told = sorted(one.receiver.taken, key=lambda came: came.revision)
    assert [came.revision for came in told] == [1, 2, 3, 4]
    assert told[0].subject == told[2].subject != told[1].subject
    assert told[3].type == "hold.placed"
    assert all("example.com" not in came.body.decode() for came in told)
    first, third = (one.receiver.taken.index(came) for came in (told[0], told[2]))
    assert first < third


async def test_an_operator_sees_what_was_given_up_and_has_it_sent_anew(tmp_path: Path) -> None:
    async with sending(tmp_path) as one, heed.Client(one.server.address, insecure=True) as client:
        one.receiver.answer = lambda came: 410 if came.revision == 1 else 204
        await one.opts_out("ada", "bob")
        await one.receiver.until_taken(1)
        await dead_letters(one.server, 1)
        target = await _delivered(client)
        (letter,) = [letter async for letter in client.list_dead_letters("crm")]
        one.receiver.answer = lambda _: 204

        assert await client.replay_dead_letters("crm", [letter.letter_id, "other"]) == 1
        await one.receiver.until_taken(2)
        assert await client.replay_dead_letters("crm", None) == 0
        assert await client.discard_dead_letters("crm", None) == 0

    assert (target.name, target.dead_letters, target.late_lanes) == ("crm", 1, 0)
    assert (letter.revision, letter.event, letter.failure) == (1, "preference.changed", "HTTP 410")
    assert one.receiver.came[0].event_id == letter.letter_id
    assert one.receiver.taken[-1].event_id == f"{letter.letter_id}-r1"


async def _delivered(client: heed.Client) -> WebhookTarget:
    """Wait until it is noted when the one target took something; nothing tells of it."""
    async with asyncio.timeout(30):
        while True:
            (target,) = await client.list_webhook_targets()
            if target.delivered_time is not None:
                return target


async def dead_letters(server: Running, count: int) -> list[admin.DeadLetter]:
    """Wait until so many are kept; nothing tells of it."""
    async with asyncio.timeout(30):
        while True:
            try:
                answer = await server.call(
                    "ListDeadLetters", admin.ListDeadLettersRequest(target="crm")
                )
            except NotFoundError:
                continue
            if len(answer.letters) == count:
                return list(answer.letters)


async def test_pages_of_dead_letters_continue(tmp_path: Path) -> None:
    async with sending(tmp_path) as one:
        one.receiver.answer = lambda _: 410
        await one.opts_out(*(f"p{number}" for number in range(5)))
        letters = await dead_letters(one.server, 5)
        found: list[str] = []
        token = ""
        while True:
            page = await one.server.call(
                "ListDeadLetters",
                admin.ListDeadLettersRequest(target="crm", page_size=2, page_token=token),
            )
            found += [letter.letter_id for letter in page.letters]
            token = page.next_page_token
            if not token:
                break
        discarded = await one.server.call(
            "DiscardDeadLetters",
            admin.DiscardDeadLettersRequest(
                target="crm", letters=admin.DeadLetterIds(letter_ids=found[:2])
            ),
        )

    assert found == [letter.letter_id for letter in letters]
    assert discarded.letters == 2


async def test_the_command_shows_and_replays(tmp_path: Path) -> None:
    async with sending(tmp_path) as one:
        one.receiver.answer = lambda _: 410
        await one.opts_out("ada")
        (letter,) = await dead_letters(one.server, 1)

        assert letter.letter_id in (await command(one.server, "dead", "crm"))[1]
        assert '"dead_letters": 1' in (await command(one.server, "list", "--json"))[1]
        assert "crm" in (await command(one.server, "list"))[1]
        assert (await command(one.server, "dead", "other"))[0] != 0
        assert (await command(one.server, "replay", "crm"))[0] == 2
        one.receiver.answer = lambda _: 204
        replayed = await command(one.server, "replay", "crm", letter.letter_id)
        assert replayed == (0, "1 dead letters are sent anew, each with what followed it\n")
        await one.receiver.until_taken(1)
        assert await command(one.server, "discard", "crm", "--all", "--json") == (
            0,
            '{"letters": 0}\n',
        )


async def command(server: Running, *arguments: str) -> tuple[int, str]:
    """Run `heed webhooks` in a thread of this process."""
    environment = {"HEED_ADDRESS": server.address, "COLUMNS": "200"}
    with capture_logs():  # what the server says would stand among what the command prints
        done = await asyncio.to_thread(
            CliRunner().invoke, app, ["webhooks", *arguments], env=environment
        )
    return done.exit_code, done.stdout


async def test_a_target_that_changes_is_sent_to_as_it_is_now(tmp_path: Path) -> None:
    """Another secret, then another place, then none at all; and back where it was."""
    async with sending(tmp_path) as one, Receiver(secret=SECRET) as other:
        await one.opts_out("ada")
        await one.receiver.until_taken(1)
        fresh = new_secret()
        (tmp_path / "crm.secret").write_text(f"{fresh}\n{SECRET}\n")
        one.targets.refresh()
        one.receiver.secret = fresh
        await until(lambda: one.webhooks.deliverers[0].target.secrets[0].key != bytes(range(32)))
        await one.opts_out("bob")
        await one.receiver.until_taken(2)

        target_file(tmp_path, other.url)
        one.targets.refresh()
        await until(lambda: [each.target.url for each in one.webhooks.deliverers] == [other.url])
        await one.opts_out("cy")
        await other.until_taken(1)

        (tmp_path / "targets.toml").write_text("")
        one.targets.refresh()
        await until(lambda: not one.webhooks.deliverers)
        await one.opts_out("dan")
        target_file(tmp_path, other.url)
        one.targets.refresh()
        await other.until_taken(2)

    assert [came.revision for came in one.receiver.taken] == [1, 2]
    assert [came.revision for came in other.taken] == [3, 4]


async def test_a_target_that_hangs_holds_up_no_other_and_no_write(tmp_path: Path) -> None:
    async with sending(tmp_path) as one, Receiver() as quick:
        released = asyncio.Event()

        async def hang(_: object) -> int:
            await released.wait()
            return 204

        one.receiver.answer = hang
        slow = (tmp_path / "targets.toml").read_text()
        target_file(tmp_path, quick.url, name="pager")
        with (tmp_path / "targets.toml").open("a") as file:
            file.write(slow)
        one.targets.refresh()
        await one.opts_out(*(f"p{number}" for number in range(30)))
        await quick.until_taken(30)

        assert len(one.receiver.came) <= LIMITS.concurrency_max
        assert one.receiver.taken == []
        released.set()
        await one.receiver.until_taken(30)


async def test_of_two_nodes_one_delivers_and_the_other_takes_over(tmp_path: Path) -> None:
    async with sending(tmp_path) as one:
        other = webhooks_of(one.server, one.targets, LIMITS, holder="other")
        task = asyncio.create_task(other.run())
        await one.opts_out("ada")
        await one.receiver.until_taken(1)
        assert (one.webhooks.is_delivering, other.is_delivering) == (True, False)
        await one.server.store.release_lease("webhooks", "test")
        await one.server.store.take_lease("webhooks", "other", 60)
        await until(lambda: other.is_delivering and not one.webhooks.is_delivering)
        await one.opts_out("bob")
        await one.receiver.until_taken(2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert {came.revision for came in one.receiver.taken} == {1, 2}


async def test_a_deadline_that_comes_is_told_once_though_the_watch_dies_after_it_told(
    tmp_path: Path,
) -> None:
    async with sending(tmp_path, events=["deadline.*"]) as one:
        server = one.server
        await server.call("DeclareSubscriber", watch.DeclareSubscriberRequest(subscriber="billing"))
        request = ask.set_preference(key="k1", email="ada@example.com")
        request.origin.jurisdiction = "US"
        await server.call("SetPreference", request)
        await looks(one, 24 * HOUR, dies=True)
        await looks(one, 24 * HOUR)
        await one.receiver.until_taken(1)
        await looks(one, 49 * HOUR)

    (came,) = {came.event_id: came for came in one.receiver.taken}.values()
    assert came.type == "deadline.near"
    assert came.event["data"]["subscriber"] == "billing"
    assert came.event["data"]["policy"] == "mailbox-providers"
    assert came.event["data"]["status"] == "missing"
    assert "ada" not in came.body.decode()


async def test_a_deadline_that_has_passed_is_told_as_such(tmp_path: Path) -> None:
    async with sending(tmp_path, events=["deadline.over"]) as one:
        await one.server.call(
            "DeclareSubscriber", watch.DeclareSubscriberRequest(subscriber="billing")
        )
        request = ask.set_preference(key="k1", email="ada@example.com")
        request.origin.jurisdiction = "FR"
        await one.server.call("SetPreference", request)
        await looks(one, HOUR)
        await one.receiver.until_taken(1)

    assert one.receiver.taken[0].type == "deadline.over"


async def looks(one: Sending, after: int, *, dies: bool = False) -> None:
    """A watch that was just started looks, so long after the last commit; it may die of it."""
    server = one.server
    now = Instant((await server.store.head(SHOP)).commit_time + after)
    kept: Any = Dying(server.store.deadlines) if dies else server.store.deadlines
    looking = DeadlineWatch(
        server.store,
        server.store,
        server.store,
        kept,
        server.service.registry,
        rules=server.service.rules,
        holder="test",
        followers=lambda: [context.follower for context in server.tenants.all()],
        now=lambda: now,
        limits=DeadlineWatchLimits(),
        told=DeadlineNotices(server.store.webhooks, one.targets, now=lambda: now),
    )
    if dies:
        with pytest.raises(DiedError):
            await looking.look()
    else:
        await looking.look()


class DiedError(Exception):
    """As if the process had."""


@dataclass
class Dying:
    """Keeps nothing of what was warned of."""

    store: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def put_marks(self, *_: object) -> None:
        raise DiedError


async def test_too_many_notices_are_left_out_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from heed_server.webhooks import notices

    monkeypatch.setattr(notices, "NOTICES_MAX", 0)
    async with sending(tmp_path, events=["deadline.*"], limits=replace(LIMITS)) as one:
        await one.server.call(
            "DeclareSubscriber", watch.DeclareSubscriberRequest(subscriber="billing")
        )
        await one.opts_out("ada")
        with capture_logs() as logs:
            await looks(one, 30 * 24 * HOUR)

    assert [log["count"] for log in logs if log["event"] == "webhook_notices_left_out"] == [1]

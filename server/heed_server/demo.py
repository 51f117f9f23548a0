"""`make demo`: a throw-away server, vendors' files, people's choices, and what each check says.

It ends with 0 only if every answer is the one that it should be, and leaves nothing behind.
"""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from heed import (
    Channel,
    Client,
    Evidence,
    Method,
    OptIn,
    OptOut,
    Origin,
    Pause,
    Reason,
    TopicClass,
)
from heed.cli.output import reason_of
from heed.connection.aio import AioCalls
from heed.connection.target import target_of
from heed.formats import Options
from heed.importing import ImportPlan, opened_source, prepare, send
from heed.model import Instant
from heed.names import word_of
from heed_server.config import Config, DrainConfig, ListenConfig, StorageConfig, TelemetryConfig
from heed_server.primary.node import open_node
from heed_server.primary.stopping import Stop
from heed_server.telemetry.logs import configure_logs

FILES = Path(__file__).with_name("demo_files")
TOLD = {"sendgrid-bounces.csv": "sendgrid-bounces"}
"""Files whose bytes two formats fit, and which it is: what `heed import --as` says."""
ADA = "ada@example.com"
WEEKLY = "marketing.weekly"
PAGE = "preference-page"

_DAY_SECONDS = 86_400


class DemoError(Exception):
    """An answer was not the one that it should be."""


def main() -> int:
    """Run the demonstration; 0 if every answer was right."""
    configure_logs(log_format="auto", level="warning")
    with tempfile.TemporaryDirectory(prefix="heed-demo-") as folder:
        try:
            asyncio.run(_demonstrate(Path(folder)))
        except DemoError as error:
            print(f"\nThis should not be: {error}", file=sys.stderr)
            return 1
    print("\nEvery answer was the one it should be. The server and its folder are gone.")
    return 0


async def _demonstrate(folder: Path) -> None:
    config = Config(
        listen=ListenConfig(address=("127.0.0.1:0",)),
        storage=StorageConfig(data_dir=folder / "heed-data"),
        drain=DrainConfig(announce_seconds=0),
        telemetry=TelemetryConfig(metrics_address=""),
    )
    async with open_node(config, Stop()) as node:
        address = str(node.addresses[0])
        print(f"A throw-away server on {address}, SQLite in {folder}")
        async with Client(address, timeout=10) as client:
            await _declare_topics(client)
            await _import_files(client, address)
            await _choose(client)
            await _pause(client)
            await _hold(client)
            await _explain(client)


async def _declare_topics(client: Client) -> None:
    _heading("Topics: what messages are about")
    told = _by_operator()
    await client.declare_topic("marketing", topic_class=TopicClass.PROMOTIONAL, origin=told)
    await client.declare_topic("receipts", topic_class=TopicClass.TRANSACTIONAL, origin=told)
    await client.declare_topic(
        "security",
        topic_class=TopicClass.MANDATORY,
        mandatory_channels=[Channel.EMAIL],
        origin=told,
    )
    async for topic in client.list_topics():
        print(f"  {topic.name}: {word_of(topic.topic_class)}")


async def _import_files(client: Client, address: str) -> None:
    _heading("Vendors' files, as they are")
    for path in sorted(FILES.iterdir()):
        await _import(address, path)
    await _check(client, "bounced@example.com", "receipts", allowed=False)
    await _check(client, "annoyed@example.com", WEEKLY, allowed=False)
    await _check(client, "annoyed@example.com", "security", allowed=True)
    await _check(client, "gone@example.com", "security", allowed=False)
    await _check(client, "weekly.no@example.com", WEEKLY, allowed=False)
    await _check(client, "weekly.no@example.com", "marketing.offers", allowed=True)
    await _check(client, "left@example.com", "receipts", allowed=False)
    await _check(client, "enough@example.com", "receipts", allowed=True)
    await _check(client, "asked@example.net", WEEKLY, allowed=False)


async def _import(address: str, path: Path) -> None:
    tomorrow = int(datetime.now(UTC).timestamp()) // _DAY_SECONDS + 1
    day_end = Instant(tomorrow * _DAY_SECONDS * 1_000_000)
    options = Options(
        format_name=TOLD.get(path.name, ""), topics={"weekly": WEEKLY}, day_end=day_end
    )
    calls = AioCalls(target_of(address, tls=None, insecure=False, api_key=None), timeout=10)
    try:
        with opened_source(path, sys.stdin.buffer) as stream:
            summary = await send(
                prepare(stream, ImportPlan(options=options)),
                calls,
                on_rejected=lambda rejected: print(f"  {rejected.where}: {rejected.message}"),
                on_progress=lambda _: None,
            )
    finally:
        await calls.close()
    what = ", ".join(f"{count} {name}" for name, count in summary.rows.items())
    print(f"  {path.name}: {', '.join(summary.formats.values())}; {what}; {summary.added} added")
    if summary.rejected or not summary.added:
        raise DemoError(f"{path.name} was not imported whole")


async def _choose(client: Client) -> None:
    _heading("Ada opts out of marketing")
    await client.set_preference(email=ADA, choices=[OptOut(topic="marketing")], origin=_by_person())
    await _check(client, ADA, WEEKLY, allowed=False)
    await _check(client, ADA, "receipts", allowed=True)
    await _check(client, ADA, "security", allowed=True)

    _heading("Ada opts back in, to the weekly letter alone")
    answer = await client.set_preference(
        email=ADA,
        choices=[OptIn(channel="email", topic=WEEKLY, evidence=_evidence())],
        origin=_by_person(),
    )
    print(f"  at revision {answer.revision}; what stands now: {len(answer.standing)} records")
    await _check(client, ADA, WEEKLY, allowed=True, token=answer.token)
    await _check(client, ADA, "marketing.offers", allowed=False)


async def _pause(client: Client) -> None:
    _heading("Ada goes on holiday, and pauses what promotes for two weeks")
    until = datetime.now(UTC) + timedelta(weeks=2)
    await client.set_preference(email=ADA, choices=[Pause(end_time=until)], origin=_by_person())
    await _check(client, ADA, WEEKLY, allowed=False)
    await _check(client, ADA, "receipts", allowed=True)


async def _hold(client: Client) -> None:
    _heading("An operator stops a campaign, for everyone")
    placed = await client.place_hold(
        campaign="spring-sale", reason="the prices are wrong", origin=_by_operator()
    )
    grace = "grace@example.com"
    await _check(client, grace, "marketing.offers", allowed=False, campaign="spring-sale")
    await _check(client, grace, "marketing.offers", allowed=True, campaign="summer-sale")
    print(f"  and lifts it: {placed.hold.hold_id}")
    await client.lift_hold(
        placed.hold.hold_id, reason="the prices are right now", origin=_by_operator()
    )
    await _check(client, grace, "marketing.offers", allowed=True, campaign="spring-sale")


async def _explain(client: Client) -> None:
    _heading("Why? Every rule that speaks on the offers to Ada")
    answer = await client.explain(email=ADA, channel="email", topic="marketing.offers")
    for reason in answer.reasons:
        print(f"  {word_of(reason.rule) if reason.rule else 'unknown'}: {reason_of(reason)}")
    if answer.allowed:
        raise DemoError("the offers to Ada are allowed")


async def _check(
    client: Client, email: str, topic: str, *, allowed: bool, campaign: str = "", token: str = ""
) -> None:
    """Ask, and print what the answer says and why."""
    answer = await client.check(
        email=email, channel="email", topic=topic, campaign=campaign, token=token
    )
    about = f"{topic} ({campaign})" if campaign else topic
    print(f"  {email}, {about}: {word_of(answer.verdict)}")
    print(f"      {_first(answer.reasons)}")
    if answer.allowed is not allowed:
        raise DemoError(f"{about} to {email} is {word_of(answer.verdict)}")


def _first(reasons: Sequence[Reason]) -> str:
    return reason_of(reasons[0]) if reasons else "no reason was given"


def _by_person() -> Origin:
    return Origin(
        source=PAGE, actor="person", method=Method.WEB_FORM, decided_time=datetime.now(UTC)
    )


def _by_operator() -> Origin:
    return Origin(source="demo", actor="agent:jane", method=Method.OPERATOR)


def _evidence() -> Evidence:
    return Evidence(
        notice="newsletter-consent",
        notice_version="2026-03",
        act="ticked the box and pressed Save",
        language="de-AT",
    )


def _heading(text: str) -> None:
    print(f"\n{text}")


if __name__ == "__main__":
    sys.exit(main())

"""The fake and a real server, asked and told the same, answer the same.

A script of writes and questions is drawn at random (with a fixed seed) and run on both. What is
compared leaves out only what cannot be equal: the instants of commits, tokens, claims of
receipts, and ids of holds.
"""

import dataclasses
import enum
import random
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

import heed
from heed.testing import FakeSyncClient, RunningServer, server

pytestmark = pytest.mark.slow

NOW = datetime.now(UTC)
PAST = [NOW - timedelta(days=30 - at) for at in range(20)]
"""Times by which choices are decided; few, so that ties happen."""
SUBJECTS = [
    heed.email("ada@example.com"),
    heed.email("Bob@Example.com"),
    heed.phone("+43 660 1234567"),
    heed.user("u-1"),
    heed.device("d-1"),
]
TOPICS = ["", "news", "news.weekly", "orders", "orders.shipping", "account.reset"]
CHANNELS = ["any", "email", "sms", "push", "in_app", "processing"]
CLASSES = ["promotional", "transactional", "mandatory"]
CAUSES = ["bounce", "complaint", "legal", "temporary_failure"]
EVIDENCE = heed.Evidence(notice="n", notice_version="1", act="pressed Save", language="en")
SEEDS = range(6)
STEPS = 120

Step = Callable[[heed.SyncClient, dict[int, str]], object]


@pytest.fixture(scope="module")
def running() -> Generator[RunningServer]:
    with server() as running:
        yield running


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_script_has_the_same_outcome_on_both(running: RunningServer, seed: int) -> None:
    tenant = f"parity-{seed}"
    with running.client(timeout=10) as client:
        client.create_tenant(tenant)
    fake = FakeSyncClient()
    fake_holds: dict[int, str] = {}
    real_holds: dict[int, str] = {}

    with running.client(tenant=tenant, timeout=10) as real:
        for at, (name, step) in enumerate(script(random.Random(seed))):
            told = outcome(step, fake, fake_holds)
            wanted = outcome(step, real, real_holds)
            assert told == wanted, f"step {at}, {name}"


def script(draw: random.Random) -> Generator[tuple[str, Step]]:
    """Writes and questions; each is the same thing to ask of any client."""
    makers = [_opt_out, _opt_in, _pause, _end_pause, _suppress, _release, _import, _topic, _hold]
    for at in range(STEPS):
        make = draw.choice([*makers, _replay, _retire, _lift, _several, _erase])
        yield make.__name__, make(draw, at)
        yield "check", _check(draw)
        yield "explain", _explain(draw)
        yield "explain then", _explain_then(draw)
        yield "history", _history(draw)
    yield "get", lambda client, _: client.get_preferences(subjects=SUBJECTS)
    yield "known", lambda client, _: client.export_subject(SUBJECTS)
    yield "topics", lambda client, _: list(client.list_topics())
    yield "holds", lambda client, _: list(client.list_holds())
    yield "suppressions", lambda client, _: _sorted(client.list_suppressions())
    yield "export", lambda client, _: _sorted(client.export_records(channel="any", topic="news"))


def outcome(step: Step, client: heed.SyncClient, holds: dict[int, str]) -> object:
    """What a step came to, without what cannot be equal."""
    try:
        return comparable(step(client, holds), holds)
    except heed.HeedError as error:
        violations = error.violations if isinstance(error, heed.InvalidArgumentError) else ()
        metadata = {name: value for name, value in error.metadata.items() if name != "hold_id"}
        return type(error).__name__, error.reason, metadata, [one.field for one in violations]


def comparable(value: object, holds: dict[int, str]) -> object:
    match value:
        case enum.Enum() | None:
            return value
        case datetime():
            return "recently" if abs(value - NOW) < timedelta(hours=1) else value
        case list() | tuple():
            return [comparable(one, holds) for one in cast("list[object]", value)]
        case str() if value in holds.values():
            return "a hold's id"
        case _ if dataclasses.is_dataclass(value):
            return {
                field.name: comparable(getattr(value, field.name), holds)
                for field in dataclasses.fields(value)
                if field.name not in {"token", "now", "idempotency_key", "receipt_claim"}
            }
        case _:
            return value


def _sorted(records: Any) -> list[heed.SubjectRecord]:
    return sorted(records, key=lambda one: (one.record.revision, str(one.subject), str(one.record)))


def _subjects(draw: random.Random) -> list[heed.Subject]:
    return draw.sample(SUBJECTS, draw.choice([1, 1, 2]))


def _origin(draw: random.Random, *, may_lack_time: bool = True) -> heed.Origin:
    ahead = NOW + timedelta(days=9)
    return heed.Origin(
        source="parity",
        method=draw.choice([*heed.Method, heed.Method.WEB_FORM, heed.Method.WEB_FORM]),
        decided_time=draw.choice([*PAST, ahead, *([None] * 8 if may_lack_time else [])]),
    )


def _set(draw: random.Random, at: int, choice: heed.Choice) -> Step:
    subjects, origin = _subjects(draw), _origin(draw)
    return lambda client, _: client.set_preference(
        choices=[choice], origin=origin, subjects=subjects, idempotency_key=f"k-{at}"
    )


def _opt_out(draw: random.Random, at: int) -> Step:
    choice = heed.OptOut(
        channel=draw.choice(CHANNELS),
        topic=draw.choice(TOPICS),
        reach=draw.choice(["promotional", "promotional", "transactional", "all"]),
    )
    return _set(draw, at, choice)


def _opt_in(draw: random.Random, at: int) -> Step:
    end_time = draw.choice([None, None, NOW + timedelta(days=20), NOW - timedelta(days=5)])
    choice = heed.OptIn(
        channel=draw.choice(CHANNELS),
        topic=draw.choice(TOPICS),
        evidence=EVIDENCE,
        end_time=end_time,
    )
    return _set(draw, at, choice)


def _pause(draw: random.Random, at: int) -> Step:
    choice = heed.Pause(
        channel=draw.choice(CHANNELS),
        topic=draw.choice(TOPICS),
        end_time=NOW + timedelta(days=draw.choice([-3, 1, 5, 10])),
        reach=draw.choice(["promotional", "transactional"]),
    )
    return _set(draw, at, choice)


def _end_pause(draw: random.Random, at: int) -> Step:
    return _set(draw, at, heed.EndPause(channel=draw.choice(CHANNELS), topic=draw.choice(TOPICS)))


def _several(draw: random.Random, at: int) -> Step:
    people = [
        heed.PersonChoices(
            subjects=[subject],
            choices=[
                heed.OptOut(topic=draw.choice(TOPICS)),
                heed.Pause(end_time=NOW + timedelta(days=2), topic=draw.choice(TOPICS)),
            ],
        )
        for subject in draw.sample(SUBJECTS, 3)
    ]
    origin = _origin(draw)
    return lambda client, _: client.set_preferences(
        people, origin=origin, idempotency_key=f"k-{at}"
    )


def _replay(draw: random.Random, at: int) -> Step:
    """A key that was used before, with its payload or another."""
    key = f"k-{draw.randrange(at + 1)}"
    topic = draw.choice(TOPICS)
    return lambda client, _: client.opt_out(
        user="u-1", topic=topic, source="parity", idempotency_key=key
    )


def _suppressions(draw: random.Random) -> list[heed.Suppression]:
    found: list[heed.Suppression] = []
    for subject in draw.sample(SUBJECTS, 2):
        cause = draw.choice(CAUSES)
        needs_end = cause == "temporary_failure"
        found.append(
            heed.Suppression(
                subject=subject,
                cause=cause,
                channel=draw.choice([None, None, "email"]),
                topic=draw.choice(["", "", "news"]),
                reach="promotional" if cause == "legal" and draw.random() < 0.5 else None,
                end_time=NOW + timedelta(days=3) if needs_end or draw.random() < 0.2 else None,
                reason=draw.choice(["", "550"]),
            )
        )
    return found


def _suppress(draw: random.Random, at: int) -> Step:
    suppressions, origin = _suppressions(draw), _origin(draw)
    return lambda client, _: client.add_suppressions(
        suppressions, origin=origin, idempotency_key=f"k-{at}"
    )


def _release(draw: random.Random, at: int) -> Step:
    subject, cause = draw.choice(SUBJECTS), draw.choice(CAUSES)
    channel, topic = draw.choice([None, None, "email"]), draw.choice(["", "", "news"])
    return lambda client, _: client.release_suppression(
        subject=subject,
        cause=cause,
        channel=channel,
        topic=topic,
        reason="parity",
        origin=heed.Origin(source="parity"),
        idempotency_key=f"k-{at}",
    )


def _erase(draw: random.Random, at: int) -> Step:
    subjects = draw.sample(SUBJECTS, draw.choice([1, 2]))
    return lambda client, _: client.erase_subject(
        subjects,
        reason="parity",
        origin=heed.Origin(source="parity"),
        idempotency_key=f"k-{at}",
    )


def _import(draw: random.Random, at: int) -> Step:
    rows = [
        heed.ImportRow(
            row=1,
            protection=heed.ImportedOptOut(
                subject=draw.choice(SUBJECTS),
                channel=draw.choice([None, "email"]),
                topic=draw.choice(TOPICS),
                reach=draw.choice(["promotional", "transactional"]),
            ),
            decided_time=draw.choice([None, *PAST]),
        ),
        *(
            heed.ImportRow(row=row, protection=one, decided_time=draw.choice([None, *PAST]))
            for row, one in enumerate(_suppressions(draw), 2)
        ),
        heed.ImportRow(row=9, protection=heed.ImportedOptOut(subject=heed.email("nonsense"))),
    ]
    is_dry = draw.random() < 0.3
    return lambda client, _: client.import_records(
        rows,
        batch_id="list",
        origin=heed.Origin(source="parity"),
        dry_run=is_dry,
        idempotency_key=f"k-{at}",
    )


def _topic(draw: random.Random, at: int) -> Step:
    name, topic_class = draw.choice(TOPICS[1:]), draw.choice(CLASSES)
    on = ["email", "sms"][: draw.choice([1, 2])] if topic_class == "mandatory" else []
    needs, suppresses = draw.random() < 0.2, draw.random() < 0.1
    said: dict[str, Any] = {
        "topic_class": topic_class,
        "mandatory_channels": on,
        "requires_opt_in": needs,
        "suppress_undeclared": suppresses,
        "origin": heed.Origin(source="parity"),
        "idempotency_key": f"k-{at}",
    }
    if draw.random() < 0.5:
        return lambda client, _: client.declare_topic(name, **said)
    return lambda client, _: client.loosen_topic(name, reason="parity", **said)


def _retire(draw: random.Random, at: int) -> Step:
    name = draw.choice(TOPICS)
    return lambda client, _: client.retire_topic(
        name, reason="over", origin=heed.Origin(source="parity"), idempotency_key=f"k-{at}"
    )


def _hold(draw: random.Random, at: int) -> Step:
    channel, topic = draw.choice([None, "any", "sms"]), draw.choice(TOPICS[1:])
    campaign = draw.choice(["", "spring"])
    end_time = draw.choice([None, NOW + timedelta(days=1), NOW - timedelta(days=1)])

    def place(client: heed.SyncClient, holds: dict[int, str]) -> object:
        answer = client.place_hold(
            channel=channel,
            topic=topic,
            campaign=campaign,
            end_time=end_time,
            reason="parity",
            origin=heed.Origin(source="parity"),
            idempotency_key=f"k-{at}",
        )
        holds[at] = answer.hold.hold_id
        return answer

    return place


def _lift(draw: random.Random, at: int) -> Step:
    which = draw.random()

    def lift(client: heed.SyncClient, holds: dict[int, str]) -> object:
        found = [*holds.values(), "hold-none"]
        return client.lift_hold(
            found[int(which * len(found))],
            reason="parity",
            origin=heed.Origin(source="parity"),
            idempotency_key=f"k-{at}",
        )

    return lift


def _query(draw: random.Random) -> dict[str, Any]:
    return {
        "channel": draw.choice([*CHANNELS[1:] * 6, "any"]),
        "topic": draw.choice([*TOPICS * 6, "undeclared.one", "news.undeclared", "Bad Topic"]),
        "campaign": draw.choice(["", "spring"]),
        "subjects": _subjects(draw),
    }


def _check(draw: random.Random) -> Step:
    queries = [heed.Query(**_query(draw)) for _ in range(4)]
    one = _query(draw)
    if draw.random() < 0.5:
        return lambda client, _: client.check(**one)
    return lambda client, _: client.check_many(queries)


def _explain(draw: random.Random) -> Step:
    one = _query(draw)
    return lambda client, _: client.explain(**one)


def _explain_then(draw: random.Random) -> Step:
    one, share = _query(draw), draw.choice([0.0, 0.5, 1.0, 1.1])
    rules = draw.choice([0, 1, 1, 2])

    def explain(client: heed.SyncClient, _: dict[int, str]) -> object:
        head = client.check(user="u-1", channel="push").revision
        position = heed.Position(revision=round(head * share), rule_version=rules)
        return client.explain(**one, as_of=position)

    return explain


def _history(draw: random.Random) -> Step:
    subjects = _subjects(draw)
    return lambda client, _: list(client.get_history(subjects=subjects))

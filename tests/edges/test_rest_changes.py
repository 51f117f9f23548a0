"""The log as server-sent events: whole, in order, resumed, and ended where it has to be."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from heed_proto.v1 import types_pb2 as pb
from heed_server.watch import WatchLimits
from heed_server.watch import stream as watch_stream
from heed_server.web.rest import changes, events
from tests.support import requests as asks
from tests.support.api_keys import Keys
from tests.support.rest import ADA, Rest
from tests.support.rest_followed import Following, following
from tests.support.servers import Running, running_server

QUICK = WatchLimits(heartbeat_seconds=0.05)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path, watch_limits=QUICK) as running:
        yield running


@pytest.fixture
def rest(server: Running) -> Rest:
    return Rest(server.service)


async def opt_out(server: Running, key: str, email: str = ADA) -> None:
    await server.call("SetPreference", asks.set_preference(email=email, key=key))


async def quiet_hours(server: Running, key: str) -> None:
    night = pb.QuietPeriod(start_minute=22 * 60, end_minute=8 * 60)
    hours = pb.QuietHours(time_zone="Europe/Vienna", periods=[night])
    choice = pb.Choice(scope=pb.Scope(channel=pb.CHANNEL_EMAIL), quiet_hours=hours)
    await server.call("SetPreference", asks.set_preference(choice, key=key))


async def stand(stream: Following) -> list[str]:
    """Take a reset, and return whose records there are."""
    await stream.next("reset")
    keys: list[str] = []
    while (event := await stream.next()).name == "records":
        keys += [one["subject_key"] for one in event.body["subjects"]]
    assert event.name == "reset_end"
    assert event.id
    return keys


async def revisions(stream: Following, through: int) -> list[int]:
    """Take changes up to a revision, and return which there were."""
    found: list[int] = []
    after = None
    while after != through:
        event = await stream.next("changes")
        assert after in {None, event.body["after"]}
        after = event.body["through"]
        found += [one["revision"] for one in event.body["changes"]]
    return found


async def test_a_new_reader_is_told_what_stands_and_then_every_change(
    server: Running, rest: Rest
) -> None:
    await opt_out(server, "k-1")

    async with following(rest) as stream:
        opened = await stream.next("opened")
        keys = await stand(stream)
        await opt_out(server, "k-2", "bob@example.com")
        change = await stream.next("changes")

    (told,) = change.body["changes"]
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream"
    assert opened.body["head_revision"] == 1
    assert len(opened.body["lookup_keys"][0]["key"]) == 64
    assert opened.id == ""
    assert len(keys) == 1
    assert (change.body["after"], change.body["through"]) == (1, 2)
    assert told["set_record"]["kind"] == "opt_out"
    assert told["set_record"]["scope"] == {"channel": "email", "topic": ""}
    assert told["subject_key"] not in keys


async def test_no_event_names_anybody(server: Running, rest: Rest) -> None:
    await opt_out(server, "k-1")

    async with following(rest) as stream:
        seen = [await stream.next() for _ in range(4)]

    assert [one.name for one in seen] == ["opened", "reset", "records", "reset_end"]
    assert ADA not in str(seen)


async def test_by_its_last_id_a_reader_loses_and_repeats_nothing_over_a_restart(
    tmp_path: Path,
) -> None:
    async with running_server(tmp_path) as server:
        await opt_out(server, "k-1")
        async with following(Rest(server.service)) as stream:
            await stand(stream)
            await opt_out(server, "k-2")
            before = await revisions(stream, 2)
        await opt_out(server, "k-3")

    async with running_server(tmp_path) as server:
        await opt_out(server, "k-4")
        async with following(Rest(server.service), last_id=stream.last_id) as resumed:
            await resumed.next("opened")
            after = await revisions(resumed, 4)

    assert (before, after) == ([2], [3, 4])


async def test_a_reader_that_left_within_a_reset_is_reset_again(
    server: Running, rest: Rest
) -> None:
    """The id that it has is of before, or it has none: nothing is taken for known."""
    await opt_out(server, "k-1")
    async with following(rest) as stream:
        await stream.next("records")

    async with following(rest, last_id=stream.last_id) as again:
        assert len(await stand(again)) == 1

    assert stream.last_id == ""


async def test_a_reader_of_another_life_of_the_store_is_reset(
    server: Running, rest: Rest, tmp_path: Path
) -> None:
    async with running_server(tmp_path / "other") as other:
        await opt_out(other, "k-1")
        async with following(Rest(other.service)) as stream:
            await stand(stream)

    async with following(rest, last_id=stream.last_id) as again:
        reset = await again.next("reset")

    assert reset.body["reason"] == "epoch_changed"


async def test_a_reader_of_earlier_rules_is_sent_away_before_what_it_cannot_decide_by(
    server: Running, rest: Rest
) -> None:
    """Back again it is told first which rules are needed, so that it allows nothing by itself."""
    query = "subscriber=old&rule_version=1"
    await opt_out(server, "k-1")
    async with following(rest, query) as stream:
        opened = await stream.next("opened")
        await stand(stream)
        await quiet_hours(server, "k-2")
        await stream.next("draining")
    async with following(rest, query, last_id=stream.last_id) as back:
        again = await back.next("opened")
        moved = await back.next("changes")

    assert (opened.body["rule_version"], again.body["rule_version"]) == (1, 2)
    assert (moved.body["after"], moved.body["through"], moved.body["changes"]) == (1, 2, [])


async def test_a_reader_of_these_rules_is_told_of_quiet_hours_as_they_are(
    server: Running, rest: Rest
) -> None:
    await opt_out(server, "k-1")
    async with following(rest, "subscriber=new&rule_version=2") as stream:
        await stand(stream)
        await quiet_hours(server, "k-2")
        change = await stream.next("changes")

    (told,) = change.body["changes"]
    assert told["rule_version"] == 2
    assert told["set_record"]["quiet_hours"]["time_zone"] == "Europe/Vienna"


async def test_what_a_filter_leaves_out_is_not_told_and_moves_the_reader(
    server: Running, rest: Rest
) -> None:
    query = "subscriber=mailer-1&channels=sms&channels=push&topics=news"
    async with following(rest, query) as stream:
        await stand(stream)
        await opt_out(server, "k-1")
        silent = await stream.next("changes")

    assert (silent.body["through"], silent.body["changes"]) == (1, [])
    assert silent.id


async def test_a_probe_comes_back_with_a_heartbeat_once_all_was_told(
    server: Running, rest: Rest
) -> None:
    async with following(rest) as stream:
        opened = await stream.next("opened")
        await stand(stream)
        body = {"stream_id": opened.body["stream_id"], "applied_revision": 0, "probe": 7}
        taken = await rest.post("/v1/changes/applied", body)
        while (beat := await stream.next("heartbeat")).body["probe"] != 7:
            pass
        unknown = await rest.post("/v1/changes/applied", {**body, "stream_id": "other"})

    assert (taken.code, taken.body) == (204, None)
    assert beat.body["through"] == 0
    assert beat.id == ""
    assert (unknown.code, unknown.reason) == (404, "STREAM_UNKNOWN")


async def test_a_revoked_key_ends_the_stream_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_stream, "CREDENTIAL_SECONDS", 0.05)
    keys = Keys()
    async with running_server(tmp_path, authenticator=keys, watch_limits=QUICK) as server:
        key, key_id = await keys.make("watch")
        async with following(Rest(server.service, keys.authenticator), key=key) as stream:
            await stand(stream)
            await keys.revoke(key_id)
            told = await stream.next("problem")
            is_over = await stream.is_over()

    assert (told.body["status"], told.body["reason"]) == (401, "CREDENTIAL_INVALID")
    assert is_over


async def test_a_node_that_stops_says_when_to_come_back(server: Running, rest: Rest) -> None:
    async with following(rest) as stream:
        await stand(stream)
        server.service.watches.drain(0)
        told = await stream.next("draining")
        is_over = await stream.is_over()
    async with following(rest) as refused:
        await refused.refusal()

    assert told.retry_ms == told.body["reconnect_after_ms"]
    assert is_over
    assert (refused.status, refused.problem["reason"]) == (503, "DRAINING")


async def test_a_reader_that_leaves_holds_nothing_any_more(server: Running, rest: Rest) -> None:
    calls = server.service.admission.calls
    async with following(rest) as stream:
        await stand(stream)
        held = calls.has_room(("", "open")), len(server.service.watches._streams)

    assert held == (True, 1)
    assert len(server.service.watches._streams) == 0


async def test_a_slow_reader_is_cut_off_and_grows_nothing(tmp_path: Path) -> None:
    impatient = WatchLimits(heartbeat_seconds=0.05, write_seconds_max=0.1)
    async with (
        running_server(tmp_path, watch_limits=impatient) as server,
        following(Rest(server.service)) as stream,
    ):
        await stand(stream)
        stream.pause()
        while server.service.watches._streams:
            await opt_out(server, "k-1")
        stream.go_on()
        told = await stream.next("problem")

    assert told.body["reason"] == "OVERLOADED"


async def test_a_large_snapshot_is_told_in_pieces(
    server: Running, rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "RECORDS_OF_EVENT_MAX", 2)
    await server.call("BatchSetPreferences", asks.batch_set_preferences(5))

    async with following(rest) as stream:
        pieces = [await stream.next("records") for _ in range(3)]
        end = await stream.next("reset_end")

    assert [len(one.body["subjects"]) for one in pieces] == [2, 2, 1]
    assert end.body["record_count"] == 5


async def test_streams_that_are_told_the_same_are_encoded_for_once(
    server: Running, rest: Rest
) -> None:
    changes._kept_events.cache_clear()
    async with following(rest) as one, following(rest, "subscriber=mailer-2") as other:
        await stand(one)
        await stand(other)
        hits = changes._kept_events.cache_info().hits
        await opt_out(server, "k-1")
        first, second = await one.next("changes"), await other.next("changes")

    assert first == second
    assert changes._kept_events.cache_info().hits > hits


@pytest.mark.parametrize(
    ("query", "last_id", "code", "where"),
    [
        ("", None, 400, ("parameter", "subscriber")),
        ("subscriber=a&subscriber=b", None, 400, ("parameter", "subscriber")),
        ("subscriber=a&email=ada", None, 400, ("parameter", "email")),
        ("subscriber=a&channels=any", None, 400, ("parameter", "channels")),
        ("subscriber=a&topics=A", None, 400, ("parameter", "topics")),
        ("subscriber=a&max_staleness_seconds=nan", None, 400, ("parameter", "max_staleness_seconds")),
        ("subscriber=a&max_staleness_seconds=0", None, 400, ("parameter", "max_staleness_seconds")),
        ("subscriber=a&max_staleness_seconds=1e999", None, 400, ("parameter", "max_staleness_seconds")),
        ("subscriber=a&rule_version=1001", None, 400, ("parameter", "rule_version")),
        ("subscriber=a&rule_version=%d9%a3", None, 400, ("parameter", "rule_version")),
        ("subscriber=a&rule_version=" + "9" * 5_000, None, 400, ("parameter", "rule_version")),
        ("subscriber=%ff", None, 400, ("parameter", "")),
        ("&".join(["topics=a"] * 200), None, 400, ("parameter", "")),
        ("subscriber=a", "none", 400, ("header", "Last-Event-ID")),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said_before_the_stream_begins(
    rest: Rest, query: str, last_id: str | None, code: int, where: tuple[str, str]
) -> None:
    async with following(rest, query, last_id=last_id) as stream:
        violation = (await stream.refusal())["violations"][0]

    assert stream.status == code
    assert violation[where[0]] == where[1]


async def test_it_needs_the_right_to_watch(tmp_path: Path) -> None:
    keys = Keys()
    async with running_server(tmp_path, authenticator=keys) as server:
        key, _ = await keys.make("check", "write")
        async with following(Rest(server.service, keys.authenticator), key=key) as stream:
            problem = await stream.refusal()

    assert (stream.status, problem["reason"]) == (403, "RIGHT_REQUIRED")

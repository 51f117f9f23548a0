"""What followers and those who wait for them ask, to values; what is wrong is named in full."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from heed.model import Channel
from heed.wire import limits, parse, parse_propagation, parse_watch
from heed_proto.v1 import types_pb2 as types
from heed_proto.v1 import watch_service_pb2 as pb
from tests.support import requests as ask
from tests.support.requests import violations_of


def watch(**said: Any) -> pb.WatchChangesRequest:
    """A stream of everything."""
    fields: dict[str, Any] = {"subscriber": "mailer-1"} | said
    return pb.WatchChangesRequest(**fields)


def test_a_watch_is_read_as_it_was_asked() -> None:
    asked = watch(
        tenant="shop",
        instance="run-7",
        token="t",
        channels=[types.CHANNEL_EMAIL, types.CHANNEL_SMS],
        topics=["orders.shipping", "news", "orders", "news"],
        max_staleness=Duration(seconds=2, nanos=500_000_000),
        rule_version=1,
        normaliser_version=2,
    )

    read = parse_watch.watch_changes(asked.SerializeToString())

    assert (read.tenant, read.subscriber, read.instance, read.token) == (
        "shop",
        "mailer-1",
        "run-7",
        "t",
    )
    assert read.channels == {Channel.EMAIL, Channel.SMS}
    assert read.topics == ("news", "orders")
    assert read.max_staleness_seconds == 2.5
    assert (read.rule_version, read.normaliser_version) == (1, 2)


@pytest.mark.parametrize("topics", [[], ["news", ""]], ids=["none named", "the root among them"])
def test_a_watch_without_a_filter_is_of_everything(topics: list[str]) -> None:
    read = parse_watch.watch_changes(watch(topics=topics).SerializeToString())

    assert (read.channels, read.topics) == (frozenset(), ())
    assert read.max_staleness_seconds == parse_watch.STALENESS_SECONDS_DEFAULT


def test_every_wrong_field_of_a_watch_is_named() -> None:
    asked = watch(
        subscriber="",
        instance="i" * (limits.INSTANCE_CHARACTERS_MAX + 1),
        channels=[types.CHANNEL_ANY],
        topics=["No Topic"],
        max_staleness=Duration(seconds=limits.STALENESS_SECONDS_MAX + 1),
        rule_version=-1,
        normaliser_version=-1,
    )

    assert violations_of(parse_watch.watch_changes, asked).keys() == {
        "subscriber",
        "instance",
        "channels[0]",
        "topics[0]",
        "max_staleness",
        "rule_version",
        "normaliser_version",
    }


def test_a_watch_names_only_so_many_topics() -> None:
    asked = watch(topics=[f"t{at}" for at in range(limits.WATCH_TOPICS_MAX + 1)])

    assert violations_of(parse_watch.watch_changes, asked).keys() == {"topics"}


def test_a_watch_names_only_so_many_channels() -> None:
    """A message full of them would be read for half a second, and the node does nothing else."""
    most = limits.WATCH_CHANNELS_MAX
    asked = watch(channels=[types.CHANNEL_SMS] * (most + 1))
    fits = watch(channels=[types.CHANNEL_SMS] * most)

    assert violations_of(parse_watch.watch_changes, asked).keys() == {"channels"}
    assert parse_watch.watch_changes(fits.SerializeToString()).channels == {Channel.SMS}


def test_a_report_is_read_as_it_was_made() -> None:
    report = pb.ReportAppliedRequest(tenant="shop", stream_id="s", applied_revision=7, probe=3)

    read = parse_watch.report_applied(report.SerializeToString())

    assert (read.tenant, read.stream_id, read.applied_revision, read.probe) == ("shop", "s", 7, 3)


def test_every_wrong_field_of_a_report_is_named() -> None:
    report = pb.ReportAppliedRequest(applied_revision=-1)

    assert violations_of(parse_watch.report_applied, report).keys() == {
        "stream_id",
        "applied_revision",
        "probe",
    }


def test_a_propagation_is_asked_of_a_revision_or_of_the_head() -> None:
    asked = pb.GetPropagationRequest(tenant="shop", revision=7)

    read = parse_propagation.get_propagation(asked.SerializeToString())

    assert (read.tenant, read.revision) == ("shop", 7)
    wrong = pb.GetPropagationRequest(revision=-1)
    assert violations_of(parse_propagation.get_propagation, wrong).keys() == {"revision"}


def test_a_request_for_deadlines_is_read_with_its_defaults() -> None:
    asked = pb.GetDeadlinesRequest(tenant="shop", before_revision=7)

    read = parse_propagation.get_deadlines(asked.SerializeToString())

    assert (read.tenant, read.before, read.page_size) == ("shop", 7, 100)
    wrong = pb.GetDeadlinesRequest(before_revision=-1, page_size=-1)
    assert violations_of(parse_propagation.get_deadlines, wrong).keys() == {
        "before_revision",
        "page_size",
    }
    many = pb.GetDeadlinesRequest(page_size=1_001)
    assert violations_of(parse_propagation.get_deadlines, many).keys() == {"page_size"}


@pytest.mark.parametrize(
    ("read", "request_"),
    [
        (parse_propagation.declare_subscriber, pb.DeclareSubscriberRequest),
        (parse_propagation.withdraw_subscriber, pb.WithdrawSubscriberRequest),
    ],
)
def test_a_subscriber_is_declared_and_withdrawn_by_its_name(
    read: Callable[[bytes], Any], request_: Callable[..., Any]
) -> None:
    named = read(request_(tenant="shop", subscriber="mailer-1").SerializeToString())

    assert (named.tenant, named.name) == ("shop", "mailer-1")
    assert violations_of(read, request_()).keys() == {"subscriber"}


@pytest.mark.parametrize("seconds", [-1, limits.WAIT_PROPAGATED_SECONDS_MAX + 1])
def test_a_write_waits_for_its_propagation_only_so_long(seconds: int) -> None:
    asked = ask.set_preference()
    asked.wait_propagated.seconds = seconds

    assert violations_of(parse.set_preference, asked).keys() == {"wait_propagated"}


def test_how_long_a_write_waits_is_no_part_of_what_its_key_names() -> None:
    asked = ask.set_preference()
    at_once = parse.set_preference(asked.SerializeToString())

    asked.wait_propagated.nanos = 500_000_000
    patient = parse.set_preference(asked.SerializeToString())

    assert (at_once.wait_seconds, patient.wait_seconds) == (None, 0.5)
    assert patient.call == at_once.call

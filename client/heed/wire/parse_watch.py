"""Messages of WatchService to values; the laws are those of `heed.wire.parse`."""

from typing import Final

from google.protobuf.duration_pb2 import Duration

from heed.model import Channel, Revision
from heed.topics import widest
from heed.wire import limits, values
from heed.wire.asked import AppliedAsked, WatchAsked
from heed.wire.parse import message
from heed.wire.violations import Violations
from heed_proto.v1 import watch_service_pb2 as pb

STALENESS_SECONDS_DEFAULT: Final = 5.0


def watch_changes(data: bytes) -> WatchAsked:
    """Read a WatchChangesRequest."""
    asked = message(pb.WatchChangesRequest, data)
    violations = Violations()
    read = WatchAsked(
        tenant=asked.tenant,
        subscriber=values.ascii_name(
            asked.subscriber, "subscriber", violations, limits.SUBSCRIBER_CHARACTERS_MAX
        ),
        instance=_optional_name(
            asked.instance, "instance", violations, limits.INSTANCE_CHARACTERS_MAX
        ),
        token=asked.token,
        channels=_channels(asked, violations),
        topics=_topics(asked, violations),
        max_staleness_seconds=_staleness(asked, violations),
        rule_version=_not_negative(asked.rule_version, "rule_version", violations),
        normaliser_version=_not_negative(
            asked.normaliser_version, "normaliser_version", violations
        ),
        verifiable=asked.verifiable,
    )
    violations.raise_if_any()
    return read


def report_applied(data: bytes) -> AppliedAsked:
    """Read a ReportAppliedRequest."""
    asked = message(pb.ReportAppliedRequest, data)
    violations = Violations()
    if asked.probe < 1:
        violations.add("probe", "is required: 1 with the first report, higher with each")
    read = AppliedAsked(
        tenant=asked.tenant,
        stream_id=values.ascii_name(
            asked.stream_id, "stream_id", violations, limits.STREAM_ID_CHARACTERS_MAX
        ),
        applied_revision=Revision(
            _not_negative(asked.applied_revision, "applied_revision", violations)
        ),
        probe=asked.probe,
    )
    violations.raise_if_any()
    return read


def _channels(asked: pb.WatchChangesRequest, violations: Violations) -> frozenset[Channel]:
    """The channels. Of a message full of them none is read: that would hold up the node."""
    if len(asked.channels) > limits.WATCH_CHANNELS_MAX:
        violations.add(
            "channels",
            f"has {len(asked.channels)} channels, at most {limits.WATCH_CHANNELS_MAX} are taken",
        )
        return frozenset()
    return frozenset(
        values.QUERY_CHANNELS.read(
            number, f"channels[{at}]", violations, values.QUERY_CHANNEL_STAND_IN
        )
        for at, number in enumerate(asked.channels)
    )


def _topics(asked: pb.WatchChangesRequest, violations: Violations) -> tuple[str, ...]:
    """The topics, each once, those beneath another left out."""
    if len(asked.topics) > limits.WATCH_TOPICS_MAX:
        violations.add(
            "topics",
            f"has {len(asked.topics)} topics, at most {limits.WATCH_TOPICS_MAX} are taken; "
            "name what is above them",
        )
        return ()
    return widest(
        values.topic_name(name, f"topics[{at}]", violations) for at, name in enumerate(asked.topics)
    )


def _staleness(asked: pb.WatchChangesRequest, violations: Violations) -> float:
    if not asked.HasField("max_staleness"):
        return STALENESS_SECONDS_DEFAULT
    seconds = _seconds(asked.max_staleness)
    if not limits.STALENESS_SECONDS_MIN <= seconds <= limits.STALENESS_SECONDS_MAX:
        violations.add(
            "max_staleness",
            f"must be {limits.STALENESS_SECONDS_MIN} to {limits.STALENESS_SECONDS_MAX} seconds",
        )
    return seconds


def _seconds(value: Duration) -> float:
    return value.seconds + value.nanos / 1_000_000_000


def _optional_name(value: str, path: str, violations: Violations, characters_max: int) -> str:
    return values.ascii_name(value, path, violations, characters_max) if value else ""


def _not_negative(value: int, path: str, violations: Violations) -> int:
    if value < 0:
        violations.add(path, "must not be negative")
    return value

"""The contract's stream of changes as server-sent events.

Laws:
- An event has an id only where a stream may go on from: whoever comes back with the last id they
  applied is told everything since, or a reset.
- An event's body is one line of JSON.
- A snapshot's chunk is told in pieces, so that no reader holds up the others for long.

Source: HTML Living Standard, 9.2; protos/heed/v1/watch_service.proto.
"""

from collections.abc import Iterator
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import UNSET, Struct

from heed_proto.v1 import types_pb2 as types
from heed_proto.v1 import watch_service_pb2 as pb
from heed_server.web.rest import answers, followed, words
from heed_server.web.rest.exchange import encode
from heed_server.web.rest.problems import Problem
from heed_server.web.rest.words import time

RECORDS_OF_EVENT_MAX: Final = 500
"""Records of one `records` event, unless one subject alone has more."""


def events(message: bytes) -> Iterator[bytes]:
    """Yield the events that one message of the stream is told by."""
    said = pb.WatchChangesResponse.FromString(message)
    match said.WhichOneof("event"):
        case "opened":
            yield event("opened", _opened(said.opened))
        case "snapshot_begin":
            yield event("reset", _reset(said.snapshot_begin))
        case "snapshot_chunk":
            for piece in _pieces(said.snapshot_chunk.records):
                yield event("records", piece)
        case "snapshot_end":
            end = said.snapshot_end
            whole = followed.ResetEnd(record_count=end.record_count)
            yield event("reset_end", whole, id_=end.token)
        case "changes":
            changes = said.changes
            yield event("changes", _changes(changes), id_=changes.token)
        case "heartbeat":
            yield event("heartbeat", _heartbeat(said.heartbeat))
        case "draining":
            after = said.draining.reconnect_after.ToMilliseconds()
            last = followed.Draining(reconnect_after_ms=after)
            yield event("draining", last, retry_ms=after)
        case None:
            raise ValueError("a message of the stream says nothing")


def problem_event(problem: Problem) -> bytes:
    """Return the last event of a stream that ends by an error."""
    return event("problem", problem)


def event(name: str, body: Struct, *, id_: str = "", retry_ms: int | None = None) -> bytes:
    """Return one event."""
    lines = [b"event: " + name.encode(), b"data: " + encode(body)]
    if id_:
        lines.append(b"id: " + id_.encode())
    if retry_ms is not None:
        lines.append(b"retry: %d" % retry_ms)
    return b"\n".join(lines) + b"\n\n"


def _opened(said: pb.Opened) -> followed.Opened:
    return followed.Opened(
        stream_id=said.stream_id,
        tenant=said.tenant,
        epoch=said.epoch.hex(),
        head_revision=said.head_revision,
        heartbeat_seconds=said.heartbeat_interval.ToMilliseconds() / 1_000,
        rule_version=said.rule_version,
        normaliser_version=said.normaliser_version,
        lookup_keys=[
            followed.LookupKey(key_id=one.key_id, key=one.key.hex()) for one in said.lookup_keys
        ],
    )


def _reset(said: pb.SnapshotBegin) -> followed.Reset:
    return followed.Reset(
        reason=words.RESETS.word(said.reason),
        revision=said.revision,
        topics=[_topic(one) for one in said.topics],
        holds=[answers.hold(one) for one in said.holds],
    )


def _pieces(chunk: bytes) -> Iterator[followed.Records]:
    """The subjects of a chunk, some at a time."""
    subjects: list[followed.SubjectRecords] = []
    count = 0
    for one in pb.SnapshotRecords.FromString(chunk).subjects:
        if subjects and count + len(one.records) > RECORDS_OF_EVENT_MAX:
            yield followed.Records(subjects=subjects)
            subjects, count = [], 0
        subjects.append(
            followed.SubjectRecords(
                subject_key=one.subject_key.hex(), records=[_record(each) for each in one.records]
            )
        )
        count += len(one.records)
    if subjects:
        yield followed.Records(subjects=subjects)


def _changes(said: pb.Changes) -> followed.Changes:
    return followed.Changes(
        after=said.after, through=said.through, changes=[_change(one) for one in said.changes]
    )


def _change(said: pb.Change) -> followed.Change:
    effect = said.WhichOneof("effect")
    return followed.Change(
        revision=said.revision,
        commit_time=_time(said.commit_time_us),
        subject_key=said.subject_key.hex() or UNSET,
        set_record=_record(said.set_record) if effect == "set_record" else UNSET,
        remove_record=_record(said.remove_record) if effect == "remove_record" else UNSET,
        set_records=[_record(one) for one in said.set_records.records]
        if effect == "set_records"
        else UNSET,
        set_topic=_topic(said.set_topic) if effect == "set_topic" else UNSET,
        set_hold=answers.hold(said.set_hold) if effect == "set_hold" else UNSET,
        remove_hold_id=said.remove_hold_id if effect == "remove_hold_id" else UNSET,
        rekey=_rekey(said.rekey) if effect == "rekey" else UNSET,
        rule_version=said.rule_version or UNSET,
        normaliser_version=said.normaliser_version or UNSET,
    )


def _record(said: pb.WatchedRecord) -> followed.WatchedRecord:
    is_opt_in = said.kind == types.RECORD_KIND_OPT_IN
    return followed.WatchedRecord(
        kind=words.KINDS.word(said.kind),
        scope=answers.scope(types.Scope(channel=said.channel, topic=said.topic)),
        decided_time=_time(said.decided_time_us),
        revision=said.revision,
        reach=UNSET if is_opt_in else words.REACHES.word(said.reach),
        cause=words.CAUSES.word(said.cause) if said.cause else UNSET,
        end_time=_time(said.end_time_us) if said.HasField("end_time_us") else UNSET,
        quiet_hours=answers.quiet_hours(said.quiet_hours)
        if said.HasField("quiet_hours")
        else UNSET,
        no_ask_until=_time(said.no_ask_until_us) if said.HasField("no_ask_until_us") else UNSET,
    )


def _topic(said: types.Topic) -> followed.Topic:
    return followed.Topic(
        name=said.name,
        topic_class=words.CLASSES.word(said.topic_class),
        mandatory_channels=[words.CHANNELS.word(one) for one in said.mandatory_channels],
        requires_opt_in=said.requires_opt_in,
        suppress_undeclared=said.suppress_undeclared,
        retired=said.retired,
        revision=said.revision,
        title=said.title,
    )


def _rekey(said: pb.Rekey) -> followed.Rekey:
    return followed.Rekey(
        key_id=said.key_id, previous_subject_key=said.previous_subject_key.hex() or UNSET
    )


def _heartbeat(said: pb.Heartbeat) -> followed.Heartbeat:
    return followed.Heartbeat(
        through=said.through,
        now=_time(said.now_us),
        probe=said.probe,
        source_age_ms=said.source_age_ms,
    )


def _time(microseconds: int) -> str:
    seconds, left = divmod(microseconds, 1_000_000)
    return time(Timestamp(seconds=seconds, nanos=left * 1_000))

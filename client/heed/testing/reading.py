"""The calls that read, on a fake."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeVar

from heed.decide import decide
from heed.errors import ConflictError, ErrorReason, HeedError, UnavailableError
from heed.model import Decision, Hold, Instant, Query, Record, RecordKind, Scope, SubjectKey
from heed.testing.memory import EPOCH, LOOKUP, Memory
from heed.tokens import decode_token
from heed.topics import covers
from heed.wire import checks, encoded, limits, parse, parse_admin, parse_ways_back
from heed.wire import format as told
from heed.wire.asked import (
    BatchAsked,
    CheckAsked,
    ExportAsked,
    PageAsked,
    PersonQuery,
    StreamAsked,
)
from heed.wire.status import to_refusal
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMethod:
    """One call that reads."""

    read: Callable[[bytes], Any]
    act: Callable[[Memory, Any, Instant], bytes]


def export(memory: Memory, asked: ExportAsked, now: Instant) -> Iterator[bytes]:
    """Answer ExportRecords, message by message."""
    found = [
        one
        for one in _every(memory)
        if (not asked.kinds or one[1].kind in asked.kinds)
        and (not asked.causes or one[1].cause in asked.causes)
        and (asked.scope is None or covers(asked.scope, _scope(one[1])))
    ]
    for start in range(0, len(found), limits.EXPORT_RECORDS_MAX):
        batch = found[start : start + limits.EXPORT_RECORDS_MAX]
        yield admin.ExportRecordsResponse(
            records=[_with_subject(memory, key, record, now) for key, record in batch]
        ).SerializeToString()
    yield admin.ExportRecordsResponse(
        total=len(found), position=_position(memory, now)
    ).SerializeToString()


def in_full(memory: Memory, record: Record, subject_index: int, now: Instant) -> pb.Record:
    """Return a record with who said so, when and why."""
    change = memory.change(record.revision)
    return told.record_in_full(
        record,
        subject_index,
        now,
        commit_time=change.commit_time,
        said_by=None if memory.is_erased(record.revision) else change.origin,
        shown=change.evidence,
        reason=change.reason,
        is_erased=memory.is_erased(record.revision),
    )


def hold_in_full(memory: Memory, hold: Hold) -> pb.Hold:
    """Return a hold with who placed it, and when."""
    change = memory.change(hold.revision)
    return told.hold_in_full(hold, change.commit_time, change.origin)


def told_of(decision: Decision, records: Sequence[Sequence[object]], now: Instant) -> pb.Decision:
    """Return a decision, and which subjects had records."""
    return told.decision(decision, [at for at, one in enumerate(records) if one], now)


def _check(memory: Memory, asked: CheckAsked, now: Instant) -> bytes:
    _require_token(memory, asked.token)
    keys = checks.keys(asked, LOOKUP)
    return preference.CheckSuppressionResponse(
        decision=_decided(memory, keys, asked.query, now), position=_position(memory, now)
    ).SerializeToString()


def _check_many(memory: Memory, asked: BatchAsked, now: Instant) -> bytes:
    _require_token(memory, asked.token)
    keys = iter(checks.keys(asked, LOOKUP))
    decisions = [
        _decided(memory, [next(keys) for _ in range(count)], query, now)
        for count, query in zip(asked.counts, asked.queries, strict=True)
    ]
    return preference.BatchCheckSuppressionResponse(
        decisions=decisions, position=_position(memory, now)
    ).SerializeToString()


def _stream_check(memory: Memory, asked: StreamAsked, now: Instant) -> bytes:
    keys = iter(checks.stream_keys(asked, LOOKUP))
    batch = asked.batch
    try:
        _require_token(memory, batch.token)
    except HeedError as error:
        return encoded.stream_refusal(asked.sequence, asked.count, error)
    decided = (
        _decided(memory, [next(keys) for _ in range(count)], query, now)
        for count, query in zip(batch.counts, batch.queries, strict=True)
    )
    return preference.StreamCheckSuppressionResponse(
        answers=[
            preference.StreamCheckAnswer(refusal=to_refusal(asked.refused[at]))
            if at in asked.refused
            else preference.StreamCheckAnswer(decision=next(decided))
            for at in range(asked.count)
        ],
        position=_position(memory, now),
        sequence=asked.sequence,
    ).SerializeToString()


def _get_preferences(memory: Memory, asked: PersonQuery, now: Instant) -> bytes:
    return preference.GetPreferencesResponse(
        records=[
            in_full(memory, record, at, now)
            for at, subject in enumerate(asked.subjects)
            for record in memory.standing(LOOKUP.key(subject))
        ],
        position=_position(memory, now),
    ).SerializeToString()


def _list_topics(memory: Memory, asked: PageAsked, _now: Instant) -> bytes:
    page, cursor = _page([(f"={topic.name}", topic) for topic in memory.topics.declared], asked)
    return admin.ListTopicsResponse(
        topics=[told.topic(topic) for topic in page],
        next_page_token=parse_admin.page_token("topics", cursor),
    ).SerializeToString()


def _list_holds(memory: Memory, asked: PageAsked, _now: Instant) -> bytes:
    holds = sorted(memory.ledger.holds.values(), key=lambda hold: hold.revision)
    page, cursor = _page([(f"{hold.revision:020}", hold) for hold in holds], asked)
    return admin.ListHoldsResponse(
        holds=[hold_in_full(memory, hold) for hold in page],
        next_page_token=parse_admin.page_token("holds", cursor),
    ).SerializeToString()


def _list_batches(memory: Memory, asked: PageAsked, _now: Instant) -> bytes:
    begun = sorted(
        memory.ledger.batches.items(), key=lambda one: (one[1].first, one[0]), reverse=True
    )
    page, cursor = _page([(f"{at:020}", one) for at, one in enumerate(begun)], asked)
    return admin.ListBatchesResponse(
        batches=[
            told.batch(
                batch_id,
                batch.first,
                batch.last,
                first=memory.logged(batch.first) if batch.first <= batch.last else None,
                last=memory.logged(batch.last) if batch.first <= batch.last else None,
                undone=None,  # a fake knows no second person
            )
            for batch_id, batch in page
        ],
        next_page_token=parse_admin.page_token("batches", cursor),
    ).SerializeToString()


def _list_suppressions(memory: Memory, asked: PageAsked, now: Instant) -> bytes:
    found = [
        (f"{at:020}", one)
        for at, one in enumerate(_every(memory))
        if one[1].kind is RecordKind.SUPPRESSION and asked.cause in {None, one[1].cause}
    ]
    page, cursor = _page(found, asked)
    return admin.ListSuppressionsResponse(
        suppressions=[_with_subject(memory, key, record, now) for key, record in page],
        next_page_token=parse_admin.page_token(parse_admin.suppressions_list(asked.cause), cursor),
    ).SerializeToString()


def _decided(memory: Memory, keys: Sequence[SubjectKey], query: Query, now: Instant) -> pb.Decision:
    facts = memory.facts(keys)
    return told_of(decide(facts, query, now), facts.records, now)


def _require_token(memory: Memory, text: str) -> None:
    if not text:
        return
    token = decode_token(text)
    if token.epoch != EPOCH:
        raise ConflictError(
            "the token is of another epoch: the store is another one; ask without a token",
            reason=ErrorReason.EPOCH_CHANGED,
        )
    if token.tenant_id != memory.tenant_id:
        raise ConflictError(
            f"the token of revision {token.revision} is of another tenant",
            reason=ErrorReason.STORE_MISMATCH,
            metadata={"revision": str(token.revision)},
        )
    if token.revision > memory.revision:
        raise UnavailableError(
            f"this fake is at revision {memory.revision} and the token at {token.revision}",
            reason=ErrorReason.NODE_BEHIND,
            metadata={"applied": str(memory.revision)},
        )


def _every(memory: Memory) -> list[tuple[SubjectKey, Record]]:
    keys = sorted(memory.ledger.records)
    return [(key, record) for key in keys for record in memory.standing(key)]


def _page(items: Sequence[tuple[str, T]], asked: PageAsked) -> tuple[list[T], str]:
    """Some of a list whose items stand after their cursors, and the cursor of the last."""
    left = [one for one in items if one[0] > asked.cursor]
    page = left[: asked.page_size]
    return [one for _, one in page], page[-1][0] if len(left) > len(page) else ""


def _scope(record: Record) -> Scope:
    return Scope(channel=record.channel, topic=record.topic)


def _with_subject(
    memory: Memory, key: SubjectKey, record: Record, now: Instant
) -> admin.SubjectRecord:
    subject = memory.subjects.get(key)
    return admin.SubjectRecord(
        subject=None if subject is None else told.subject(subject),
        record=in_full(memory, record, 0, now),
    )


def _position(memory: Memory, now: Instant) -> pb.Position:
    return told.position(memory.revision, memory.token(), now)


READS: Final[Mapping[str, ReadMethod]] = MappingProxyType(
    {
        "CheckSuppression": ReadMethod(read=checks.check, act=_check),
        "BatchCheckSuppression": ReadMethod(read=checks.batch_check, act=_check_many),
        "StreamCheckSuppression": ReadMethod(read=checks.stream_check, act=_stream_check),
        "GetPreferences": ReadMethod(read=parse.get_preferences, act=_get_preferences),
        "ListTopics": ReadMethod(read=parse_admin.list_topics, act=_list_topics),
        "ListHolds": ReadMethod(read=parse_admin.list_holds, act=_list_holds),
        "ListBatches": ReadMethod(read=parse_ways_back.list_batches, act=_list_batches),
        "ListSuppressions": ReadMethod(read=parse_admin.list_suppressions, act=_list_suppressions),
    }
)
"""By the method's name."""

"""The fake's answers about the past: why, and what happened, folded from its log."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from heed.as_of import require_history, require_past, revision_unknown, rules_of
from heed.decide import explain
from heed.model import RULE_VERSION, Channel, Instant, Query, Revision, SubjectKey
from heed.past import Past
from heed.testing.memory import LOOKUP, Memory
from heed.testing.reading import ReadMethod, hold_in_full, in_full, told_of
from heed.wire import format as told
from heed.wire import parse_admin, parse_audit
from heed.wire.asked import AsOf, AsOfPosition, ExplainAsked, HistoryAsked
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import types_pb2 as pb


def _explain(memory: Memory, asked: ExplainAsked, now: Instant) -> bytes:
    keys = [LOOKUP.key(subject) for subject in asked.subjects]
    rule_version = RULE_VERSION
    if isinstance(asked.as_of, AsOfPosition):
        rule_version = rules_of(asked.as_of.rule_version)
    if asked.as_of is None:
        revision, facts = memory.revision, memory.facts(keys)
    else:
        revision, now = _moment(memory, asked.as_of, now)
        past = Past()
        past.take(memory.changes(revision))
        facts = past.facts(keys)
    decision = explain(facts, asked.query, now, rule_version=rule_version)
    explained = told_of(decision, facts.records, now)
    for reason, voice in zip(explained.reasons, decision.reasons, strict=True):
        if voice.record is not None:
            reason.record.CopyFrom(in_full(memory, voice.record, voice.subject or 0, now))
        if voice.hold is not None:
            reason.hold.CopyFrom(hold_in_full(memory, voice.hold))
    return audit.ExplainResponse(
        decision=explained,
        position=told.position(revision, memory.token(revision), now, rule_version),
    ).SerializeToString()


def _get_history(memory: Memory, asked: HistoryAsked, now: Instant) -> bytes:
    keys = [LOOKUP.key(subject) for subject in asked.subjects]
    page, cursor = _history_page(memory, keys, asked, now)
    return audit.GetHistoryResponse(
        changes=page,
        next_page_token=parse_admin.page_token(parse_audit.HISTORY, cursor),
        position=told.position(memory.revision, memory.token(), now),
    ).SerializeToString()


def _export_subject(memory: Memory, asked: HistoryAsked, now: Instant) -> bytes:
    keys = [LOOKUP.key(subject) for subject in asked.subjects]
    page, cursor = _history_page(memory, keys, asked, now)
    answer = admin.ExportSubjectResponse(
        changes=page,
        next_page_token=parse_admin.page_token(parse_audit.EXPORTED, cursor),
        position=told.position(memory.revision, memory.token(), now),
    )
    if asked.after:
        return answer.SerializeToString()
    facts = memory.facts(keys)
    answer.subjects.extend(
        told.known_subject(memory.subjects.get(key), memory.erase_time(key)) for key in keys
    )
    answer.standing.extend(
        in_full(memory, record, at, now)
        for at, key in enumerate(keys)
        for record in memory.standing(key)
    )
    answer.decisions.extend(
        admin.ChannelDecision(
            channel=pb.Channel.ValueType(channel),
            decision=told_of(explain(facts, Query(channel=channel), now), facts.records, now),
        )
        for channel in Channel
        if channel is not Channel.ANY
    )
    return answer.SerializeToString()


def _history_page(
    memory: Memory, keys: Sequence[SubjectKey], asked: HistoryAsked, now: Instant
) -> tuple[list[audit.HistoricChange], str]:
    places: dict[SubjectKey | None, int] = {key: at for at, key in enumerate(keys)}
    found = [
        change
        for change in memory.changes(memory.revision)
        if change.subject in places and change.revision > asked.after
    ]
    page = found[: asked.page_size]
    cursor = str(page[-1].revision) if len(page) < len(found) else ""
    return [told.historic_change(one, places[one.subject], now) for one in page], cursor


def _moment(memory: Memory, as_of: AsOf, now: Instant) -> tuple[Revision, Instant]:
    if not isinstance(as_of, AsOfPosition):
        require_past(as_of, now)
        times = [change.commit_time for change in memory.log]
        return Revision(sum(time <= as_of for time in times)), as_of
    if as_of.revision > memory.revision:
        raise revision_unknown(as_of.revision, memory.revision)
    head = memory.head_at(as_of.revision)
    require_history(as_of.token, memory.tenant_id, head)
    return as_of.revision, head.commit_time if as_of.now is None else as_of.now


AUDITS: Final[Mapping[str, ReadMethod]] = MappingProxyType(
    {
        "Explain": ReadMethod(read=parse_audit.explain, act=_explain),
        "GetHistory": ReadMethod(read=parse_audit.get_history, act=_get_history),
        "ExportSubject": ReadMethod(read=parse_audit.export_subject, act=_export_subject),
    }
)
"""By the method's name."""

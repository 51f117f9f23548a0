"""The RPCs that say why, and what happened: parse, act, format."""

from collections.abc import Mapping, Sequence

from heed.model import Change, Instant, SubjectKey
from heed.wire import format as told
from heed.wire import parse_admin, parse_audit
from heed_proto.v1 import audit_service_pb2 as audit
from heed_server.auth.policy import Principal
from heed_server.rpc.reads import in_full, position
from heed_server.service import Service

HISTORY_BYTES_MAX = 1024 * 1024
"""Bytes of the changes of one page of a history, unless one alone has more: a page that is full of
long texts ends sooner than it was asked to."""


async def explain(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer Explain."""
    asked = parse_audit.explain(data)
    done = await service.explain(principal, asked)
    context, standing, now = done.context, done.standing, done.now
    # One subject may be named twice, in two spellings: each place has its records, as in a Check.
    people = context.keys_of(asked.subjects)
    recorded = {one.key for one in standing.records}
    with_records = [at for at, keys in enumerate(people) if recorded.intersection(keys)]
    explained = told.decision(done.decision, with_records, now)
    records = {(one.key, one.record.slot): one for one in standing.records}
    holds = {one.hold.hold_id: one for one in standing.holds}
    for reason, voice in zip(explained.reasons, done.decision.reasons, strict=True):
        if voice.record is not None:
            at = voice.subject or 0
            one = next(
                records[key, voice.record.slot]
                for key in people[at]
                if (key, voice.record.slot) in records
            )
            reason.record.CopyFrom(in_full(one, at, now))
        if voice.hold is not None:
            hold = holds[voice.hold.hold_id]
            reason.hold.CopyFrom(told.hold_in_full(hold.hold, hold.commit_time, hold.origin))
    return audit.ExplainResponse(
        decision=explained, position=position(context, standing.head, now, done.rule_version)
    ).SerializeToString()


async def get_history(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer GetHistory."""
    asked = parse_audit.get_history(data)
    found = await service.get_history(principal, asked)
    now = service.now()
    places: dict[SubjectKey | None, int] = {
        key: at for at, keys in enumerate(found.context.keys_of(asked.subjects)) for key in keys
    }
    changes, cursor = history_page(found.changes, places, asked.page_size, now)
    return audit.GetHistoryResponse(
        changes=changes,
        next_page_token=parse_admin.page_token(parse_audit.HISTORY, cursor),
        position=position(found.context, found.head, now),
    ).SerializeToString()


def history_page(
    found: Sequence[Change], places: Mapping[SubjectKey | None, int], page_size: int, now: Instant
) -> tuple[list[audit.HistoricChange], str]:
    """Return as many changes as a page takes, and the cursor after them; empty: these were all."""
    page: list[audit.HistoricChange] = []
    size = 0
    for change in found[:page_size]:
        historic = told.historic_change(change, places[change.subject], now)
        size += historic.ByteSize()
        if size > HISTORY_BYTES_MAX and page:
            break
        page.append(historic)
    return page, str(page[-1].revision) if len(page) < len(found) else ""

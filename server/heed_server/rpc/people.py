"""The RPCs about all that is known of one person: parse, act, format."""

from heed.model import SubjectKey
from heed.wire import format as told
from heed.wire import parse_admin, parse_audit
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import types_pb2 as pb
from heed_server.auth.policy import Principal
from heed_server.rpc.audits import history_page
from heed_server.rpc.reads import in_full, position
from heed_server.service import Service
from heed_server.service.people import KnownPerson


async def export_subject(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer ExportSubject: all but the changes on the first page alone."""
    asked = parse_audit.export_subject(data)
    person = await service.export_subject(principal, asked)
    places: dict[SubjectKey | None, int] = {
        key: at for at, keys in enumerate(person.keys) for key in keys
    }
    changes, cursor = history_page(person.changes, places, asked.page_size, person.now)
    answer = admin.ExportSubjectResponse(
        changes=changes,
        next_page_token=parse_admin.page_token(parse_audit.EXPORTED, cursor),
        position=position(person.context, person.standing.head, person.now),
    )
    if not asked.after:
        _tell_person(answer, person, places)
    return answer.SerializeToString()


def _tell_person(
    answer: admin.ExportSubjectResponse, person: KnownPerson, places: dict[SubjectKey | None, int]
) -> None:
    now = person.now
    recorded = {one.key for one in person.standing.records}
    with_records = [at for at, keys in enumerate(person.keys) if recorded.intersection(keys)]
    for keys in person.keys:
        known = [person.known[key] for key in keys]
        subject = next((one.subject for one in known if one.subject is not None), None)
        erase_times = [one.erase_time for one in known if one.erase_time is not None]
        answer.subjects.append(told.known_subject(subject, max(erase_times, default=None)))
    answer.standing.extend(in_full(one, places[one.key], now) for one in person.standing.records)
    answer.decisions.extend(
        admin.ChannelDecision(
            channel=pb.Channel.ValueType(channel),
            decision=told.decision(decision, with_records, now),
        )
        for channel, decision in person.decisions.items()
    )

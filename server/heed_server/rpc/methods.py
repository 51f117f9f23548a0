"""One row an RPC: how its bytes become a call of the service, and what comes of it bytes again.

A row reads like the line it is: parse, act, format. One that never waits is no coroutine: between
two calls of grpc.aio, whose caches are cold, each of those costs a Check some µs.
"""

import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from heed.wire import (
    checks,
    encoded,
    parse,
    parse_admin,
    parse_import,
    parse_offers,
    parse_watch,
    parse_ways_back,
)
from heed.wire.asked import CheckAsked
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import watch_service_pb2 as watch
from heed_server.auth.policy import Principal
from heed_server.propagation import is_propagated, unheard
from heed_server.rates import RateKind
from heed_server.rpc import approving, audits, hooks, linking, people, proofs, propagations, reads
from heed_server.service import Service
from heed_server.service.checks import Checks, SecondsLeft
from heed_server.writes import Appended

A = TypeVar("A")
S_contra = TypeVar("S_contra", contravariant=True)

WAIT_SHARE = 0.9
"""How much of what a call has left it may spend on waiting for others to apply what it wrote."""
WAITING_FOR_MAX = 100
"""The names that are told of those who were waited for."""


Answer = bytes | Coroutine[None, None, bytes]
"""An answer; or what to await for it, where there is something to wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnaryMethod(Generic[S_contra]):
    """A method with one request and one answer, by a service that has what it needs."""

    name: str
    answer: Callable[[S_contra, Principal, bytes, SecondsLeft], Answer]
    is_write: bool = False
    """Whether a failure that nobody foresaw may have come after a commit."""
    is_check: bool = False
    """Whether it is on the path of a message, where counting must be asked for."""
    rate: RateKind | None = None
    """What each call takes of its caller's rate; None: the service says, by what it holds."""
    has_room_always: bool = False
    """Whether it is taken on whatever is under way, and the service says what needs a place."""


def check(service: Checks, principal: Principal, data: bytes, seconds_left: SecondsLeft) -> Answer:
    """Answer CheckSuppression: at once, but for a token, whose revision may be ahead."""
    asked = checks.check(data)
    if asked.token:
        return _check_from(service, principal, asked, seconds_left)
    return encoded.answer(*service.check(principal, asked))


async def batch_check(
    service: Checks, principal: Principal, data: bytes, seconds_left: SecondsLeft
) -> bytes:
    """Answer BatchCheckSuppression."""
    done = await service.batch_check(principal, checks.batch_check(data), seconds_left)
    return encoded.batch_answer(done.answered, done.position, done.now)


async def report_applied(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer ReportApplied."""
    service.report_applied(principal, parse_watch.report_applied(data))
    return b""


async def set_preference(
    service: Service, principal: Principal, data: bytes, seconds_left: SecondsLeft
) -> bytes:
    """Answer SetPreference, and wait until everybody has it where that is asked for."""
    asked = parse.set_preference(data)
    appended = await service.set_preference(principal, asked)
    answer = _first_or_replayed(preference.SetPreferenceResponse, appended)
    if asked.wait_seconds is None:
        return answer
    left = seconds_left()
    limit_seconds = min(asked.wait_seconds, math.inf if left is None else left * WAIT_SHARE)
    progress = await service.propagated(
        principal, asked.call.tenant, appended.revision, limit_seconds
    )
    waited = preference.SetPreferenceResponse(
        propagated=is_propagated(progress), waiting_for=unheard(progress, WAITING_FOR_MAX)
    )
    return answer + waited.SerializeToString()


async def erase_subject(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer EraseSubject; whether it is overwritten is of this call, not of the first."""
    asked = parse_admin.erase_subject(data)
    appended, is_overwritten = await service.erase_subject(principal, asked)
    answer = _first_or_replayed(admin.EraseSubjectResponse, appended)
    return answer + admin.EraseSubjectResponse(overwritten=is_overwritten).SerializeToString()


async def _check_from(
    service: Checks, principal: Principal, asked: CheckAsked, seconds_left: SecondsLeft
) -> bytes:
    return encoded.answer(*await service.check_from(principal, asked, seconds_left))


def _write(
    response: type[Message],
    read: Callable[[bytes], A],
    act: Callable[[Service, Principal, A], Awaitable[Appended]],
    rate: RateKind | None = RateKind.WRITES,
) -> UnaryMethod[Service]:
    """A method that writes: its answer was encoded under the log's lock, or is a replay's."""

    async def answer(
        service: Service, principal: Principal, data: bytes, _seconds_left: SecondsLeft
    ) -> bytes:
        return _first_or_replayed(response, await act(service, principal, read(data)))

    name = response.DESCRIPTOR.name.removesuffix("Response")
    return UnaryMethod(name=name, answer=answer, is_write=True, rate=rate)


def _first_or_replayed(response: type[Message], appended: Appended) -> bytes:
    if not appended.replayed:
        return appended.answer
    return appended.answer + bytes([response.DESCRIPTOR.fields_by_name["replayed"].number << 3, 1])


def _read(
    name: str,
    answer: Callable[[Service, Principal, bytes], Awaitable[bytes]],
    *,
    is_write: bool = False,
    is_free: bool = False,
) -> UnaryMethod[Service]:
    """A method that does not ask how long it may take. `is_free`: it has no rate."""
    rate = RateKind.WRITES if is_write else RateKind.READS

    async def answer_when_done(
        service: Service, principal: Principal, data: bytes, _seconds_left: SecondsLeft
    ) -> bytes:
        return await answer(service, principal, data)

    return UnaryMethod(
        name=name,
        answer=answer_when_done,
        is_write=is_write,
        rate=None if is_free else rate,
    )


CHECK_METHODS: tuple[UnaryMethod[Checks], ...] = (
    UnaryMethod(name="CheckSuppression", answer=check, is_check=True),
    UnaryMethod(name="BatchCheckSuppression", answer=batch_check, is_check=True),
)
"""Those that need an index and no store."""

_UNARY: tuple[UnaryMethod[Service], ...] = (
    *CHECK_METHODS,
    UnaryMethod(name="SetPreference", answer=set_preference, is_write=True, has_room_always=True),
    _write(
        preference.BatchSetPreferencesResponse,
        parse.batch_set_preferences,
        Service.batch_set_preferences,
        rate=None,
    ),
    _read("GetPreferences", reads.get_preferences),
    _read("MakeLinks", linking.make_links, is_free=True),  # nothing is read
    _read("MakePageLinks", linking.make_page_links, is_free=True),  # the same
    _read("Explain", audits.explain),
    _read("GetHistory", audits.get_history),
    _read("GetCheckpoint", proofs.get_checkpoint),
    _read("GetReceipt", proofs.get_receipt),
    _read("GetInclusionProof", proofs.get_inclusion_proof),
    _read("GetConsistencyProof", proofs.get_consistency_proof),
    _read("GetTile", proofs.get_tile),
    _read("CreateTenant", reads.create_tenant, is_write=True),
    _read("ListTenants", reads.list_tenants),
    _write(admin.DeclareTopicResponse, parse_admin.declare_topic, Service.declare_topic),
    _write(admin.LoosenTopicResponse, parse_admin.loosen_topic, Service.loosen_topic),
    _write(admin.RetireTopicResponse, parse_admin.retire_topic, Service.retire_topic),
    _read("ListTopics", reads.list_topics),
    _write(admin.PlaceHoldResponse, parse_admin.place_hold, Service.place_hold),
    _write(admin.LiftHoldResponse, parse_admin.lift_hold, Service.lift_hold),
    _read("ListHolds", reads.list_holds),
    _write(
        admin.AddSuppressionsResponse,
        parse_admin.add_suppressions,
        Service.add_suppressions,
        rate=None,
    ),
    _write(
        admin.ReleaseSuppressionResponse,
        parse_admin.release_suppression,
        Service.release_suppression,
    ),
    _read("ExportSubject", people.export_subject),
    _read("EraseSubject", erase_subject, is_write=True),
    _read("ListSuppressions", reads.list_suppressions),
    _write(
        admin.ImportRecordsResponse,
        parse_import.import_records,
        Service.import_records,
        rate=None,
    ),
    _write(admin.RevertBatchResponse, parse_ways_back.revert_batch, Service.revert_batch),
    _write(
        admin.ReleaseSuppressionsResponse,
        parse_ways_back.release_suppressions,
        Service.release_suppressions,
    ),
    _read("ListBatches", reads.list_batches),
    _read("ListApprovals", approving.list_approvals),
    _read("GrantApproval", approving.grant_approval, is_write=True),
    _read("RejectApproval", approving.reject_approval, is_write=True),
    # Every stream reports, as often as its staleness asks for; there are so many streams.
    _read("ReportApplied", report_applied, is_free=True),
    _write(
        watch.OfferRecordsResponse, parse_offers.offer_records, Service.offer_records, rate=None
    ),
    _read("GetPropagation", propagations.get_propagation),
    _read("GetDeadlines", propagations.get_deadlines),
    _read("ListWebhookTargets", hooks.list_webhook_targets),
    _read("ListDeadLetters", hooks.list_dead_letters),
    _read("ReplayDeadLetters", hooks.replay_dead_letters, is_write=True),
    _read("DiscardDeadLetters", hooks.discard_dead_letters, is_write=True),
    _read("DeclareSubscriber", propagations.declare_subscriber, is_write=True),
    _read("WithdrawSubscriber", propagations.withdraw_subscriber, is_write=True),
)

UNARY_METHODS = {method.name: method for method in _UNARY}
"""By the method's name."""

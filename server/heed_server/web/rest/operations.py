"""One row a request: how its body becomes a call of the contract, and what comes of it a body.

A call goes through the row that answers gRPC callers (`heed_server.rpc.methods`), so that both are
asked for the same rights, rates and places, and told the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message
from msgspec import Struct

from heed_proto.v1 import preference_service_pb2 as preference
from heed_server.rpc.methods import UNARY_METHODS, UnaryMethod
from heed_server.service import Service
from heed_server.web.rest import answers, asked, messages, told
from heed_server.web.rest.asked import Body
from heed_server.web.rest.told import Told

B = TypeVar("B", bound=Body)

Answered = tuple[HTTPStatus, Struct | None]
"""A status, and the body that comes with it if any does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[B]):
    """What a POST to one path does."""

    path: str
    name: str
    """What programs that are made of the OpenAPI call it."""
    summary: str
    does: str
    """What it does, for the docs."""
    method: UnaryMethod[Service]
    body: type[B]
    told: type[Told] | None
    """What its answer is; None: it has no body."""
    message: Callable[[B, str], Message]
    """The contract's message that a body is, under a key."""
    answered: Callable[[bytes], Answered]
    """What the contract's answer is told as."""
    pointer: Callable[[str], str] = messages.pointer
    """From a path of the message to the place in the body that it was made of."""
    is_keyed: bool = False
    """Whether it is named by a key, so that it is done once however often it is sent."""
    is_of_one: bool = False
    """Whether it is about one person or message, so that its body is small."""


def _unkeyed(message: Callable[[B], Message]) -> Callable[[B, str], Message]:
    def message_of(body: B, _key: str) -> Message:
        return message(body)

    return message_of


def _ok(answer: Callable[[bytes], Struct]) -> Callable[[bytes], Answered]:
    def answered(data: bytes) -> Answered:
        return HTTPStatus.OK, answer(data)

    return answered


def _chosen(data: bytes) -> Answered:
    answer = answers.chosen(data)
    return (HTTPStatus.OK if answer.replayed else HTTPStatus.CREATED), answer


def _done(_data: bytes) -> Answered:
    return HTTPStatus.NO_CONTENT, None


_STOPS: Final = (
    "Without `scopes` it is about everything. Answered once it is committed and fsynced."
)


def _choice(
    path: str,
    name: str,
    summary: str,
    does: str,
    body: type[B],
    message: Callable[[B, str], preference.SetPreferenceRequest],
) -> Operation[B]:
    return Operation(
        path=path,
        name=name,
        summary=summary,
        does=f"{does} {_STOPS}",
        method=UNARY_METHODS["SetPreference"],
        body=body,
        told=told.Chosen,
        message=message,
        answered=_chosen,
        pointer=messages.choices_pointer,
        is_keyed=True,
        is_of_one=True,
    )


OPERATIONS: tuple[Operation[Any], ...] = (
    Operation(
        path="/v1/checks",
        name="check",
        summary="Ask whether one message may be sent now",
        does="Send on the verdict `allowed`, and on nothing else: suppressed is an answer, and any "
        "status but 200 means: do not send. Needs the right `check`.",
        method=UNARY_METHODS["CheckSuppression"],
        body=asked.Check,
        told=told.Checked,
        message=_unkeyed(messages.check),
        answered=_ok(answers.checked),
        pointer=messages.check_pointer,
        is_of_one=True,
    ),
    Operation(
        path="/v1/checks/batch",
        name="checkBatch",
        summary="Ask whether many messages may be sent",
        does="All are answered at one revision, in their order, or none is. Needs the right "
        "`check`.",
        method=UNARY_METHODS["BatchCheckSuppression"],
        body=asked.CheckBatch,
        told=told.CheckedBatch,
        message=_unkeyed(messages.check_batch),
        answered=_ok(answers.checked_batch),
    ),
    Operation(
        path="/v1/preferences/lookup",
        name="lookUpPreferences",
        summary="Say what stands for a person",
        does="Choices and suppressions, ended ones too, with who said so. A POST, so that no "
        "address stands in a URL. Needs the right `write`.",
        method=UNARY_METHODS["GetPreferences"],
        body=asked.Lookup,
        told=told.Preferences,
        message=_unkeyed(messages.lookup),
        answered=_ok(answers.preferences),
        is_of_one=True,
    ),
    _choice(
        "/v1/opt-outs",
        "optOut",
        "Stop messages to a person",
        "It stands until the person, later, opts back in. Needs the right `write`.",
        asked.OptOuts,
        messages.opt_outs,
    ),
    _choice(
        "/v1/opt-ins",
        "optIn",
        "Let messages to a person through again",
        "It lifts earlier opt-outs at the same or a wider scope, within its own; what still stops "
        "messages is in `standing`. Needs the rights `write` and `consent`.",
        asked.OptIns,
        messages.opt_ins,
    ),
    _choice(
        "/v1/pauses",
        "pause",
        "Stop messages to a person for a while",
        "Its end restores exactly what stood before. Needs the right `write`.",
        asked.Pauses,
        messages.pauses,
    ),
    _choice(
        "/v1/pauses/end",
        "endPause",
        "End a person's own pauses now",
        "Those at exactly these scopes. Needs the right `write`.",
        asked.EndedPauses,
        messages.ended_pauses,
    ),
    _choice(
        "/v1/quiet-hours",
        "setQuietHours",
        "Stop messages to a person at some hours",
        "By the clock of the person's wall, until they say otherwise; mandatory messages are sent "
        "at any hour. At one scope the latest replace the earlier. Needs the right `write`.",
        asked.QuietHours,
        messages.quiet_hours,
    ),
    _choice(
        "/v1/quiet-hours/end",
        "endQuietHours",
        "End a person's own quiet hours now",
        "Those at exactly these scopes. Needs the right `write`.",
        asked.EndedQuietHours,
        messages.ended_quiet_hours,
    ),
    Operation(
        path="/v1/changes/applied",
        name="reportApplied",
        summary="Say how far the reader of a stream has applied it",
        does="Sends a probe, which a later heartbeat of the stream gives back. To be asked of the "
        "node that has the stream, at least every third of its `max_staleness_seconds`. Needs the "
        "right `watch`.",
        method=UNARY_METHODS["ReportApplied"],
        body=asked.Applied,
        told=None,
        message=_unkeyed(messages.applied),
        answered=_done,
        is_of_one=True,
    ),
)
"""Every one, in the order in which the docs tell of them."""

"""One row a request: how its body becomes a call of the contract, and what comes of it a body.

A call goes through the row that answers gRPC callers (`heed_server.rpc.methods`), so that both are
asked for the same rights, rates and places, and told the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message
from msgspec import Struct

from heed_proto.v1 import preference_service_pb2 as preference
from heed_server.rpc.methods import UNARY_METHODS, UnaryMethod
from heed_server.service import Service
from heed_server.web.rest import answers, asked, messages
from heed_server.web.rest.asked import Body

B = TypeVar("B", bound=Body)

Answered = tuple[HTTPStatus, Struct | None]
"""A status, and the body that comes with it if any does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[B]):
    """What a POST to one path does."""

    path: str
    summary: str
    method: UnaryMethod[Service]
    body: type[B]
    message: Callable[[B, str], Message]
    """The contract's message that a body is, under a key."""
    answered: Callable[[bytes], Answered]
    """What the contract's answer is told as."""
    pointer: messages.Pointer = messages.pointer
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


def _choice(
    path: str,
    summary: str,
    body: type[B],
    message: Callable[[B, str], preference.SetPreferenceRequest],
) -> Operation[B]:
    return Operation(
        path=path,
        summary=summary,
        method=UNARY_METHODS["SetPreference"],
        body=body,
        message=message,
        answered=_chosen,
        pointer=messages.choices_pointer,
        is_keyed=True,
        is_of_one=True,
    )


OPERATIONS: tuple[Operation[Any], ...] = (
    Operation(
        path="/v1/checks",
        summary="Ask whether one message may be sent now",
        method=UNARY_METHODS["CheckSuppression"],
        body=asked.Check,
        message=_unkeyed(messages.check),
        answered=_ok(answers.checked),
        pointer=messages.check_pointer,
        is_of_one=True,
    ),
    Operation(
        path="/v1/checks/batch",
        summary="Ask whether many messages may be sent, all at one revision",
        method=UNARY_METHODS["BatchCheckSuppression"],
        body=asked.CheckBatch,
        message=_unkeyed(messages.check_batch),
        answered=_ok(answers.checked_batch),
    ),
    Operation(
        path="/v1/preferences/lookup",
        summary="Say what stands for a person",
        method=UNARY_METHODS["GetPreferences"],
        body=asked.Lookup,
        message=_unkeyed(messages.lookup),
        answered=_ok(answers.preferences),
        is_of_one=True,
    ),
    _choice("/v1/opt-outs", "Stop messages to a person", asked.OptOuts, messages.opt_outs),
    _choice("/v1/opt-ins", "Let messages through again", asked.OptIns, messages.opt_ins),
    _choice("/v1/pauses", "Stop messages for a while", asked.Pauses, messages.pauses),
    _choice("/v1/pauses/end", "End pauses now", asked.EndedPauses, messages.ended_pauses),
)
"""Every one, in the order in which the docs tell of them."""

"""`heed call`: any method of any service that the server has, by reflection, in JSON.

Unary or streaming makes no difference on the wire, so each call is made as a stream of requests
(each a JSON value of the argument or of stdin) and a stream of answers (each a line of JSON).
"""

import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import grpc
import typer
from google.protobuf import descriptor_pool, json_format, message_factory

from heed.cli.channels import failure_of, opened
from heed.cli.options import Session, connected
from heed.errors import invalid_field

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
    from google.protobuf.message import Message


@connected
def call(
    session: Session,
    method: Annotated[
        str | None, typer.Argument(help="heed.v1.PreferenceService/CheckSuppression")
    ] = None,
    request: Annotated[
        str | None, typer.Argument(help="The request as JSON; - reads stdin; {} if not given")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List every method")] = False,
    template: Annotated[
        bool, typer.Option("--template", help="Print a request of this method to fill in")
    ] = False,
) -> None:
    """Call any method of the server by its name. Requests and answers are JSON."""
    with opened(session) as channel:
        try:
            methods = _methods(channel, session)
            if list_ or method is None:
                _print_methods(session, methods)
                return
            wanted = _named(methods, method)
            if template:
                print(_template(wanted))
                return
            for answer in _call(channel, session, wanted, _requests(wanted, request)):
                indent = None if session.json else 2
                print(json_format.MessageToJson(answer, indent=indent, ensure_ascii=False))
        except grpc.RpcError as error:
            raise failure_of(error, session) from None


def _methods(channel: grpc.Channel, session: Session) -> "dict[str, MethodDescriptor]":
    """Every method that the server has, by name."""
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
        ProtoReflectionDescriptorDatabase,
    )

    grpc.channel_ready_future(channel).result(timeout=session.timeout_seconds)
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = descriptor_pool.DescriptorPool(database)
    return {
        f"{service}/{method.name}": method
        for service in sorted(database.get_services())
        for method in pool.FindServiceByName(service).methods
    }


def _named(methods: "dict[str, MethodDescriptor]", name: str) -> "MethodDescriptor":
    """The method of this name, which may leave out the service if only one has it."""
    written = name.strip("/")
    found = [one for path, one in methods.items() if written in {path, path.rpartition("/")[2]}]
    if len(found) == 1:
        return found[0]
    import difflib

    nearest = difflib.get_close_matches(written, [*methods], n=1, cutoff=0.3)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    raise invalid_field(
        "method", f"{written[:100]!r} is not one; {hint}`heed call --list` names all"
    )


def _requests(method: "MethodDescriptor", text: str | None) -> "Iterator[Message]":
    """The requests, each one JSON value of what was given."""
    if text == "-":
        text = sys.stdin.read()
    class_ = message_factory.GetMessageClass(method.input_type)
    for value in _values(text or "{}"):
        try:
            yield json_format.ParseDict(value, class_())
        except json_format.ParseError as error:
            raise invalid_field(
                "request", f"is no {method.input_type.full_name}: {error}"
            ) from None


def _values(text: str) -> Iterator[dict[str, object]]:
    """Every JSON value of a text, whatever white space is between them."""
    decoder = json.JSONDecoder()
    at = 0
    while rest := text[at:].lstrip():
        try:
            value, end = decoder.raw_decode(rest)
        except ValueError as error:
            raise invalid_field("request", f"is no JSON: {error}") from None
        if not isinstance(value, dict):
            raise invalid_field("request", "is no JSON object")
        yield value
        at = len(text) - len(rest) + end


def _call(
    channel: grpc.Channel,
    session: Session,
    method: "MethodDescriptor",
    requests: "Iterable[Message]",
) -> "Iterator[Message]":
    given = list(requests)
    if not method.client_streaming and len(given) != 1:
        raise invalid_field("request", f"has {len(given)} values; {method.name} takes one")
    answer = message_factory.GetMessageClass(method.output_type)
    start = channel.stream_stream(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=_encoded,
        response_deserializer=answer.FromString,
    )
    seconds = session.long_timeout_seconds if method.server_streaming else session.timeout_seconds
    yield from start(iter(given), timeout=seconds, metadata=session.target().metadata)


def _encoded(message: "Message") -> bytes:
    return message.SerializeToString()


def _print_methods(session: Session, methods: "dict[str, MethodDescriptor]") -> None:
    for service, of_service in itertools.groupby(methods, lambda path: path.partition("/")[0]):
        if not session.json:
            print(service)
        for path in of_service:
            method = methods[path]
            if session.json:
                told = {
                    "method": path,
                    "request": method.input_type.full_name,
                    "answer": method.output_type.full_name,
                    "request_stream": method.client_streaming,
                    "answer_stream": method.server_streaming,
                }
                print(json.dumps(told))
                continue
            request = f"{'stream ' if method.client_streaming else ''}{method.input_type.name}"
            answer = f"{'stream ' if method.server_streaming else ''}{method.output_type.name}"
            print(f"  {path}({request}) -> {answer}")


def _template(method: "MethodDescriptor") -> str:
    return json.dumps(_unfilled(method.input_type, ()), indent=2)


def _unfilled(message: "Descriptor", within: tuple[str, ...]) -> dict[str, object]:
    """Every field of a message as the JSON of its absence; of alternatives only the first."""
    within = (*within, message.full_name)
    return {
        field.json_name: _unfilled_field(field, within)
        for field in message.fields
        if field.containing_oneof is None or field.containing_oneof.fields[0].name == field.name
    }


def _unfilled_field(field: "FieldDescriptor", within: tuple[str, ...]) -> object:
    inner = field.message_type
    if inner is not None:
        is_opaque = inner.full_name in within or inner.file.package == "google.protobuf"
        if field.is_repeated:
            return [] if is_opaque else [_unfilled(inner, within)]
        return None if is_opaque else _unfilled(inner, within)
    if field.is_repeated:
        return []
    if field.enum_type is not None:
        return field.enum_type.values[0].name
    return "" if field.cpp_type == field.CPPTYPE_STRING else field.default_value

"""The OpenAPI of REST, made from what REST answers by: its rows, its bodies and its statuses.

Law: it says no more than is held, and what is held is here; tests/edges/test_rest_contract.py asks
the server by it.
Source: OpenAPI 3.1.1; JSON Schema 2020-12.
"""

import functools
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from heed.wire import limits
from heed_server.web.rest import changes, followed, problems, words
from heed_server.web.rest.asked import TOPIC_PATTERN
from heed_server.web.rest.exchange import EVENTS, JSON
from heed_server.web.rest.operations import OPERATIONS, Operation
from heed_server.web.rest.problems import Problem

PATH: Final = "/v1/openapi.json"

Json = dict[str, Any]

_INTRODUCTION: Final = """\
Answers one question before every message: may I send this, to this address, on this channel, about
this topic, now? And takes a person's choice once, keeps it for ever in order, and carries it to
every service that sends.

Send on the verdict `allowed`, and on nothing else: a status other than 200, a body that you cannot
read, or no answer at all means: do not send.
"""
_PROBLEMS: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.BAD_REQUEST: "The body is no JSON, or a header or a parameter is wrong.",
    HTTPStatus.UNAUTHORIZED: "No good credential was given.",
    HTTPStatus.FORBIDDEN: "The credential lacks a right.",
    HTTPStatus.NOT_FOUND: "What is named is not there, or not yours to see.",
    HTTPStatus.NOT_ACCEPTABLE: "The answer is of a type that is not accepted.",
    HTTPStatus.CONFLICT: "It does not fit what stands. Nothing changed.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body does not say to be JSON.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Something is wrong: `violations` says where. Nothing "
    "changed.",
    HTTPStatus.TOO_MANY_REQUESTS: "A limit is reached. Wait, and ask again.",
    HTTPStatus.SERVICE_UNAVAILABLE: "No answer could be had. Of a check: do not send. A write may "
    "have happened: send it again, with the same key.",
}
_ANSWERED: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.OK: "Answered.",
    HTTPStatus.CREATED: "Committed and fsynced.",
    HTTPStatus.NO_CONTENT: "Taken.",
}
_RETRY_AFTER: Final = {
    "Retry-After": {
        "description": "After so many seconds.",
        "schema": {"type": "integer", "minimum": 1},
    }
}
_HEADERS_OF: Final[Mapping[HTTPStatus, Json]] = {
    HTTPStatus.UNAUTHORIZED: {
        "WWW-Authenticate": {"description": "Which credential.", "schema": {"type": "string"}}
    },
    HTTPStatus.TOO_MANY_REQUESTS: _RETRY_AFTER,
    HTTPStatus.SERVICE_UNAVAILABLE: _RETRY_AFTER,
}
_OF_BODIES: Final = (
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)


@functools.cache
def document() -> Json:
    """Return the document. Shared: copy it before you change it."""
    paths = {one.path: {"post": _operation(one)} for one in OPERATIONS}
    paths[changes.PATH] = {"get": _changes()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "heed", "version": version("heed-server"), "description": _INTRODUCTION},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, or a JWT of an issuer that the server knows. Where "
                    "the server asks callers for certificates, one of those speaks for a request "
                    "that carries neither.",
                }
            },
        },
    }


def encoded_document() -> bytes:
    """Return the document as JSON."""
    return msgspec.json.encode(document())


def _operation(one: Operation[Any]) -> Json:
    statuses = [HTTPStatus.CREATED, HTTPStatus.OK] if one.is_keyed else [HTTPStatus.OK]
    if one.told is None:
        statuses = [HTTPStatus.NO_CONTENT]
    described: Json = {
        "operationId": one.name,
        "summary": one.summary,
        "description": one.does,
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": _ref("Asked", one.body)}},
        },
        "responses": {
            **{str(int(status)): _answer(status, one.told) for status in statuses},
            **_refusals(_PROBLEMS),
        },
    }
    if one.is_keyed:
        described["parameters"] = [_key_parameter()]
    return described


def _key_parameter() -> Json:
    return {
        "name": problems.KEY_HEADER,
        "in": "header",
        "required": True,
        "description": "Names this request for ever: the same request with the same key is done "
        "once, and answered 200 with the first answer from then on. Best a random UUID.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": limits.IDEMPOTENCY_KEY_CHARACTERS_MAX,
            "pattern": r"^[\u0021\u0023-\u007e](?:[\u0020-\u007e]*[\u0021-\u007e])?$",
        },
        "example": "5f3a09c1-7e02-4a44-9d3c-6a5f2b1c8e70",
    }


def _changes() -> Json:
    return {
        "operationId": "followChanges",
        "summary": "Follow the log as server-sent events",
        "description": "All that stands, and then every change, in order, for as long as you read. "
        "Come back with the last `id` that you applied, and nothing is left out; where the log "
        "cannot go on from there, `reset` to `reset_end` tell all that stands anew. Subjects are "
        "told by their keyed hash alone. Needs the right `watch`.",
        "parameters": [
            _parameter(
                "subscriber",
                "Who follows, the same after each start. No address in it.",
                {"type": "string", "minLength": 1, "maxLength": limits.SUBSCRIBER_CHARACTERS_MAX,
                 "pattern": r"^[\u0020-\u007e]+$"},
                required=True,
                example="mailer-7",
            ),
            _parameter(
                "channels",
                "The channels whose records are wanted. Absent: all.",
                {"type": "array", "maxItems": limits.WATCH_CHANNELS_MAX,
                 "items": {"type": "string", "enum": list(words.MESSAGE_CHANNELS.all)}},
                style="form",
                explode=True,
            ),
            _parameter(
                "topics",
                "The topics whose records are wanted, with all beneath them. Absent: all.",
                {"type": "array", "maxItems": limits.WATCH_TOPICS_MAX,
                 "items": {"type": "string", "pattern": TOPIC_PATTERN,
                           "maxLength": limits.TOPIC_CHARACTERS_MAX}},
                style="form",
                explode=True,
            ),
            _parameter(
                "instance",
                "Which run of the subscriber it is: a random name made at its start.",
                {"type": "string", "maxLength": limits.INSTANCE_CHARACTERS_MAX,
                 "pattern": r"^[\u0020-\u007e]*$"},
            ),
            _parameter(
                "max_staleness_seconds",
                "How old your knowledge may become before you stop to allow by it. Absent: 5.",
                {"type": "number", "minimum": limits.STALENESS_SECONDS_MIN,
                 "maximum": limits.STALENESS_SECONDS_MAX},
            ),
            _parameter(
                "rule_version",
                "The highest version of the decision's rules that you know. Absent: you do not "
                "decide.",
                {"type": "integer", "minimum": 0, "maximum": changes.VERSION_MAX},
            ),
            _parameter(
                "normaliser_version",
                "The highest version of the normaliser that you know. Absent: you make no keys.",
                {"type": "integer", "minimum": 0, "maximum": changes.VERSION_MAX},
            ),
            _parameter(
                "tenant",
                "The tenant's name. Absent: the credential's, or the only one there is.",
                {"type": "string"},
            ),
            {
                "name": changes.POSITION_HEADER,
                "in": "header",
                "description": "The `id` of the last event that you applied.",
                "schema": {"type": "string", "format": "heed-token"},
            },
        ],
        "responses": {
            str(int(HTTPStatus.OK)): {
                "description": "Events without end: "
                + ", ".join(f"`{name}`" for name in followed.BY_EVENT)
                + "; and `problem`, the last one of a stream that ends by an error. The data of "
                "each is the schema of its name.",
                "content": {EVENTS: {"schema": _event()}},
            },
            **_refusals(set(_PROBLEMS).difference(_OF_BODIES)),
        },
    }  # fmt: skip


def _event() -> Json:
    """One event: its name, its data as JSON in a string, and where there is one its id."""
    bodies: Mapping[str, type[Struct]] = {**followed.BY_EVENT, "problem": Problem}
    return {
        "type": "object",
        "description": "Each event.",
        "required": ["event", "data"],
        "properties": {
            "id": {"type": "string"},
            "retry": {"type": "integer"},
        },
        "oneOf": [
            {
                "properties": {
                    "event": {"const": name},
                    "data": {
                        "type": "string",
                        "contentMediaType": JSON,
                        "contentSchema": _ref("", body),
                    },
                }
            }
            for name, body in bodies.items()
        ],
    }


def _parameter(
    name: str, meaning: str, schema: Json, *, required: bool = False, **more: object
) -> Json:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": meaning,
        "schema": schema,
        **more,
    }


def _answer(status: HTTPStatus, body: type[Struct] | None) -> Json:
    said: Json = {"description": _ANSWERED[status]}
    if body is not None:
        said["content"] = {JSON: {"schema": _ref("", body)}}
    if status is HTTPStatus.OK and body is not None and body.__name__ == "Chosen":
        said["description"] = "Committed before, by a request with the same key: the first answer."
    return said


def _refusals(statuses: Mapping[HTTPStatus, str] | set[HTTPStatus]) -> Json:
    return {
        str(int(status)): {
            "description": _PROBLEMS[status],
            "headers": _HEADERS_OF.get(status, {}),
            "content": {problems.MEDIA_TYPE: {"schema": _ref("", Problem)}},
        }
        for status in sorted(statuses)
    }


def _ref(prefix: str, kind: type[Struct]) -> Json:
    return {"$ref": f"#/components/schemas/{prefix}{kind.__name__}"}


def _schemas() -> Json:
    told = [one.told for one in OPERATIONS if one.told is not None]
    answers = _components("", [*told, *followed.BY_EVENT.values(), Problem])
    bodies = _components("Asked", [one.body for one in OPERATIONS])
    bodies["AskedSubject"] |= {"minProperties": 1, "maxProperties": 1}
    return dict(sorted((answers | bodies).items()))


def _components(prefix: str, kinds: Sequence[type[Struct]]) -> Json:
    """The schemas of bodies and of what they are made of, by their names."""
    template = f"#/components/schemas/{prefix}{{name}}"
    _, found = msgspec.json.schema_components(kinds, ref_template=template)
    return {f"{prefix}{name}": cast("Json", schema) for name, schema in found.items()}

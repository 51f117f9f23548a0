"""Bodies to values, strictly: what is not exactly what is asked for is refused, all of it named.

Law: a violation names its place as a JSON pointer, and never repeats what was sent.
Source: RFC 8259; RFC 6901.
"""

import difflib
import functools
from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

import msgspec
from msgspec import inspect

from heed.errors import ErrorReason, InvalidArgumentError
from heed.wire.violations import Violations
from heed_server.web.rest.asked import Body

B = TypeVar("B", bound=Body)

NAME_CHARACTERS_MAX: Final = 40
"""Characters that are told of a name that is not known."""


def read(kind: type[B], data: bytes) -> B:
    """Return the body that these bytes are.

    Raises:
        InvalidArgumentError: MALFORMED_MESSAGE, it is no JSON; INVALID_FIELD, it is another body.
    """
    try:
        return cast("B", _decoder(kind).decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Told by what the body holds: the decoder names one mistake, and only in words.
        raise _refusal(kind, data) from None


def pointer(*parts: str | int) -> str:
    """Return the JSON pointer of a member, by the names and positions that lead to it."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


@functools.cache
def _decoder(kind: type[Body]) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(kind)


def _refusal(kind: type[Body], data: bytes) -> InvalidArgumentError:
    try:
        found: object = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return not_json(data)
    violations = Violations()
    _judge(inspect.type_info(kind), found, "", violations)
    if not violations.count:  # it is a body, but not in the decoder's eyes
        return not_json(data)
    return violations.as_error()


def not_json(data: bytes) -> InvalidArgumentError:
    """Return the error for a body that is no JSON."""
    return InvalidArgumentError(
        f"the body ({len(data)} bytes) is no JSON in UTF-8",
        reason=ErrorReason.MALFORMED_MESSAGE,
        metadata={"message": "application/json"},
    )


def _judge(type_: inspect.Type, found: object, at: str, violations: Violations) -> None:
    """Note where a value is not of a type."""
    match type_:
        case inspect.Metadata():
            _judge(type_.type, found, at, violations)
        case inspect.StructType() if isinstance(found, dict):
            _judge_members(type_, cast("Mapping[str, object]", found), at, violations)
        case inspect.ListType() if isinstance(found, list):
            for index, item in enumerate(cast("list[object]", found)):
                _judge(type_.item_type, item, f"{at}/{index}", violations)
        case inspect.StrType() if isinstance(found, str):
            return
        case inspect.BoolType() if isinstance(found, bool):
            return
        case inspect.IntType() if isinstance(found, int) and not isinstance(found, bool):
            return
        case inspect.FloatType() if isinstance(found, int | float) and not isinstance(found, bool):
            return
        case _:
            wanted = _WANTED.get(type(type_), "something else")
            violations.add(at, f"is {_said(found)}, and has to be {wanted}")


def _judge_members(
    struct: inspect.StructType, found: Mapping[str, object], at: str, violations: Violations
) -> None:
    known = {field.encode_name: field for field in struct.fields}
    for name, value in found.items():
        field = known.get(name)
        if field is not None:
            _judge(field.type, value, at + pointer(name), violations)
            continue
        nearest = difflib.get_close_matches(name[:NAME_CHARACTERS_MAX], known, n=1)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        violations.add(
            at + pointer(name[:NAME_CHARACTERS_MAX]),
            f"is no member here; {hint}there are {', '.join(known)}",
        )
    for name, field in known.items():
        if field.required and name not in found:
            violations.add(at + pointer(name), "is required")


def _said(found: object) -> str:
    match found:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list():
            return "an array"
        case _:
            return "an object"


_WANTED: Final[Mapping[type[inspect.Type], str]] = {
    inspect.StructType: "an object",
    inspect.ListType: "an array",
    inspect.StrType: "a string",
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
}

"""Bodies to values, strictly: what is not exactly what is asked for is refused, all of it named.

Laws:
- A violation names its place as a JSON pointer, and never repeats what was sent.
- A member that is there twice is refused: readers differ in which of the two they take, and a
  caller who says two things has not said one (RFC 8259, 4; RFC 7493, 2.3).
Source: RFC 8259; RFC 6901.
"""

import difflib
import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard, TypeVar, cast

import msgspec
from msgspec import inspect

from heed.errors import ErrorReason, InvalidArgumentError
from heed.wire.violations import Violations
from heed_server.web.rest.asked import NUMBER_MAX, Body

B = TypeVar("B", bound=Body)


class _TwiceError(Exception):
    """A member is there twice."""


_NOT_READ: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, _TwiceError)

NAME_CHARACTERS_MAX: Final = 40
"""Characters that are told of a name that is not known."""


def read(kind: type[B], data: bytes) -> B:
    """Return the body that these bytes are.

    Raises:
        InvalidArgumentError: MALFORMED_MESSAGE, it is no JSON; INVALID_FIELD, it is another body.
    """
    try:
        body = cast("B", _decoder(kind).decode(data))
        if not _has_each_once(body, data):
            json.loads(data, object_pairs_hook=_require_each_once)
    except _NOT_READ:
        # Judged by what the body holds: the decoder names one mistake, and only in words.
        return _read_slowly(kind, data)
    return body


def pointer(*parts: str | int) -> str:
    """Return the JSON pointer of a member, by the names and positions that lead to it."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


@functools.cache
def _decoder(kind: type[Body]) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(kind)


def _read_slowly(kind: type[B], data: bytes) -> B:
    try:
        msgspec.json.decode(data)  # by its rules of what is JSON, which are the stricter ones
        found: object = json.loads(data, object_pairs_hook=_Members)
    except _NOT_READ:
        raise not_json(data) from None
    violations = Violations()
    whole = _judge(inspect.type_info(kind), found, "", violations)
    violations.raise_if_any()
    return msgspec.convert(whole, kind)


class _Members(dict[str, object]):
    """An object, and the names of the members that it had more than once."""

    def __init__(self, pairs: Sequence[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.twice: Sequence[str] = ()
        if len(self) != len(pairs):
            counted = Counter(name for name, _ in pairs)
            self.twice = [name for name, count in counted.items() if count > 1]


def _has_each_once(body: Body, data: bytes) -> bool:
    """Whether it is plain that no member is there twice, at a tenth of what it takes to see that.

    Where nothing is escaped each quotation mark begins or ends a name or a string. Written again a
    body has those that were read, less its defaults; if it has as many, none was read over.
    """
    return b"\\" not in data and data.count(b'"') == msgspec.json.encode(body).count(b'"')


def _require_each_once(pairs: Sequence[tuple[str, object]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise _TwiceError


def not_json(data: bytes) -> InvalidArgumentError:
    """Return the error for a body that is no JSON."""
    return InvalidArgumentError(
        f"the body ({len(data)} bytes) is no JSON in UTF-8",
        reason=ErrorReason.MALFORMED_MESSAGE,
        metadata={"message": "application/json"},
    )


def _judge(type_: inspect.Type, found: object, at: str, violations: Violations) -> object:
    """Return a value as its type has it, and note where it is not of that type.

    A number without a fraction is a whole one, however it is written: `17.0`.
    """
    match type_:
        case inspect.Metadata():
            return _judge(type_.type, found, at, violations)
        case inspect.StructType() if isinstance(found, _Members):
            return _judge_members(type_, found, at, violations)
        case inspect.ListType() if isinstance(found, list):
            return [
                _judge(type_.item_type, item, f"{at}/{index}", violations)
                for index, item in enumerate(cast("list[object]", found))
            ]
        case inspect.StrType() if isinstance(found, str):
            return found
        case inspect.BoolType() if isinstance(found, bool):
            return found
        case inspect.IntType() if _is_whole(found):
            if abs(found) > NUMBER_MAX:
                violations.add(at, f"is too large; at most {NUMBER_MAX} is taken")
            return int(found)
        case inspect.FloatType() if _is_number(found):
            return found
        case _:
            wanted = _WANTED.get(type(type_), "something else")
            violations.add(at, f"is {_said(found)}, and has to be {wanted}")
            return found


def _judge_members(
    struct: inspect.StructType, found: _Members, at: str, violations: Violations
) -> Mapping[str, object]:
    known = {field.encode_name: field for field in struct.fields}
    judged: dict[str, object] = {}
    for name, value in found.items():
        field = known.get(name)
        if field is not None:
            judged[name] = _judge(field.type, value, at + pointer(name), violations)
            continue
        nearest = difflib.get_close_matches(name[:NAME_CHARACTERS_MAX], known, n=1)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        violations.add(
            at + pointer(name[:NAME_CHARACTERS_MAX]),
            f"is no member here; {hint}there are {', '.join(known)}",
        )
    for name in found.twice:
        violations.add(at + pointer(name[:NAME_CHARACTERS_MAX]), "is there twice; send it once")
    for name, field in known.items():
        if field.required and name not in found:
            violations.add(at + pointer(name), "is required")
    return judged


def _is_number(found: object) -> TypeGuard[int | float]:
    return isinstance(found, int | float) and not isinstance(found, bool)


def _is_whole(found: object) -> TypeGuard[int | float]:
    return _is_number(found) and (isinstance(found, int) or found.is_integer())


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

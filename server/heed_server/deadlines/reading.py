"""Reads deadline policies: the shipped file, and an operator's on top of it."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from heed.errors import FieldViolation, InvalidArgumentError
from heed_server.deadlines.policies import Policies

POLICIES_BYTES_MAX = 1 << 20
"""A larger file of policies is refused: somebody named the wrong one."""

_MERGED = ("regions", "calendars", "policies", "tenants")


def policies_of(file: Path | None = None) -> Policies:
    """Return the shipped policies, with those of an operator's file added, or in their place.

    Raises:
        InvalidArgumentError: the file cannot be read, or says what cannot be.
    """
    if file is None:
        return _shipped()
    return _checked(str(file), merged(_shipped_said(), _read(file)))


def merged(shipped: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shipped tables with an operator's: each of its names added, or in the place."""
    whole = {**shipped, **own}
    whole["version"] = f"{shipped['version']}+{own.get('version', 'own')}"
    for table in _MERGED:
        first, second = shipped.get(table, {}), own.get(table, {})
        if isinstance(first, dict) and isinstance(second, dict):
            whole[table] = {**first, **second}
    return whole


@cache
def _shipped() -> Policies:
    """The shipped policies alone, which are the same for as long as a process lives."""
    return _checked("policies.toml", _shipped_said())


def _shipped_said() -> dict[str, Any]:
    file = resources.files("heed_server.deadlines").joinpath("policies.toml")
    return tomllib.loads(file.read_text("utf-8"))


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            content = opened.read(POLICIES_BYTES_MAX + 1)
        said = tomllib.loads(content.decode("utf-8"))
    except (OSError, ValueError) as error:
        raise _refusal(str(file), [FieldViolation(str(file), f"cannot be read: {error}")]) from None
    if len(content) > POLICIES_BYTES_MAX:
        why = f"is larger than {POLICIES_BYTES_MAX} bytes"
        raise _refusal(str(file), [FieldViolation(str(file), why)])
    return said


def _checked(file: str, said: Mapping[str, Any]) -> Policies:
    try:
        return Policies.model_validate(said)
    except ValidationError as error:
        violations = [
            FieldViolation(
                ".".join(map(str, detail["loc"])) or file,
                detail["msg"].removeprefix("Value error, "),
            )
            for detail in error.errors(include_url=False, include_input=False)
        ]
        raise _refusal(file, violations) from None


def _refusal(file: str, violations: list[FieldViolation]) -> InvalidArgumentError:
    first = f"{violations[0].field}: {violations[0].description}"
    return InvalidArgumentError(
        f"the deadline policies of {file} are wrong: {first}", violations=violations
    )

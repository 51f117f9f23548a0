"""How a setting is declared: its unit in its name, its default, what more or less of it costs."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.config import JsonDict

from heed_server.config.addresses import parse_address


def setting(
    default: object,
    meaning: str,
    *,
    higher: str = "",
    lower: str = "",
    ge: float | None = None,
    le: float | None = None,
) -> Any:
    """Declare one setting: what it means, and what going higher or lower costs."""
    costs: JsonDict = {"higher": higher, "lower": lower}
    return Field(default=default, description=meaning, ge=ge, le=le, json_schema_extra=costs)


class Section(BaseModel):
    """Settings of one concern."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def split_words(value: object) -> object:
    """Lists may be written with commas, where a source has no lists."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _require_addresses(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("names no address; write 127.0.0.1:50051")
    return _require_each_address(value)


def _require_each_address(value: tuple[str, ...]) -> tuple[str, ...]:
    for text in value:
        parse_address(text)
    return value


def _require_port(value: str) -> str:
    if value and parse_address(value).path:
        raise ValueError(f"{value!r} is a unix socket; write 127.0.0.1:9464")
    return value


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_NAMES = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}(\.[A-Za-z][A-Za-z0-9_-]{0,63}){0,7}")


def _require_name(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise ValueError(f"{value!r} is no name; write 1 to 64 of A-Z, a-z, 0-9, `_` and `-`")
    return value


def _require_names(value: str) -> str:
    if _NAMES.fullmatch(value) is None:
        raise ValueError(f"{value!r} is no subject; write names joined by dots: heed.changes")
    return value


Name = Annotated[str, AfterValidator(_require_name)]
"""A name of NATS that holds no dots: of a stream."""
Names = Annotated[str, AfterValidator(_require_names)]
"""Names joined by dots: a subject of NATS."""
Addresses = Annotated[
    tuple[str, ...], BeforeValidator(split_words), AfterValidator(_require_addresses)
]
AnyAddresses = Annotated[
    tuple[str, ...], BeforeValidator(split_words), AfterValidator(_require_each_address)
]
HostPort = Annotated[str, AfterValidator(_require_port)]
AutoBool = bool | Literal["auto"]

"""The targets: where webhooks may go, by whose secrets, and of what they tell. A file of its own.

    [[target]]
    name = "crm"
    tenant = "default"
    url = "https://crm.example.com/hooks/heed"
    secret_file = "crm.secret"                  # one whsec_… a line
    events = ["preference.*", "suppression.*", "subject.*"]
    channels = ["email"]                        # unset: all
    topics = ["marketing"]                      # and what covers it or is beneath; unset: all

Laws:
- The file is the only way in: no call of the API adds a target or changes a URL.
- A target is told of whatever touches what it names: a stop of everything touches every topic.
- A file with anything unknown or contradictory in it is refused whole.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import SplitResult, urlsplit

import msgspec

from heed.errors import FieldViolation, HeedError, InvalidArgumentError
from heed.model import Channel
from heed.names import named
from heed.topics import validate_topic
from heed_server.webhooks.addresses import Network, may_be_reached
from heed_server.webhooks.events import EVENT_TYPES, EventType
from heed_server.webhooks.signing import Secret, parse_secret
from heed_server.webhooks.wanted import Wanted

TARGETS_MAX: Final = 100
"""Targets in the file. Each has connections and a place in the database of its own."""
TARGETS_BYTES_MAX: Final = 1 << 20
"""Bytes of the file."""
SECRETS_MAX: Final = 4
"""Secrets that sign at a time: two while one replaces another."""
SECRET_FILE_BYTES_MAX: Final = 4_096
URL_CHARACTERS_MAX: Final = 2_048

_LOOPBACK: Final = re.compile(r"127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|::1")
_LITERAL: Final = re.compile(r"[0-9.]+|.*:.*")

_Texts = Annotated[tuple[str, ...], msgspec.Meta(max_length=100)]


class _Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A target as the file has it."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
    tenant: Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=URL_CHARACTERS_MAX)]
    secret_file: Annotated[str, msgspec.Meta(min_length=1)]
    events: Annotated[_Texts, msgspec.Meta(min_length=1)]
    channels: _Texts = ()
    topics: _Texts = ()
    begin: Literal["now", "first"] = "now"
    ca_file: str = ""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    target: Annotated[tuple[_Told, ...], msgspec.Meta(max_length=TARGETS_MAX)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One place where webhooks go."""

    name: str
    tenant: str
    url: str = field(repr=False)
    """It may hold a token."""
    secrets: tuple[Secret, ...] = field(repr=False)
    wanted: Wanted
    begins_first: bool = False
    """Whether it is told the whole log at first, and not only what comes from then on."""
    ca_file: Path | None = None
    """PEM: whom to trust as the receiver; None: whom the system trusts."""


def parse_targets(
    text: str, *, source: Path, private_networks: Sequence[Network] = ()
) -> tuple[Target, ...]:
    """Read the file's text, and the secrets that it names; paths are relative to its folder.

    Raises:
        InvalidArgumentError: anything in it is unknown, missing or contradictory.
    """
    try:
        file = msgspec.toml.decode(text, type=_File)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _refusal(source, str(error)) from None
    targets: dict[tuple[str, str], Target] = {}
    for told in file.target:
        if (told.tenant, told.name) in targets:
            raise _refusal(source, f"the target {told.name!r} of {told.tenant!r} is there twice")
        try:
            targets[told.tenant, told.name] = _target(told, source.parent, private_networks)
        except HeedError as error:
            raise _refusal(source, f"the target {told.name!r}: {error.message}") from None
        except (ValueError, OSError) as error:
            raise _refusal(source, f"the target {told.name!r} {error}") from None
    return tuple(targets.values())


def read_bounded(file: Path, bytes_max: int) -> str:
    """Return a file's text.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger, or not UTF-8.
    """
    with file.open("rb") as opened:
        content = opened.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise ValueError(f"has a file larger than {bytes_max} bytes: {file}")
    return content.decode("utf-8")


def secret_files_of(text: str, source: Path) -> tuple[Path, ...]:
    """Return the files of secrets that the file's text names; none where it cannot be read."""
    try:
        file = msgspec.toml.decode(text, type=_File)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ()
    return tuple(source.parent / told.secret_file for told in file.target)


def _target(told: _Told, folder: Path, private_networks: Sequence[Network]) -> Target:
    _require_url(told.url, private_networks)
    for topic in told.topics:
        validate_topic(topic)
    channels = frozenset(named(Channel, word, "channels") for word in told.channels)
    if Channel.ANY in channels:
        raise ValueError("names the channel any; leave channels out for all")
    return Target(
        name=told.name,
        tenant=told.tenant,
        url=told.url,
        secrets=_secrets(folder / told.secret_file),
        wanted=Wanted(events=_events(told.events), channels=channels, topics=told.topics),
        begins_first=told.begin == "first",
        ca_file=folder / told.ca_file if told.ca_file else None,
    )


def _require_url(url: str, private_networks: Sequence[Network]) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not url.isascii() or not url.isprintable() or " " in url or not host or _has_user(parts):
        raise ValueError("has a url that is not https://host/path, without a user")
    if parts.fragment or parts.port == 0:
        raise ValueError("has a url with a fragment, or a port that is none")
    is_loopback = _LOOPBACK.fullmatch(host) is not None
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback):
        raise ValueError("has a url that is not https; plain http is for 127.0.0.1 alone")
    if _LITERAL.fullmatch(host) and not may_be_reached(host, private_networks):
        raise ValueError(
            f"has a url with the address {host}, which is not of the public internet; if it is "
            "meant, name its network in webhooks.private_networks"
        )


def _has_user(parts: SplitResult) -> bool:
    return parts.username is not None or parts.password is not None


def _events(patterns: Sequence[str]) -> frozenset[EventType]:
    found: set[EventType] = set()
    for pattern in patterns:
        fitting = {one for one in EVENT_TYPES if _fits(one.value, pattern)}
        if not fitting:
            known = ", ".join(one.value for one in EVENT_TYPES)
            raise ValueError(f"wants {pattern!r}, which is none of: {known}, group.*, *")
        found |= fitting
    return frozenset(found)


def _fits(event: str, pattern: str) -> bool:
    if pattern.endswith(".*"):
        return event.startswith(pattern.removesuffix("*"))
    return pattern in {event, "*"}


def _secrets(file: Path) -> tuple[Secret, ...]:
    lines = [line.strip() for line in read_bounded(file, SECRET_FILE_BYTES_MAX).splitlines()]
    secrets = tuple(_secret(file, line) for line in lines if line and not line.startswith("#"))
    if not 1 <= len(secrets) <= SECRETS_MAX:
        raise ValueError(f"needs 1 to {SECRETS_MAX} secrets, a line each, in {file}")
    return secrets


def _secret(file: Path, line: str) -> Secret:
    try:
        return parse_secret(line)
    except ValueError as error:
        raise ValueError(f"has a line in {file} that {error}") from None


def _refusal(source: Path, said: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{source}: {said}", violations=[FieldViolation("webhooks.targets_file", said)]
    )

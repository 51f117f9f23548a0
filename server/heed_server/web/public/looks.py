"""How the pages of each tenant look and read: name, logo, colours, texts, topics; by configuration.

Laws:
- All of it is read and checked when the server starts; what is wrong keeps it from starting, with
  every place named.
- A tenant of which nothing is said has pages all the same, with every declared topic.
- Nothing is loaded from elsewhere: a logo is part of the page. Of an image only what cannot hold a
  script is taken, by what the file begins with and not by its name.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from heed.errors import FieldViolation, HeedError, InvalidArgumentError
from heed.model import Channel
from heed.names import named
from heed.topics import validate_topic
from heed.zones import zone_of
from heed_server.config.section import Section
from heed_server.web.public.colours import DARK, LIGHT, Colours
from heed_server.web.public.languages import BUILT_IN, Texts, built_in, read_texts, read_toml

LOGO_BYTES_MAX: Final = 64 * 1024
"""Bytes of a logo; it is part of every page."""
PAGE_TOPICS_MAX: Final = 100
"""Topics of a page; a tenant with more says which. Higher: a page takes longer to make. Lower: a
tenant with many topics shows fewer."""
NAME_CHARACTERS_MAX: Final = 100
"""Characters of a tenant's name, and of a topic's title, on a page."""
DESCRIPTION_CHARACTERS_MAX: Final = 500
"""Characters of what a page says of a topic."""

_IMAGES: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}
"""By what a file begins with. SVG may hold scripts, and is none of them."""


def _channel(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return Channel(named(Channel, value, "channels"))
    except HeedError as error:
        raise ValueError(error.message) from None


def _topic(value: str) -> str:
    try:
        validate_topic(value)
    except HeedError as error:
        raise ValueError(error.message) from None
    return value


def _zone(value: str) -> str:
    if zone_of(value) is None:
        raise ValueError(f"{value!r} is no time zone; write Europe/Vienna")
    return value


def _https(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme != "https" or not parts.hostname):
        raise ValueError(f"{value!r} is no https address")
    return value


_Channels = tuple[Annotated[Channel, BeforeValidator(_channel)], ...]
_Titles = dict[str, Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS_MAX)]]
_Descriptions = dict[str, Annotated[str, Field(max_length=DESCRIPTION_CHARACTERS_MAX)]]


class TopicLook(Section):
    """A topic, as people read it."""

    topic: Annotated[str, Field(min_length=1), AfterValidator(_topic)]
    channels: _Channels = ()
    """Where it can be chosen; empty: those of the tenant."""
    title: _Titles = Field(default_factory=dict)
    """By language; one that is missing is what the topic was declared with, or its name."""
    description: _Descriptions = Field(default_factory=dict)
    """By language: what is sent about it, and how often."""


class _Tenant(Section):
    """What a file says of one tenant."""

    name: Annotated[str, Field(max_length=NAME_CHARACTERS_MAX)] = ""
    logo_file: str = ""
    home: Annotated[str, AfterValidator(_https)] = ""
    """Where people get another page link: `https://example.com/account`."""
    languages: tuple[str, ...] = ()
    """Those that are offered, the first where a browser asks for none of them; empty: all."""
    channels: _Channels = ()
    """Where topics can be chosen; empty: those of the person's identifiers."""
    time_zones: tuple[Annotated[str, AfterValidator(_zone)], ...] = ()
    """Those that are offered for quiet hours, the first first; empty: some large ones."""
    other_topics: bool = True
    """Whether declared topics are shown that are not named."""
    topics: Annotated[tuple[TopicLook, ...], Field(max_length=PAGE_TOPICS_MAX)] = ()
    """In this order."""
    light: Colours = LIGHT
    dark: Colours = DARK
    texts: dict[str, dict[str, object]] = Field(default_factory=dict)
    """By language: texts of its own."""


class _File(Section):
    languages: dict[str, str] = Field(default_factory=dict)
    """Other languages, and the files with their texts."""
    tenants: dict[str, _Tenant] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """How one tenant's pages look and read; there is one of each."""

    languages: Mapping[str, Texts]
    """By tag, the first where a browser asks for none of them."""
    style: str
    tags: tuple[str, ...]
    """Those of the languages, in their order."""
    headers: Mapping[str, str]
    """Of every answer with such a page."""
    name: str = ""
    logo: str = field(default="", repr=False)
    """An address that holds the image itself; empty: there is none."""
    home: str = ""
    channels: tuple[Channel, ...] = ()
    time_zones: tuple[str, ...] = ()
    other_topics: bool = True
    topics: tuple[TopicLook, ...] = ()


class Looks:
    """How all tenants' pages look. A value."""

    def __init__(self, of_tenants: Mapping[str, Look], otherwise: Look) -> None:
        self._of_tenants = of_tenants
        self.otherwise = otherwise
        """Of a page of no tenant, and of those of which nothing is said."""

    @property
    def tenants(self) -> tuple[str, ...]:
        """The tenants of which something is said, by name."""
        return tuple(sorted(self._of_tenants))

    def of(self, tenant: str) -> Look:
        """Return how one tenant's pages look."""
        return self._of_tenants.get(tenant, self.otherwise)


def looks_of(file: Path | None = None) -> Looks:
    """Return how pages look, by an operator's file where there is one.

    Raises:
        InvalidArgumentError: the file, or one that it names, cannot be read or says what cannot be.
    """
    said = _File()
    if file is not None:
        said = _checked(file, read_toml(file))
    languages = {tag: built_in(tag) for tag in BUILT_IN}
    folder = Path() if file is None else file.parent
    languages |= {tag: read_texts(tag, folder / name) for tag, name in said.languages.items()}
    of_tenants = {
        name: _look_of(one, languages, folder, f"{file}: tenants.{name}")
        for name, one in said.tenants.items()
    }
    return Looks(MappingProxyType(of_tenants), _look_of(_Tenant(), languages, folder, ""))


def _checked(file: Path, said: Mapping[str, object]) -> _File:
    try:
        return _File.model_validate(said)
    except ValidationError as error:
        violations = [
            FieldViolation(
                ".".join(map(str, detail["loc"])) or str(file),
                detail["msg"].removeprefix("Value error, "),
            )
            for detail in error.errors(include_url=False, include_input=False)
        ]
        raise _wrong(str(file), violations) from None


def _look_of(said: _Tenant, known: Mapping[str, Texts], folder: Path, where: str) -> Look:
    tags = said.languages or tuple(known)
    unknown = [tag for tag in (*tags, *said.texts) if tag not in known]
    if unknown:
        why = f"{', '.join(unknown)}: no texts are known; name a file in [languages]"
        raise _wrong(where, [FieldViolation(f"{where}.languages", why)])
    languages = {
        tag: known[tag].with_own(said.texts.get(tag, {}), f"{where}.texts.{tag}") for tag in tags
    }
    style = _style_of(said.light, said.dark)
    return Look(
        languages=MappingProxyType(languages),
        tags=tags,
        style=style,
        headers=MappingProxyType(_headers_of(style)),
        name=said.name,
        logo=_logo_of(folder / said.logo_file, where) if said.logo_file else "",
        home=said.home,
        channels=said.channels,
        time_zones=said.time_zones,
        other_topics=said.other_topics,
        topics=said.topics,
    )


def _style_of(light: Colours, dark: Colours) -> str:
    base = resources.files("heed_server.web.public").joinpath("templates", "style.css")
    return (
        f":root{{color-scheme:light dark;{_variables(light)}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{_variables(dark)}}}}}"
        + base.read_text("utf-8")
    )


def _variables(colours: Colours) -> str:
    return "".join(f"--{name.replace('_', '-')}:{value};" for name, value in colours)


def _headers_of(style: str) -> dict[str, str]:
    hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{hashed}'; img-src data:; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'"
        ),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex, nofollow",
    }


def _logo_of(file: Path, where: str) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(LOGO_BYTES_MAX + 1)
    except OSError as error:
        raise _wrong(where, [FieldViolation(f"{where}.logo_file", str(error))]) from None
    kind = next((kind for begin, kind in _IMAGES.items() if content.startswith(begin)), None)
    why = ""
    if len(content) > LOGO_BYTES_MAX:
        why = f"{file} is larger than {LOGO_BYTES_MAX} bytes"
    elif kind is None:
        why = f"{file} is no PNG, JPEG or GIF; an SVG may hold scripts, so make one of it"
    if why:
        raise _wrong(where, [FieldViolation(f"{where}.logo_file", why)])
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _wrong(where: str, violations: list[FieldViolation]) -> InvalidArgumentError:
    first = f"{violations[0].field}: {violations[0].description}"
    return InvalidArgumentError(f"the pages of {where} are wrong: {first}", violations=violations)

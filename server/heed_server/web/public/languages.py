"""What people read, a file a language, and which language somebody is answered in.

Laws:
- Every language has all the keys that English has, and in each text no other names in braces: a
  text that is missing is an error when the server starts, never a gap on a page.
- A text is plain words: whatever is put into it is escaped where it is shown.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Final

from heed.errors import FieldViolation, InvalidArgumentError

BUILT_IN: Final = ("en", "de")
"""The languages that come with heed, the first being what the others are held to."""
TEXTS_BYTES_MAX: Final = 1 << 18
"""Bytes of a file of texts, or of pages; a larger one is refused: somebody named the wrong one."""
TEXT_CHARACTERS_MAX: Final = 600
"""Characters of one text, before anything is put into it."""

SHORT_TEXT_CHARACTERS_MAX: Final = 100
"""Characters of one text of those that an evidence is put together of, which has to hold them."""

_SHORT: Final = re.compile(
    r"channel\..+|what\.(?:topic_.+|processing_topic)|consent\.(?:statement.*|button)"
)
_FIELD: Final = re.compile(r"\{(\w+)\}")
_TAG: Final = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,3}")
ACCEPTED_KEPT_MAX: Final = 512
"""Of so many different headers it is remembered which language they ask for."""

ACCEPTED_CHARACTERS_MAX: Final = 200
"""Of a browser's header so much is looked at."""
_ACCEPTED_MAX: Final = 20
"""Languages of a browser's that are looked at."""
_COUNTS: Final = {"months": 12, "days": 7}


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """What people read in one language, of one tenant; there is one of each."""

    tag: str
    """Of BCP 47: `de`, `pt-BR`."""
    words: Mapping[str, str]
    """By key: `link.title`."""
    months: tuple[str, ...]
    days: tuple[str, ...]
    """Of the week, from Monday."""

    def __call__(self, key: str, /, **fields: str) -> str:
        """Return a text, with what stands for the names in its braces."""
        return _FIELD.sub(lambda found: fields[found[1]], self.words[key])

    def joined(self, said: Sequence[str]) -> str:
        """Return some words as one list of them; empty for none."""
        if len(said) <= 1:
            return "".join(said)
        return f"{', '.join(said[:-1])} {self('and')} {said[-1]}"

    def with_own(self, own: Mapping[str, object], where: str) -> "Texts":
        """Return the same with some texts of a tenant's own.

        Raises:
            InvalidArgumentError: there is no such text, or it has other names in its braces.
        """
        words = {**self.words, **_checked(_flat(own), self.words, where, whole=False)}
        return Texts(self.tag, MappingProxyType(words), self.months, self.days)


@cache
def built_in(tag: str) -> Texts:
    """Return a language that comes with heed."""
    file = resources.files("heed_server.web.public").joinpath("texts", f"{tag}.toml")
    return texts_of(tag, tomllib.loads(file.read_text("utf-8")), f"{tag}.toml")


def read_texts(tag: str, file: Path) -> Texts:
    """Return a language of an operator's file.

    Raises:
        InvalidArgumentError: it cannot be read, or its texts are not those that English has.
    """
    return texts_of(tag, read_toml(file), str(file))


def texts_of(tag: str, said: Mapping[str, object], where: str) -> Texts:
    """Return a language, of a file as it was read.

    Raises:
        InvalidArgumentError: its texts are not those that English has.
    """
    if _TAG.fullmatch(tag) is None:
        raise _wrong(where, [f"{tag!r} is no language; write it as BCP 47 has it: fr, pt-BR"])
    months, days = (_names(said, name, count, where) for name, count in _COUNTS.items())
    words = _flat({name: value for name, value in said.items() if name not in _COUNTS})
    if tag != BUILT_IN[0]:
        words = _checked(words, built_in(BUILT_IN[0]).words, where, whole=True)
    return Texts(tag, MappingProxyType(words), months, days)


def read_toml(file: Path) -> dict[str, object]:
    """Return a file of an operator's.

    Raises:
        InvalidArgumentError: it cannot be read.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(TEXTS_BYTES_MAX + 1)
        said = tomllib.loads(content.decode("utf-8"))
    except (OSError, ValueError) as error:
        raise _wrong(str(file), [f"cannot be read: {error}"]) from None
    if len(content) > TEXTS_BYTES_MAX:
        raise _wrong(str(file), [f"is larger than {TEXTS_BYTES_MAX} bytes"])
    return said


@lru_cache(maxsize=ACCEPTED_KEPT_MAX)
def preferred(accepted: str, offered: tuple[str, ...]) -> str:
    """Return which language to answer in: the first of a browser's that is offered, or the first.

    `accepted` is what the header Accept-Language says; what is malformed in it says nothing.
    """
    wanted: list[tuple[float, int, str]] = []
    for at, part in enumerate(accepted.split(",")[:_ACCEPTED_MAX]):
        name, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality or "1")
        except ValueError:
            continue
        if name and 0 < weight <= 1:
            wanted.append((-weight, at, name.lower()))
    for _, _, name in sorted(wanted):
        for matches in (
            lambda tag, name=name: tag.lower() == name,
            lambda tag, name=name: tag.lower().partition("-")[0] == name.partition("-")[0],
        ):
            found = next(filter(matches, offered), None)
            if found is not None:
                return found
    return offered[0]


def _names(said: Mapping[str, object], key: str, count: int, where: str) -> tuple[str, ...]:
    found = said.get(key)
    if not isinstance(found, list) or len(found) != count:
        raise _wrong(where, [f"{key}: is no list of {count}"])
    return tuple(str(one) for one in found)


def _flat(said: Mapping[str, object], before: str = "") -> dict[str, str]:
    words: dict[str, str] = {}
    for name, value in said.items():
        if isinstance(value, Mapping):
            words |= _flat(value, f"{before}{name}.")
        else:
            words[before + name] = str(value)
    return words


def _checked(
    words: dict[str, str], known: Mapping[str, str], where: str, *, whole: bool
) -> dict[str, str]:
    wrong = [f"{key}: there is no such text" for key in words if key not in known]
    if whole:
        wrong += [f"{key}: is missing" for key in known if key not in words]
    for key, text in words.items():
        fields = set(_FIELD.findall(text))
        allowed = set(_FIELD.findall(known.get(key, "")))
        if key in known and not fields <= allowed:
            names = ", ".join(sorted(fields - allowed))
            wrong.append(f"{key}: has {names} in braces, which nothing stands for")
        most = SHORT_TEXT_CHARACTERS_MAX if _SHORT.fullmatch(key) else TEXT_CHARACTERS_MAX
        if len(text) > most:
            wrong.append(f"{key}: is longer than {most} characters")
    if wrong:
        raise _wrong(where, wrong)
    return words


def _wrong(where: str, said: list[str]) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"the texts of {where} are wrong: {'; '.join(said[:10])}",
        violations=[FieldViolation(where, one) for one in said],
    )

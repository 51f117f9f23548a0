"""Makes client/heed/zone_table.py from the package tzdata; `--check` only compares.

The offsets of time zones are part of the decision's rules (ADR 0045): other data is another
`RULE_VERSION`, unless nobody's hours move by it.

Sources: RFC 9636 (TZif); POSIX.1-2024, 8.3, for the rule of the years that a file does not list.
"""

import re
import struct
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import tzdata

FIRST_SECOND = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())
"""What changed before is left out: no decision is older."""
LEFT_OUT = {"Factory"}
"""A name that means: not set up."""
TABLE = Path(__file__).parent.parent / "client" / "heed" / "zone_table.py"
WIDTH = 100

_HEADER = struct.Struct(">4sc15s6l")
_NAME = r"(?:[A-Za-z]+|<[^>]+>)"
_OFFSET = r"([+-]?\d+(?::\d+){0,2})"
_RULE = re.compile(
    rf"{_NAME}{_OFFSET}"
    rf"(?:{_NAME}{_OFFSET}?,M(\d+)\.(\d+)\.(\d+)(?:/{_OFFSET})?,M(\d+)\.(\d+)\.(\d+)(?:/{_OFFSET})?)?"
)
_HOUR = 3600


class Zone(NamedTuple):
    """What `heed.zone_table.ZoneRow` has, in seconds."""

    first: int
    standard: int
    other: int
    begins: tuple[int, int, int, int] | None
    ends: tuple[int, int, int, int] | None
    changes: tuple[tuple[int, int], ...]


def main() -> int:
    """Write the table, or say that it is another."""
    made = "".join(table())
    if "--check" in sys.argv[1:]:
        if TABLE.read_text(encoding="utf-8") != made:
            print(f"{TABLE} is not what tzdata {tzdata.IANA_VERSION} gives; see this script")
            return 1
        return 0
    TABLE.write_text(made, encoding="utf-8")
    return 0


def table() -> Iterator[str]:
    """Yield the lines of the module."""
    zones: dict[Zone, list[str]] = defaultdict(list)
    for name in resources.files("tzdata").joinpath("zones").read_text().split():
        if name not in LEFT_OUT:
            zones[read(name)].append(name)
    yield (
        '"""The offsets of the IANA time zones from 2025 on, as numbers, and the names of each.\n\n'
        "Made by scripts/generate_zones.py; `heed.zones` reads it. What changes here changes "
        'decisions.\n"""\n\n'
        "from typing import Final, NamedTuple\n\n"
        f'VERSION: Final = "{tzdata.IANA_VERSION}"\n'
        '"""The release of the IANA database."""\n\n'
        "Turn = tuple[int, int, int, int]\n"
        '"""A day of each year and a time of it: the month, which of its weeks (5: the last), the '
        "day from\n"
        'Sunday, 0, and seconds since midnight by the clock before it turns."""\n\n\n'
        "class ZoneRow(NamedTuple):\n"
        '    """Zones that are alike. Offsets are in seconds east of Greenwich."""\n\n'
        "    first: int\n"
        '    """The offset until the first change, where there are changes."""\n'
        "    standard: int\n"
        "    other: int\n"
        '    """The offset from each `begins` to the next `ends`."""\n'
        "    begins: Turn | None\n"
        "    ends: Turn | None\n"
        "    changes: tuple[tuple[int, int], ...]\n"
        '    """When another offset began, in seconds since 1970, and that offset. After the '
        'last one\n    the turns count."""\n'
        "    names: str\n"
        '    """Joined by spaces."""\n\n\n'
        "# fmt: off\n"
        "ROWS: Final = (\n"
    )
    for zone, names in sorted(zones.items(), key=lambda item: item[1]):
        yield "    ZoneRow(\n"
        numbers = f"{zone.first}, {zone.standard}, {zone.other}, {zone.begins}, {zone.ends}"
        yield f"        {numbers}, ({'' if zone.changes else '),'}\n"
        yield from _changes(zone.changes)
        yield from _texts(sorted(names))
        yield "    ),\n"
    yield ")\n# fmt: on\n"


def read(name: str) -> Zone:
    """Return what a zone's file says."""
    file = resources.files("tzdata.zoneinfo").joinpath(*name.split("/")).read_bytes()
    _, _, _, utc, standard, leaps, times, types, characters = _HEADER.unpack_from(file)
    # Version 1 comes first, in 32 bits, and is passed over.
    at = _HEADER.size + times * 5 + types * 6 + characters + leaps * 8 + standard + utc
    _, _, _, utc, standard, leaps, times, types, characters = _HEADER.unpack_from(file, at)
    at += _HEADER.size
    instants = struct.unpack_from(f">{times}q", file, at)
    kinds = file[at + 8 * times : at + 9 * times]
    at += 9 * times
    offsets: list[int] = [struct.unpack_from(">l", file, at + 6 * kind)[0] for kind in range(types)]
    at += 6 * types + characters + leaps * 12 + standard + utc
    rule = file[at:].strip(b"\n").decode("ascii")
    found = list(zip(instants, (offsets[kind] for kind in kinds), strict=True))
    before = [offset for instant, offset in found if instant < FIRST_SECOND]
    changes = tuple((instant, offset) for instant, offset in found if instant >= FIRST_SECOND)
    standard_offset, other, begins, ends = _rule(rule)
    first = (before[-1] if before else offsets[0]) if changes else standard_offset
    return Zone(first, standard_offset, other, begins, ends, changes)


def _rule(
    rule: str,
) -> tuple[int, int, tuple[int, int, int, int] | None, tuple[int, int, int, int] | None]:
    found = _RULE.fullmatch(rule)
    if found is None:
        raise ValueError(f"a rule of a form that is not known: {rule}")
    standard_text, other_text, *turns = found.groups()
    standard = -_seconds(standard_text)
    if turns[0] is None:
        return standard, standard, None, None
    other = standard + _HOUR if other_text is None else -_seconds(other_text)
    return standard, other, _turn(*turns[:4]), _turn(*turns[4:])


def _turn(month: str, week: str, day: str, time: str | None) -> tuple[int, int, int, int]:
    return int(month), int(week), int(day), 2 * _HOUR if time is None else _seconds(time)


def _seconds(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    parts = [int(part) for part in text.lstrip("+-").split(":")]
    units = (_HOUR, 60, 1)
    return sign * sum(part * unit for part, unit in zip(parts, units, strict=False))


def _changes(changes: tuple[tuple[int, int], ...]) -> Iterator[str]:
    line = "       "
    for at, offset in changes:
        change = f" ({at}, {offset}),"
        if len(line) + len(change) > WIDTH:
            yield f"{line}\n"
            line = "       "
        line += change
    if changes:
        yield f"{line}\n        ),\n"


def _texts(names: list[str]) -> Iterator[str]:
    line = ""
    for name in names:
        if len(line) + len(name) + 13 > WIDTH:
            yield f'        "{line}"\n'
            line = ""
        line += f"{name} "
    yield f'        "{line.rstrip()}",\n'


if __name__ == "__main__":
    sys.exit(main())

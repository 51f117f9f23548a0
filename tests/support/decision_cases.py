"""Reads the decision table, tests/cases/decision/*.toml, whose README says how a case is written.

Every suite that answers checks (unit, parity) reads the same cases through `load`.
"""

import enum
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from heed.hours import Hours, quiet_period
from heed.model import (
    REACH_OF_CAUSE,
    Cause,
    Channel,
    Hold,
    Instant,
    Query,
    Reach,
    Record,
    RecordKind,
    Revision,
    Rule,
    Topic,
    TopicClass,
    Verdict,
)
from tests.support.naive_decision import EPOCH, Scenario

FOLDER = Path(__file__).parent.parent / "cases" / "decision"
NOW = 100
DECIDED = 10

E = TypeVar("E", bound=enum.IntEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a case says of the decision."""

    verdict: Verdict
    rule: Rule
    explains: tuple[Rule, ...]
    """Every rule that speaks, in order, each once."""
    voices: tuple[tuple[int, int], ...] | None
    """The subject and the position of each record by which the winning rule speaks."""
    until: Instant | None
    """Until when the first voice speaks."""
    undeclared: bool
    topic_class: TopicClass


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionCase:
    """One row of the table."""

    name: str
    source: str
    """The file it stands in, without its ending."""
    scenario: Scenario
    expected: Expected


@cache
def load() -> tuple[DecisionCase, ...]:
    """Every case, by file and then as written."""
    return tuple(case for path in sorted(FOLDER.glob("*.toml")) for case in _read(path))


def _read(path: Path) -> list[DecisionCase]:
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    _only(table, {"about", "topics", "case"}, path.stem)
    shared = table.get("topics", [])
    return [_case(path.stem, case, shared) for case in table["case"]]


def _case(
    source: str, case: Mapping[str, Any], shared: Sequence[Mapping[str, Any]]
) -> DecisionCase:
    where = f"{source}: {case['name']}"
    _only(case, {"name", "topics", "holds", "subjects", "query", "now", "expect"}, where)
    _only(case["query"], {"channel", "topic", "campaign"}, where)
    revisions = iter(range(1, 1_000))
    subjects = tuple(
        tuple(_record(record, next(revisions), where) for record in records)
        for records in case.get("subjects", [[]])
    )
    scenario = Scenario(
        topics=tuple(_topic(topic, where) for topic in case.get("topics", shared)),
        holds=tuple(_hold(hold, index, where) for index, hold in enumerate(case.get("holds", []))),
        subjects=subjects,
        query=Query(
            channel=_member(Channel, case["query"]["channel"]),
            topic=case["query"].get("topic", ""),
            campaign=case["query"].get("campaign", ""),
        ),
        now=_instant(case.get("now", NOW)),
    )
    return DecisionCase(
        name=case["name"],
        source=source,
        scenario=scenario,
        expected=_expected(case["expect"], where),
    )


def _expected(expect: Mapping[str, Any], where: str) -> Expected:
    _only(expect, {"verdict", "rule", "explains", "voices", "until", "undeclared", "class"}, where)
    rule = _member(Rule, expect["rule"])
    voices = expect.get("voices")
    return Expected(
        verdict=_member(Verdict, expect["verdict"]),
        rule=rule,
        explains=tuple(_member(Rule, one) for one in expect.get("explains", [expect["rule"]])),
        voices=None if voices is None else tuple((voice[0], voice[1]) for voice in voices),
        until=_instant(expect["until"]) if "until" in expect else None,
        undeclared=expect.get("undeclared", False),
        topic_class=_member(TopicClass, expect.get("class", "promotional")),
    )


def _topic(topic: Mapping[str, Any], where: str) -> Topic:
    _only(
        topic,
        {"name", "class", "mandatory_on", "requires_opt_in", "suppress_undeclared", "retired"},
        where,
    )
    return Topic(
        name=topic["name"],
        topic_class=_member(TopicClass, topic.get("class", "promotional")),
        mandatory_channels=frozenset(
            _member(Channel, channel) for channel in topic.get("mandatory_on", [])
        ),
        requires_opt_in=topic.get("requires_opt_in", False),
        suppress_undeclared=topic.get("suppress_undeclared", False),
        retired=topic.get("retired", False),
    )


def _hold(hold: Mapping[str, Any], index: int, where: str) -> Hold:
    _only(hold, {"channel", "topic", "campaign", "end", "spares_mandatory"}, where)
    channel = hold.get("channel")
    return Hold(
        hold_id=f"hold-{index}",
        channel=None if channel is None else _member(Channel, channel),
        topic=hold.get("topic", ""),
        campaign=hold.get("campaign", ""),
        end_time=hold.get("end"),
        reason="a case",
        spares_mandatory=hold.get("spares_mandatory", False),
    )


def _record(record: Mapping[str, Any], revision: int, where: str) -> Record:
    _only(record, {"kind", "cause", "reach", "channel", "topic", "decided", "end", "hours"}, where)
    kind = _member(RecordKind, record["kind"])
    cause = _member(Cause, record.get("cause", "none"))
    if "reach" in record:
        reach = _member(Reach, record["reach"])
    elif kind in {RecordKind.OPT_OUT, RecordKind.PAUSE, RecordKind.QUIET_HOURS}:
        reach = Reach.PROMOTIONAL
    else:
        reach = REACH_OF_CAUSE.get(cause, Reach.ALL)
    return Record(
        kind=kind,
        cause=cause,
        reach=reach,
        channel=_member(Channel, record.get("channel", "any")),
        topic=record.get("topic", ""),
        decided_time=Instant(record.get("decided", DECIDED)),
        end_time=record.get("end"),
        revision=Revision(revision),
        quiet_hours=_hours(record["hours"]) if "hours" in record else None,
    )


def _hours(written: str) -> Hours:
    """Periods in whatever order they are written."""
    zone, _, periods = written.partition(": ")
    return Hours(
        time_zone=zone, periods=tuple(map(quiet_period, filter(None, periods.split("; "))))
    )


def _instant(written: int | datetime) -> Instant:
    """A number as it is, or a time of the calendar."""
    if isinstance(written, datetime):
        return Instant((written - EPOCH) // timedelta(microseconds=1))
    return Instant(written)


def _member(of: type[E], written: str | int) -> E:
    """The member of a name; a bare number is one that a later version may know."""
    return of[written.upper()] if isinstance(written, str) else cast("E", written)


def _only(table: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = set(table) - known
    if unknown:
        raise ValueError(f"{where}: unknown {sorted(unknown)}")

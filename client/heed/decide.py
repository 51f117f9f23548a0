"""The decision: may this message be sent, given what stands, now?

Laws:
1. Everything that affects a decision is in `Facts`, the query and `now`, and in the table of time
   zones, which is a part of the rules; this module reads no clock, no store and no setting.
2. The rules speak in the order of `_RULES`, and the first that speaks wins. `explain` asks the very
   same functions and lets the later ones finish, so the two cannot disagree.
3. An opt-out stands until the same subject, later, opts in at the same or a narrower scope. Time
   does not end it, a tie does not lift it, and neither does another subject.
4. What is not known here (a number from a later version) takes the side that protects: an unknown
   kind of record, cause or reach stops every class, an unknown channel of a stop is every channel,
   and of an opt-in none (ADR 0010).

Theory of operation: one pass over the records keeps those that cover, reach and count now, sorted
by what they are; each rule then looks only at its own. What a topic is on a channel
(`heed.topics`) is resolved once and remembered, and so is the decision where nothing stands.

Source: docs/stops.md, ADR 0010, ADR 0045.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from heed.model import (
    REACH_OF_CAUSE,
    RULE_VERSION,
    SUPPRESSING_RULES,
    Channel,
    Decision,
    Hold,
    Instant,
    Query,
    Reach,
    Reason,
    Record,
    RecordKind,
    Rule,
    TopicClass,
    Verdict,
)
from heed.quiet import is_quiet, quiet_until
from heed.topics import MESSAGE_CHANNELS, ResolvedTopic, TopicTable

KINDS_OF_RULES: Final = {
    1: frozenset(RecordKind) - {RecordKind.QUIET_HOURS},
    RULE_VERSION: frozenset(RecordKind),
}
"""The kinds of record that each version of the rules decides by; any other stops every class."""


@dataclass(slots=True)
class Facts:
    """What stands for the subjects of a query.

    Nobody changes one; it is not frozen because every check makes one, and a frozen one costs
    several times as much to make.
    """

    records: tuple[tuple[Record, ...], ...]
    """The records of each subject named, in order."""
    holds: tuple[Hold, ...]
    topics: TopicTable


def decide(facts: Facts, query: Query, now: Instant) -> Decision:
    """Return the verdict, with every voice of the rule that won.

    Raises:
        InvalidArgumentError: the topic's name is malformed, or no message travels on the channel.
    """
    if not facts.holds and not any(facts.records):
        return decide_without_facts(facts.topics, query)
    topic = facts.topics.resolve(query.channel, query.topic)
    standing = _what_stands(facts, query, topic, now)
    for speak in _RULES:
        reasons = speak(standing)
        if reasons:
            return _decision(reasons, topic.topic_class, undeclared=topic.undeclared)
    return _decision(_BY_DEFAULT, topic.topic_class, undeclared=topic.undeclared)


def decide_without_facts(topics: TopicTable, query: Query) -> Decision:
    """Return the decision of `decide` where there are no holds and no records, at whatever time.

    Raises:
        InvalidArgumentError: as `decide`.
    """
    topic = topics.resolve(query.channel, query.topic)
    return _decide_without_facts(
        topic.topic_class,
        topic.requires_opt_in,
        topic.undeclared,
        topic.suppressed_as_undeclared,
    )


def explain(
    facts: Facts, query: Query, now: Instant, *, rule_version: int = RULE_VERSION
) -> Decision:
    """Return the decision of `decide`, and after its voices those of every later rule that spoke.

    An earlier `rule_version` decides as `decide` did then: what it did not know yet took the side
    that protects.

    Raises:
        InvalidArgumentError: as `decide`.
    """
    topic = facts.topics.resolve(query.channel, query.topic)
    standing = _what_stands(facts, query, topic, now, KINDS_OF_RULES[rule_version])
    reasons = tuple(reason for speak in _RULES for reason in speak(standing))
    return _decision(reasons or _BY_DEFAULT, topic.topic_class, undeclared=topic.undeclared)


_Voice = tuple[int, Record]
"""A record that covers the message and counts now, after the position of its subject."""


@dataclass(slots=True)
class _Standing:
    """What the rules look at: only what covers the message, reaches its class and counts now."""

    topic_class: TopicClass
    requires_opt_in: bool
    suppressed_as_undeclared: bool
    now: Instant
    holds: list[Hold] = field(default_factory=list)
    suppressions: list[_Voice] = field(default_factory=list)
    opt_outs: list[_Voice] = field(default_factory=list)
    opt_ins: list[_Voice] = field(default_factory=list)
    pauses: list[_Voice] = field(default_factory=list)
    quiet_hours: list[_Voice] | None = None
    """Also those that have no quiet now, since they may have it when others end. None: none."""


def _what_stands(
    facts: Facts,
    query: Query,
    topic: ResolvedTopic,
    now: Instant,
    kinds: frozenset[RecordKind] = frozenset(RecordKind),
) -> _Standing:
    standing = _Standing(
        topic.topic_class, topic.requires_opt_in, topic.suppressed_as_undeclared, now
    )
    if facts.holds:
        standing.holds.extend(hold for hold in facts.holds if _holds(hold, query, topic, now))
    for position, records in enumerate(facts.records):
        for record in records:
            if record.topic not in topic.lineage:
                continue
            kind = record.kind
            is_active = record.end_time is None or now < record.end_time
            if kind == _OPT_IN:
                if is_active and record.channel in topic.channels:
                    standing.opt_ins.append((position, record))
            elif record.channel not in topic.channels and record.channel in _KNOWN_CHANNELS:
                continue
            elif kind == _OPT_OUT:
                if _reaches(record, topic):
                    standing.opt_outs.append((position, record))
            elif kind == _PAUSE:
                if is_active and _reaches(record, topic):
                    standing.pauses.append((position, record))
            elif kind == _QUIET_HOURS and kind in kinds:
                if is_active and _reaches(record, topic):
                    standing.quiet_hours = standing.quiet_hours or []
                    standing.quiet_hours.append((position, record))
            elif (
                is_active and (record.cause not in REACH_OF_CAUSE or _reaches(record, topic))
            ) or kind not in kinds:
                standing.suppressions.append((position, record))
    return standing


def _holds(hold: Hold, query: Query, topic: ResolvedTopic, now: Instant) -> bool:
    return (
        hold.topic in topic.lineage
        and (not hold.campaign or hold.campaign == query.campaign)
        # One that names no channel, or one not known here, covers every channel.
        and (hold.channel in topic.channels or hold.channel not in _KNOWN_CHANNELS)
        and hold.is_active(now)
        and not (hold.spares_mandatory and topic.topic_class == _MANDATORY)
    )


def _reaches(stop: Record, topic: ResolvedTopic) -> bool:
    """Whether a stop that covers the message stops its class.

    A promotional one named at a transactional topic stops what is transactional there and beneath.
    """
    if topic.topic_class == _PROMOTIONAL:
        return True
    if stop.reach == _REACH_PROMOTIONAL:
        return topic.topic_class == _TRANSACTIONAL and stop.topic in topic.raising
    if stop.reach == _REACH_TRANSACTIONAL:
        return topic.topic_class == _TRANSACTIONAL
    return True


def _is_lifted(opt_out: Record, opt_in: Record) -> bool:
    """Whether an opt-in lifts an opt-out of the same subject; both cover the message.

    Their topics are then of one lineage, where the longer name is the narrower scope, and their
    channels are the message's or ANY.
    """
    return (
        opt_in.decided_time > opt_out.decided_time
        and opt_out.channel in (_ANY, opt_in.channel)
        and len(opt_in.topic) >= len(opt_out.topic)
    )


_Reasons = tuple[Reason, ...]


def _held(standing: _Standing) -> _Reasons:
    return tuple(Reason(_RULE_HOLD, hold=hold) for hold in standing.holds)


def _suppressed(standing: _Standing) -> _Reasons:
    return _voices(_RULE_SUPPRESSION, standing.suppressions)


def _opted_out(standing: _Standing) -> _Reasons:
    opt_outs, opt_ins = standing.opt_outs, standing.opt_ins
    if opt_outs and opt_ins:
        opt_outs = [
            (subject, opt_out)
            for subject, opt_out in opt_outs
            if not any(
                subject == other and _is_lifted(opt_out, opt_in) for other, opt_in in opt_ins
            )
        ]
    return _voices(_RULE_OPT_OUT, opt_outs)


def _mandatory(standing: _Standing) -> _Reasons:
    return _BY_MANDATORY if standing.topic_class == _MANDATORY else ()


def _paused(standing: _Standing) -> _Reasons:
    return _voices(_RULE_PAUSE, standing.pauses)


def _in_quiet_hours(standing: _Standing) -> _Reasons:
    if standing.quiet_hours is None:
        return ()
    now = standing.now
    speaking = [one for one in standing.quiet_hours if is_quiet(one[1].quiet_hours, now)]
    if not speaking:
        return ()
    until = quiet_until([record.quiet_hours for _, record in standing.quiet_hours], now)
    return tuple(
        Reason(_RULE_QUIET_HOURS, subject=subject, record=record, until=until)
        for subject, record in speaking
    )


def _undeclared(standing: _Standing) -> _Reasons:
    return _BY_UNDECLARED_TOPIC if standing.suppressed_as_undeclared else ()


def _without_consent(standing: _Standing) -> _Reasons:
    return _BY_NO_CONSENT if standing.requires_opt_in and not standing.opt_ins else ()


def _opted_in(standing: _Standing) -> _Reasons:
    return _voices(_RULE_OPT_IN, standing.opt_ins)


def _voices(rule: Rule, voices: list[_Voice]) -> _Reasons:
    if not voices:
        return ()
    if len(voices) == 1:
        return (_voice(rule, *voices[0]),)
    return tuple(_voice(rule, subject, record) for subject, record in voices)


def _voice(rule: Rule, subject: int, record: Record) -> Reason:
    reason = _NEW_REASON(Reason)
    _SET_RULE(reason, rule)
    _SET_SUBJECT(reason, subject)
    _SET_RECORD(reason, record)
    _SET_HOLD(reason, None)
    _SET_UNTIL(reason, None)
    return reason


_RULES: tuple[Callable[[_Standing], _Reasons], ...] = (
    _held,
    _suppressed,
    _opted_out,
    _mandatory,
    _paused,
    _in_quiet_hours,
    _undeclared,
    _without_consent,
    _opted_in,
)


def _decision(reasons: _Reasons, topic_class: TopicClass, *, undeclared: bool) -> Decision:
    verdict = _SUPPRESSED if reasons[0].rule in SUPPRESSING_RULES else _ALLOWED
    decision = _NEW_DECISION(Decision)
    _SET_VERDICT(decision, verdict)
    _SET_REASONS(decision, reasons)
    _SET_UNDECLARED(decision, undeclared)
    _SET_CLASS(decision, topic_class)
    return decision


@cache  # at most 24 decisions: three classes and three facts
def _decide_without_facts(
    topic_class: TopicClass,
    requires_opt_in: bool,  # noqa: FBT001 - positional, for the cache
    undeclared: bool,  # noqa: FBT001 - the same
    suppressed_as_undeclared: bool,  # noqa: FBT001 - the same
) -> Decision:
    standing = _Standing(topic_class, requires_opt_in, suppressed_as_undeclared, Instant(0))
    reasons = next(filter(None, (speak(standing) for speak in _RULES)), _BY_DEFAULT)
    return _decision(reasons, topic_class, undeclared=undeclared)


# Members by name here: Python 3.11 looks one up on its enum some ten times slower.
_ANY: Final = Channel.ANY
_KNOWN_CHANNELS: Final = MESSAGE_CHANNELS | {Channel.ANY, Channel.PROCESSING}
_OPT_OUT: Final = RecordKind.OPT_OUT
_OPT_IN: Final = RecordKind.OPT_IN
_PAUSE: Final = RecordKind.PAUSE
_QUIET_HOURS: Final = RecordKind.QUIET_HOURS
_PROMOTIONAL: Final = TopicClass.PROMOTIONAL
_TRANSACTIONAL: Final = TopicClass.TRANSACTIONAL
_MANDATORY: Final = TopicClass.MANDATORY
_REACH_PROMOTIONAL: Final = Reach.PROMOTIONAL
_REACH_TRANSACTIONAL: Final = Reach.TRANSACTIONAL
_RULE_HOLD: Final = Rule.HOLD
_RULE_SUPPRESSION: Final = Rule.SUPPRESSION
_RULE_OPT_OUT: Final = Rule.OPT_OUT
_RULE_PAUSE: Final = Rule.PAUSE
_RULE_QUIET_HOURS: Final = Rule.QUIET_HOURS
_RULE_OPT_IN: Final = Rule.OPT_IN
_SUPPRESSED: Final = Verdict.SUPPRESSED
_ALLOWED: Final = Verdict.ALLOWED
_BY_MANDATORY: Final = (Reason(Rule.MANDATORY),)
_BY_UNDECLARED_TOPIC: Final = (Reason(Rule.UNDECLARED_TOPIC),)
_BY_NO_CONSENT: Final = (Reason(Rule.NO_CONSENT),)
_BY_DEFAULT: Final = (Reason(Rule.DEFAULT),)

# Frozen values made by their constructors cost as much as the rules that speak (`heed.records`).
_NEW_REASON: Final = Reason.__new__
_SET_RULE: Final = Reason.__dict__["rule"].__set__
_SET_SUBJECT: Final = Reason.__dict__["subject"].__set__
_SET_RECORD: Final = Reason.__dict__["record"].__set__
_SET_HOLD: Final = Reason.__dict__["hold"].__set__
_SET_UNTIL: Final = Reason.__dict__["until"].__set__
_NEW_DECISION: Final = Decision.__new__
_SET_VERDICT: Final = Decision.__dict__["verdict"].__set__
_SET_REASONS: Final = Decision.__dict__["reasons"].__set__
_SET_UNDECLARED: Final = Decision.__dict__["undeclared_topic"].__set__
_SET_CLASS: Final = Decision.__dict__["topic_class"].__set__

"""How many Checks were answered and by which rule, since a process began to answer them.

Laws:
- What is counted was answered, by this process; a retry is counted again.
- Only the service's checks write one, on their loop; who reads one from elsewhere reads numbers
  that may be a moment apart.
- Nothing that a caller sends is kept: a mandatory topic is one that an operator declared.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from heed.decide import Facts, decide
from heed.model import Channel, Decision, Instant, Query, Record, Rule, Verdict
from heed.topics import TopicTable
from heed_server.telemetry.metrics import Declaration, Reading

_UNDECLARED: Final = TopicTable(())
"""By it every topic is promotional, so that what a person chose is heard."""
_RULE_MANDATORY: Final = Rule.MANDATORY
_SUPPRESSED: Final = Verdict.SUPPRESSED


@dataclass(slots=True)
class Volume:
    """Messages allowed because their topic is mandatory."""

    messages: int = 0
    overriding: int = 0
    """Those of them to people whose own choice would have suppressed a promotional message of the
    same topic and channel."""


@dataclass(slots=True)
class Tally:
    """The answers about one tenant."""

    by_rule: list[int] = field(default_factory=lambda: [0] * (max(Rule) + 1))
    """At a rule's number: the answers that it gave. At 0: nothing."""
    undeclared: int = 0
    """Answers about topics that nobody declared."""
    mandatory: dict[tuple[Channel, str], Volume] = field(default_factory=dict)
    """By channel and topic."""

    def count(
        self, query: Query, decision: Decision, records: Sequence[Sequence[Record]], now: Instant
    ) -> None:
        """Count an answer; `records`: of each subject named, needed where mandatory."""
        rule = decision.reasons[0].rule
        self.by_rule[rule] += 1
        if decision.undeclared_topic:
            self.undeclared += 1
        if rule is _RULE_MANDATORY:
            volume = self.mandatory.setdefault((query.channel, query.topic), Volume())
            volume.messages += 1
            if any(records) and _is_overriding(query, records, now):
                volume.overriding += 1

    @property
    def answers(self) -> int:
        """All of them."""
        return sum(self.by_rule)


def of_tallies(read: Callable[[], Iterable[tuple[str, Tally]]]) -> list[Declaration]:
    """Return the metrics of what was answered; `read` gives tallies by the names of tenants."""
    return [
        Declaration(
            name="heed_checks_total",
            meaning="Checks answered, by the rule that decided.",
            labels=("tenant", "rule"),
            read=lambda: [
                Reading(value=tally.by_rule[rule], labels=(tenant, rule.name.lower()))
                for tenant, tally in read()
                for rule in Rule
            ],
            is_counter=True,
        ),
        Declaration(
            name="heed_undeclared_topics_total",
            meaning="Checks answered about a topic that nobody declared.",
            labels=("tenant",),
            read=lambda: [
                Reading(value=tally.undeclared, labels=(tenant,)) for tenant, tally in read()
            ],
            is_counter=True,
        ),
    ]


def together(tallies: Iterable[Tally]) -> Tally:
    """Return what several processes answered."""
    all_ = Tally()
    for one in tallies:
        all_.by_rule = [sum(pair) for pair in zip(all_.by_rule, one.by_rule, strict=True)]
        all_.undeclared += one.undeclared
        for place, volume in one.mandatory.copy().items():
            known = all_.mandatory.setdefault(place, Volume())
            known.messages += volume.messages
            known.overriding += volume.overriding
    return all_


def _is_overriding(query: Query, records: Sequence[Sequence[Record]], now: Instant) -> bool:
    facts = Facts(records=tuple(map(tuple, records)), holds=(), topics=_UNDECLARED)
    return decide(facts, query, now).verdict is _SUPPRESSED

"""Decisions by what the store says stands, with every rule that spoke."""

from collections.abc import Sequence

from heed.decide import Facts, explain
from heed.model import RULE_VERSION, Decision, Instant, Query, SubjectKey, Verdict
from heed.records import in_order
from heed.topics import TopicTable
from heed_server.store import Standing


def facts_of(standing: Standing, people: Sequence[Sequence[SubjectKey]]) -> Facts:
    """Return what a decision about subjects is made by, each of them under all its keys."""
    return Facts(
        records=tuple(
            in_order(one.record for one in standing.records if one.key in keys) for keys in people
        ),
        holds=tuple(one.hold for one in standing.holds),
        topics=TopicTable(standing.topics),
    )


def explain_by(
    facts: Facts,
    query: Query,
    now: Instant,
    other: Instant | None,
    rule_version: int = RULE_VERSION,
) -> Decision:
    """Decide by both times that it may be, `other` being None while `now` is believed.

    Allowed is only what both allow, as of a Check.
    """
    decision = explain(facts, query, now, rule_version=rule_version)
    if decision.verdict is Verdict.ALLOWED and other is not None:
        return explain(facts, query, other, rule_version=rule_version)
    return decision

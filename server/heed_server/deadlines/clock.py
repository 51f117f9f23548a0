"""By when an opt-out must have been honoured: a pure function of the opt-out and the policies.

Laws:
- A deadline counts from when the person decided, and is never before that; a later opt-out of the
  same place and channel has no earlier deadline by the same policy.
- Days are those of the policy's time zones; where a jurisdiction has several, the deadline that
  comes first counts. A day counts to its end, and the day of the opt-out itself is not counted,
  save where a policy says so.
- Where no policy of its jurisdiction speaks on its channel, the tenant's defaults do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from heed.model import Change, ChangeKind, Channel, Effect, Instant, RecordKind, Revision
from heed_server.deadlines.policies import EVERYWHERE, QUARTER, Policies, Policy, is_within

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HOUR = 3_600 * 1_000_000
_QUARTER = QUARTER // _MICROSECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut:
    """What the clock needs of an opt-out; not whose it is."""

    revision: Revision
    commit_time: Instant
    decided_time: Instant
    channel: Channel
    topic: str
    jurisdiction: str
    """Empty: unknown."""


class Deadline(NamedTuple):
    """By when, and by which policy."""

    time: Instant
    policy: str
    calendar: str
    """The calendar of its business days with its version, `US 2026-11`; empty: it counts none."""


class Clocked(NamedTuple):
    """An opt-out with its deadlines, the earliest first."""

    opt_out: OptOut
    deadlines: tuple[Deadline, ...]


def opt_out_of(change: Change) -> OptOut | None:
    """Return the opt-out that a change made; None: it made none.

    One that something later had superseded when it was written changes nothing for anybody.
    """
    record = change.record
    if (
        change.kind is not ChangeKind.CHOICE
        or change.effect is not Effect.APPLIED
        or record is None
        or record.kind is not RecordKind.OPT_OUT
    ):
        return None
    return OptOut(
        revision=change.revision,
        commit_time=change.commit_time,
        decided_time=record.decided_time,
        channel=record.channel,
        topic=record.topic,
        jurisdiction="" if change.origin is None else change.origin.jurisdiction,
    )


def deadlines_of(opt_out: OptOut, policies: Policies, tenant: str) -> tuple[Deadline, ...]:
    """Return the deadline by each policy that speaks of an opt-out of a tenant, earliest first."""
    found = [
        Deadline(_by(name, policies, opt_out.decided_time), name, _told(policy, policies))
        for name, policy in _speaking(opt_out, policies, tenant)
        if _is_in_force(policy, opt_out.decided_time)
    ]
    return tuple(sorted(found))


def _speaking(opt_out: OptOut, policies: Policies, tenant: str) -> Iterator[tuple[str, Policy]]:
    """Yield the policies for the opt-out's place and channel, whenever they are in force."""
    channel, is_known = opt_out.channel, False
    places = policies.places
    defaults = policies.default_of(tenant)
    everywhere: list[str] = []
    for name, policy in policies.policies.items():
        if not policy.reaches(channel):
            continue
        if is_within(opt_out.jurisdiction, places[name]):
            is_known = True
            yield name, policy
        elif EVERYWHERE in places[name]:
            everywhere.append(name)
    names = dict.fromkeys(everywhere if is_known else [*everywhere, *defaults])
    yield from (
        (name, policies.policies[name])
        for name in names
        if policies.policies[name].reaches(channel)
    )


def _is_in_force(policy: Policy, decided: Instant) -> bool:
    day = _moment(decided).date()
    return (policy.since is None or day >= policy.since) and (
        policy.until is None or day < policy.until
    )


def _by(name: str, policies: Policies, decided: Instant) -> Instant:
    policy = policies.policies[name]
    if policy.hours is not None:
        return Instant(decided + policy.hours * _HOUR)
    return policies.ends(name, decided // _QUARTER)


def _told(policy: Policy, policies: Policies) -> str:
    name = policy.calendar
    return f"{name} {policies.calendars[name].version}" if name else ""


def _moment(instant: Instant) -> datetime:
    return _EPOCH + instant * _MICROSECOND

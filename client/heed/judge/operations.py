"""What operators do to topics and holds.

Laws:
- Declaring a topic again may only tighten it; loosening is an act of its own, with a reason.
- A retired topic stays what it is: nothing declares it again.
- A hold stands until it is lifted or ends; lifting one restores exactly what stood before.
- Nothing but lifting takes a hold out of what is kept: a clock that was wrong for a while must not
  have lifted one for good. So those that ended count too.
"""

from dataclasses import replace

from heed.acts import DeclareTopic, LiftHold, PlaceHold, RetireTopic
from heed.errors import (
    ConflictError,
    ErrorReason,
    ExhaustedError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
)
from heed.judge.ledger import Draft, Ruling
from heed.model import ChangeKind, Effect, Hold, Origin, Topic
from heed.topics import loosened_fields

TOPICS_MAX = 10_000
"""Declared topics a tenant, retired ones too."""
HOLDS_MAX = 1_000
"""Holds a tenant that are not lifted, ended ones too."""


def judge_declare(act: DeclareTopic, ruling: Ruling) -> None:
    """Declare a topic, tighten it, or loosen it where the act says so.

    Raises:
        ConflictError: TOPIC_RETIRED, TOPIC_WOULD_LOOSEN.
        NotFoundError: TOPIC_UNKNOWN, only a declared topic can be loosened.
        ExhaustedError: LIMIT_REACHED.
        UnavailableError: CLOCK_UNTRUSTED.
    """
    ruling.require_trusted_clock()
    name = act.topic.name
    before = ruling.ledger.topics.get(name)
    if before is None:
        if act.loosens:
            raise _topic_unknown(name)
        _require_room(
            "topics_max", len(ruling.ledger.topics), TOPICS_MAX, "use one that is declared"
        )
    elif before.retired:
        raise ConflictError(
            f"the topic {name!r} is retired and stays what it is; declare another",
            reason=ErrorReason.TOPIC_RETIRED,
            metadata={"topic": name},
        )
    loosened = loosened_fields(ruling.ledger.topics, act.topic)
    if loosened and not act.loosens:
        raise ConflictError(
            f"declaring {name!r} so would loosen {', '.join(loosened)}; "
            + ("loosen it with a reason" if before else "declare it transactional, then loosen it"),
            reason=ErrorReason.TOPIC_WOULD_LOOSEN,
            metadata={"topic": name, "field": loosened[0]},
        )
    _set_topic(replace(act.topic, retired=False), act.origin, act.reason, ruling)


def judge_retire(act: RetireTopic, ruling: Ruling) -> None:
    """Retire a topic. One that is retired already stays as it is, and nothing is logged.

    Raises:
        NotFoundError: TOPIC_UNKNOWN.
        UnavailableError: CLOCK_UNTRUSTED.
    """
    ruling.require_trusted_clock()
    before = ruling.ledger.topics.get(act.name)
    if before is None:
        raise _topic_unknown(act.name)
    if before.retired:
        ruling.topic = before
        return
    _set_topic(replace(before, retired=True), act.origin, act.reason, ruling)


def judge_place(act: PlaceHold, ruling: Ruling) -> None:
    """Place a hold.

    Raises:
        InvalidArgumentError: it ends before it begins, or its id is taken.
        ExhaustedError: LIMIT_REACHED.
    """
    now = ruling.commit_time
    holds = ruling.ledger.holds
    if not act.hold.is_active(now):
        raise _invalid("hold.end_time", "is not after the commit time; name a later end, or none")
    if act.hold.hold_id in holds:
        raise _invalid("hold.hold_id", f"{act.hold.hold_id!r} is in place already; make a new id")
    over = next((hold_id for hold_id, hold in holds.items() if not hold.is_active(now)), None)
    if not act.hold.spares_mandatory:  # a restore is not refused for want of room
        _require_room(
            "holds_max",
            len(holds) + len(ruling.placed),
            HOLDS_MAX,
            "lift one that you no longer need" if over is None else f"{over!r} has ended: lift it",
        )
    hold = replace(act.hold, revision=ruling.revision)
    _log_hold(ChangeKind.HOLD, hold, act.origin, hold.reason, ruling)
    ruling.placed.append(hold)


def judge_lift(act: LiftHold, ruling: Ruling) -> None:
    """Lift a hold.

    Raises:
        NotFoundError: HOLD_UNKNOWN.
        UnavailableError: CLOCK_UNTRUSTED.
    """
    ruling.require_trusted_clock()
    hold = ruling.ledger.holds.get(act.hold_id)
    if hold is None:
        raise NotFoundError(
            f"no hold {act.hold_id!r} is in place; list the holds",
            reason=ErrorReason.HOLD_UNKNOWN,
            metadata={"hold_id": act.hold_id},
        )
    _log_hold(ChangeKind.LIFT, hold, act.origin, act.reason, ruling)
    ruling.lifted.append(hold)


def _set_topic(topic: Topic, origin: Origin, reason: str, ruling: Ruling) -> None:
    topic = replace(topic, revision=ruling.revision)
    ruling.drafts.append(
        Draft(
            ChangeKind.TOPIC,
            Effect.APPLIED,
            ruling.commit_time,
            origin,
            topic=topic,
            reason=reason,
        )
    )
    ruling.topics.append(topic)
    ruling.topic = topic


def _log_hold(kind: ChangeKind, hold: Hold, origin: Origin, reason: str, ruling: Ruling) -> None:
    ruling.drafts.append(
        Draft(kind, Effect.APPLIED, ruling.commit_time, origin, hold=hold, reason=reason)
    )
    ruling.hold = hold


def _require_room(limit: str, there: int, most: int, remedy: str) -> None:
    if there >= most:
        raise ExhaustedError(
            f"there are {there} already, and {limit} is {most}; {remedy}",
            reason=ErrorReason.LIMIT_REACHED,
            metadata={"limit": limit, "value": str(most)},
        )


def _topic_unknown(name: str) -> NotFoundError:
    return NotFoundError(
        f"the topic {name!r} is not declared",
        reason=ErrorReason.TOPIC_UNKNOWN,
        metadata={"topic": name},
    )


def _invalid(field: str, said: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{field} {said}", violations=[FieldViolation(field, said)])

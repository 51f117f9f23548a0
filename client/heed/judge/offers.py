"""What followers offer back after a restore: records and holds that the log lost.

Laws:
- It is taken only while the hold of a restore stands, under which nothing but mandatory messages
  goes out; what comes later is refused, never quietly dropped.
- Only what protects is taken. What is no stronger than what stands changes nothing and is not in
  the log, so that a hundred followers with the same are one change; where it is not the same it is
  kept as a reserve, by which it stands if what made it change nothing is undone.
- A record counts by the time that it was decided at, cut to the commit time; a pause never ends an
  active one sooner nor narrows it, and quiet hours never leave an hour free that is quiet.
- Nobody's readable address is known by an offer, so none is kept.
Source: ADR 0040.
"""

from collections.abc import Iterable
from dataclasses import replace

from heed.acts import Offered, OfferRecords, PlaceHold, Tally
from heed.errors import ConflictError, ErrorReason
from heed.hours import union
from heed.judge.ledger import Draft, Held, Ruling, slot_key
from heed.judge.operations import judge_place
from heed.judge.protections import note_reserve
from heed.model import OF_ONE_SLOT, ChangeKind, Effect, Hold, Instant, Record, RecordKind
from heed.records import merge


def judge_offer(act: OfferRecords, ruling: Ruling) -> None:
    """Take what an offer has that protects more than what stands.

    Raises:
        ConflictError: OFFERS_CLOSED.
        ExhaustedError: LIMIT_REACHED, there are as many holds as there may be.
    """
    require_offers_taken(ruling.ledger.holds.values())
    added = strengthened = unchanged = 0
    for offered in act.offered:
        before, stands = _take(offered, act, ruling)
        if stands is before:
            unchanged += 1
        elif before is None:
            added += 1
        else:
            strengthened += 1
    for hold in act.holds:
        if hold.hold_id not in ruling.ledger.holds and hold.is_active(ruling.commit_time):
            judge_place(PlaceHold(hold=hold, origin=act.origin), ruling)
    ruling.tally = Tally(added=added, strengthened=strengthened, unchanged=unchanged)


def require_offers_taken(holds: Iterable[Hold]) -> None:
    """Refuse an offer where the hold of no restore is among those that were not lifted.

    Raises:
        ConflictError: OFFERS_CLOSED.
    """
    if not any(hold.spares_mandatory for hold in holds):
        raise ConflictError(
            "no hold of a restore stands, so nothing is taken of an earlier life of the store; "
            "drop what you hold of it, and have it recorded again by the people it is about",
            reason=ErrorReason.OFFERS_CLOSED,
        )


def _take(
    offered: Offered, act: OfferRecords, ruling: Ruling
) -> tuple[Record | None, Record | None]:
    """Put one record where it protects more; return what stood in its slot, and what stands."""
    key = offered.key
    asked = replace(
        offered.record,
        decided_time=min(offered.record.decided_time, ruling.commit_time),
        revision=ruling.revision,
    )
    slot = slot_key(asked)
    held = ruling.slots(key).get(slot)
    current = held.record if held is not None and held.standing else None
    release_time = held.release_time if held is not None else None
    if not asked.is_active(ruling.commit_time) or (
        release_time is not None and asked.decided_time <= release_time
    ):
        return current, current
    if asked.kind in OF_ONE_SLOT and current is not None:
        asked = _no_weaker(asked, current, ruling.commit_time)
    stands = merge(current, asked)
    if current is not None and stands is current:
        if replace(asked, revision=current.revision) != current:
            note_reserve(key, slot, asked, "", ruling)
        return current, current
    is_stop = asked.kind is RecordKind.SUPPRESSION
    ruling.drafts.append(
        Draft(
            ChangeKind.SUPPRESSION if is_stop else ChangeKind.CHOICE,
            Effect.APPLIED,
            ruling.commit_time,
            act.origin,
            asked=asked,
            stands=stands,
            whose=key,
            approved=act.approved,
        )
    )
    ruling.hold_slot(key, slot, Held(stands, True, release_time))
    return current, stands


def _no_weaker(asked: Record, current: Record, now: Instant) -> Record:
    """Return a pause, or quiet hours, that stop at least what those do that stand."""
    if not current.is_active(now):
        return asked
    ends = (asked.end_time, current.end_time)
    return replace(
        asked,
        reach=max(asked.reach, current.reach),
        end_time=None if None in ends else max(end for end in ends if end is not None),
        quiet_hours=union(asked.quiet_hours, current.quiet_hours),
    )

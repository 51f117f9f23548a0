"""What people choose: opt-outs, opt-ins, pauses, quiet hours, their ends (design, section 3).

Laws:
- A stop without a time takes its commit time; one ahead of it is cut to it, never refused for it.
- What weakens (an opt-in, the end of a pause or of quiet hours, a pause that ends an active one
  sooner or narrows it, quiet hours that leave an hour free or narrow them) needs a method by which
  the person acted; what only weakens is refused when it is ahead of the commit time.
- A late arrival is logged and counts by its own time: it replaces nothing that was decided later.
- An opt-in decided before its subject was erased is logged and does nothing.
"""

from dataclasses import replace

from heed.acts import ENDED_BY, STOPS, KeyedSubject, SetPreferences, StoredRecord
from heed.errors import FieldViolation, InvalidArgumentError
from heed.hours import NO_HOURS, are_as_quiet
from heed.judge.ledger import Draft, Held, Ruling, require_act_of_person, slot_key
from heed.model import (
    Cause,
    ChangeKind,
    Choice,
    ChoiceKind,
    Effect,
    Instant,
    Origin,
    Reach,
    Record,
    RecordKind,
    Revision,
)
from heed.records import merge

_FOREVER = 2**63
_KINDS = {
    ChoiceKind.OPT_OUT: RecordKind.OPT_OUT,
    ChoiceKind.OPT_IN: RecordKind.OPT_IN,
    ChoiceKind.PAUSE: RecordKind.PAUSE,
    ChoiceKind.END_PAUSE: RecordKind.PAUSE,
    ChoiceKind.QUIET_HOURS: RecordKind.QUIET_HOURS,
    ChoiceKind.END_QUIET_HOURS: RecordKind.QUIET_HOURS,
}


def judge_preferences(act: SetPreferences, ruling: Ruling) -> None:
    """Record what people chose, each choice under each of their subjects.

    Raises:
        ConflictError: CONSENT_REQUIRED.
        InvalidArgumentError: a choice that weakens has no time, or one ahead of the commit time.
        UnavailableError: CLOCK_UNTRUSTED.
    """
    is_alone = len(act.people) == 1
    for item, person in enumerate(act.people):
        path = "" if is_alone else f"people[{item}]."
        for choice in person.choices:
            if choice.kind not in STOPS:
                ruling.require_trusted_clock()
                require_act_of_person(person.origin, _NAMES[choice.kind])
        for subject_index, subject in enumerate(person.subjects):
            for choice_index, choice in enumerate(person.choices):
                asked = _asked(
                    choice, person.origin, ruling, f"{path}choices[{choice_index}]", path
                )
                effect = _record(choice, person.origin, subject, asked, ruling, act)
                ruling.stored.append(
                    StoredRecord(
                        item=item, subject_index=subject_index, record=asked, effect=effect
                    )
                )
    if is_alone:
        ruling.standing = [
            (0, subject_index, record)
            for subject_index, subject in enumerate(act.people[0].subjects)
            for record in ruling.standing_of(subject.key)
        ]


def _asked(choice: Choice, origin: Origin, ruling: Ruling, name: str, path: str) -> Record:
    """Return the record that a choice asks for, at its own time."""
    commit_time = ruling.commit_time
    decided_time = origin.decided_time
    if choice.kind is ChoiceKind.OPT_IN and decided_time is None:
        raise _wrong_time(path, f"is required: {name} is an opt-in; say when the person decided")
    if decided_time is None:
        decided_time = commit_time
    elif decided_time > commit_time:
        if choice.kind not in STOPS:
            raise _wrong_time(
                path,
                f"is ahead of the commit time, and {name} lets messages through; "
                "say when the person decided, by a clock that is right",
            )
        decided_time = commit_time
    return _record_of(choice, decided_time, ruling.revision)


def _record_of(choice: Choice, decided_time: Instant, revision: Revision) -> Record:
    end_time = choice.end_time
    reach = choice.reach
    quiet_hours = choice.quiet_hours
    if choice.kind is ChoiceKind.OPT_IN:
        reach = Reach.ALL
    elif choice.kind is ChoiceKind.OPT_OUT:
        end_time = None
    elif choice.kind in ENDED_BY:
        # The end of a pause is kept as a pause that is over: a pause decided before it that
        # arrives after it must not stand up again. So it is with quiet hours.
        end_time = decided_time
        quiet_hours = NO_HOURS if choice.kind is ChoiceKind.END_QUIET_HOURS else None
    return Record(
        _KINDS[choice.kind],
        Cause.NONE,
        reach,
        choice.scope.channel,
        choice.scope.topic,
        decided_time,
        end_time,
        revision,
        quiet_hours,
        choice.no_ask_until,
    )


def _record(
    choice: Choice,
    origin: Origin,
    subject: KeyedSubject,
    asked: Record,
    ruling: Ruling,
    act: SetPreferences,
) -> Effect:
    slot = slot_key(asked)
    held = ruling.slots(subject.key).get(slot)
    current = held.record if held is not None and held.standing else None
    erase_time = ruling.erase_time(subject.key) if choice.kind is ChoiceKind.OPT_IN else None
    if erase_time is not None and asked.decided_time <= erase_time:
        stands, effect = current, _SUPERSEDED
    else:
        stands = merge(current, asked)
        effect = Effect.APPLIED if stands is not current or _is_same(stands, asked) else _SUPERSEDED
        if erase_time is not None and effect is Effect.APPLIED:
            ruling.renewed.add(subject.key)
    if current is not None and stands is not None and choice.kind in _WEAKER:
        _require_no_weaker(current, stands, _WEAKER[choice.kind], origin, ruling)
    ruling.drafts.append(
        Draft(
            kind=ChangeKind.CHOICE,
            effect=effect,
            commit_time=ruling.commit_time,
            origin=origin,
            subject=subject,
            asked=asked,
            stands=stands if effect is Effect.APPLIED else asked,
            evidence=choice.evidence,
            batch_id=act.batch_id,
            approved=act.approved,
        )
    )
    if stands is not None and stands is not current:
        release_time = held.release_time if held is not None else None
        ruling.hold_slot(subject.key, slot, Held(stands, True, release_time))
    return effect


def _require_no_weaker(
    current: Record, stands: Record, what: str, origin: Origin, ruling: Ruling
) -> None:
    if not current.is_active(ruling.commit_time):
        return
    if (
        _end(stands) < _end(current)
        or stands.reach < current.reach
        or not are_as_quiet(stands.quiet_hours, current.quiet_hours)
    ):
        ruling.require_trusted_clock()
        require_act_of_person(origin, what)


def _is_same(stands: Record, asked: Record) -> bool:
    return replace(stands, revision=asked.revision) == asked


def _end(record: Record) -> int:
    return _FOREVER if record.end_time is None else record.end_time


def _wrong_time(path: str, said: str) -> InvalidArgumentError:
    field = f"{path}origin.decided_time"
    return InvalidArgumentError(f"{field} {said}", violations=[FieldViolation(field, said)])


_SUPERSEDED = Effect.SUPERSEDED
_NAMES = {
    ChoiceKind.OPT_IN: "an opt-in",
    ChoiceKind.END_PAUSE: "the end of a pause",
    ChoiceKind.END_QUIET_HOURS: "the end of quiet hours",
}
_WEAKER = {
    ChoiceKind.PAUSE: "a pause that ends an active one sooner or narrows it",
    ChoiceKind.QUIET_HOURS: "a change of quiet hours that leaves an hour free or narrows them",
}
"""Of what replaces what stands: what it must not be without the person."""

"""What can be asked of a tenant's log, as a closed union of acts, and what comes of it.

An act is already translated and bounded (`heed.wire`): its subjects are normalised and keyed, its
scopes are resolved. Whether it may stand is judged under the log's lock (`heed.judge`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from heed.audit.claims import ReceiptClaim
from heed.keys import LookupKey
from heed.model import (
    Cause,
    Choice,
    ChoiceKind,
    Effect,
    Hold,
    Instant,
    Origin,
    Reach,
    Record,
    RecordKind,
    Revision,
    Scope,
    Subject,
    SubjectKey,
    Topic,
)

STOPS = frozenset({ChoiceKind.OPT_OUT, ChoiceKind.PAUSE, ChoiceKind.QUIET_HOURS})
"""The choices that only ever stop messages."""

ENDED_BY = {
    ChoiceKind.END_PAUSE: ChoiceKind.PAUSE,
    ChoiceKind.END_QUIET_HOURS: ChoiceKind.QUIET_HOURS,
}
"""What a person began that they end by another choice."""


class KeyedSubject(NamedTuple):
    """A normalised subject and its key under the tenant's lookup key."""

    key: SubjectKey
    subject: Subject


class Approved(NamedTuple):
    """Who asked for what needed a second person, and who that was."""

    asked_by: str
    approved_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonChoices:
    """The choices of one person, recorded under each of their identifiers."""

    subjects: tuple[KeyedSubject, ...]
    choices: tuple[Choice, ...]
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPreferences:
    """Record what people chose: all of it, or nothing."""

    people: tuple[PersonChoices, ...]
    batch_id: str = ""
    """Names the batch that it can be undone by; empty: it is of none."""
    approved: Approved | None = None


class Protection(NamedTuple):
    """One stop to add: an opt-out (cause NONE) or a suppression, at one scope of one subject.

    A named tuple, since a list has a million of them.
    """

    subject: KeyedSubject
    cause: Cause
    reach: Reach
    scope: Scope
    decided_time: Instant | None
    """None: the commit time."""
    end_time: Instant | None = None
    reason: str = ""
    row: int = 0
    """The position in the request, from 0: which row or suppression this belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddProtections:
    """Add suppressions, or a chunk of an imported list. Never weakens what stands."""

    protections: tuple[Protection, ...]
    origin: Origin
    batch_id: str = ""
    skips_unchanged: bool = False
    """True for imports: a protection that changes nothing that stands makes no change."""
    approved: Approved | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSuppression:
    """Release one subject's suppressions of a cause at exactly these scopes."""

    subject: KeyedSubject
    cause: Cause
    scopes: tuple[Scope, ...]
    reason: str
    origin: Origin
    approved: Approved | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclareTopic:
    """Declare a topic, or tighten it; `loosens` with a reason allows the other direction."""

    topic: Topic
    origin: Origin
    loosens: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireTopic:
    """Retire a declared topic."""

    name: str
    reason: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceHold:
    """Place a hold; its id is made by the caller (ids are arguments, never made in logic)."""

    hold: Hold
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftHold:
    """Lift a hold."""

    hold_id: str
    reason: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseSubjects:
    """Erase what is known of one person under these keys; every stop stands on.

    It names no readable subject: the ledger of erasures, by which a restore erases again, has none.
    """

    keys: tuple[SubjectKey, ...]
    origin: Origin
    reason: str = ""
    was_lost: bool = False
    """True for erasures that a restore lost: they are logged also where nothing is left to erase or
    nothing is known, since an opt-in decided before them may arrive yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertBatch:
    """Undo a batch for some of the people it touched, as if it had never been for them.

    The first closes the batch: nothing is added to it from then on.
    """

    batch_id: str
    keys: tuple[SubjectKey, ...]
    through: Revision
    """The batch's last change, as it was when `keys` were looked for."""
    reason: str
    origin: Origin
    approved: Approved | None = None


class Found(NamedTuple):
    """A record as somebody found it: whose, in which slot, and the change that last set it."""

    key: SubjectKey
    slot: tuple[int, str]
    revision: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSuppressions:
    """Release suppressions of several people, those that are still as they were found."""

    found: tuple[Found, ...]
    reason: str
    origin: Origin
    approved: Approved | None = None
    people_after: int = 0
    """People of the parts that come after this one: a cap must have room for them too."""


class Offered(NamedTuple):
    """A record that a follower had before a restore, and whose: of nobody's readable address."""

    key: SubjectKey
    record: Record
    """Its revision is of an earlier life of the store, and says nothing here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferRecords:
    """Take what protects of what a follower holds of an earlier life of the store."""

    offered: tuple[Offered, ...]
    holds: tuple[Hold, ...]
    origin: Origin
    approved: Approved | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AddLookupKey:
    """Have subjects stand under another lookup key from here on."""

    key: LookupKey
    """Its id is one more than the newest."""
    reason: str
    origin: Origin


class Move(NamedTuple):
    """A subject under its key by the newest lookup key, and the key under which it stands."""

    subject: KeyedSubject
    previous: SubjectKey


@dataclass(frozen=True, slots=True, kw_only=True)
class RekeySubjects:
    """Have what stands for these subjects stand under the keys that the newest lookup key makes.

    Whoever is readable no more, or was moved already, is left where they are.
    """

    key_id: int
    """The newest lookup key."""
    moves: tuple[Move, ...]
    origin: Origin


Act = (
    SetPreferences
    | AddProtections
    | OfferRecords
    | ReleaseSuppression
    | ReleaseSuppressions
    | RevertBatch
    | DeclareTopic
    | RetireTopic
    | PlaceHold
    | LiftHold
    | EraseSubjects
    | AddLookupKey
    | RekeySubjects
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """What one asked-for record became."""

    item: int
    """The position of the person, protection or row in the act."""
    subject_index: int
    """The position of the subject among the item's subjects."""
    record: Record
    """What was asked, as stored (cut times, resolved reach); its revision is its change's. For a
    protection: what stands in its slot now."""
    effect: Effect


class ErasedSubject(NamedTuple):
    """The last erasure of one subject: of this act, or of one that left nothing to do."""

    subject_index: int
    """The position among the act's keys."""
    revision: Revision
    erase_time: Instant
    changes_count: int
    """How many changes it erased."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many records an import touched, by what became of them."""

    added: int = 0
    strengthened: int = 0
    unchanged: int = 0
    superseded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverted:
    """What undoing a batch did to the records that it had touched."""

    records: int = 0
    released: int = 0
    """Where nothing stands since."""
    restored: int = 0
    """Where something else stands since."""
    unchanged: int = 0
    """Where the same stands, for others say so too, or something later does."""
    people: int = 0
    newly_allowed: int = 0
    """People to whom something may be sent within those scopes that could not before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a judged act did; what the answer to the call is made of, before the commit.

    Fields that an act does not fill stay empty.
    """

    revision: Revision
    """The head after this act (not after the whole group)."""
    running_hash: bytes
    epoch: bytes
    commit_time: Instant
    stored: tuple[StoredRecord, ...] = ()
    """Empty for an import, of which only the tally is told."""
    released: tuple[Record, ...] = ()
    standing: tuple[tuple[int, int, Record], ...] = ()
    """(item, subject index, record): everything that stands after the act for each subject of a
    SetPreferences with one person, of a ReleaseSuppression or of an EraseSubjects; otherwise
    empty."""
    tally: Tally = field(default_factory=Tally)
    reverted: Reverted = field(default_factory=Reverted)
    topic: Topic | None = None
    hold: Hold | None = None
    holds_placed: int = 0
    erased: tuple[ErasedSubject, ...] = ()
    claim: ReceiptClaim | None = None
    """What a SetPreferences left in the log; None: nothing, or it is a log that nobody signs."""


def says_more(act: Act) -> bool:
    """Whether an act says what a heed of rule version 1 would not know."""
    match act:
        case SetPreferences(people=people):
            return any(
                one.quiet_hours is not None
                or one.no_ask_until is not None
                or one.kind is ChoiceKind.END_QUIET_HOURS
                for person in people
                for one in person.choices
            )
        case OfferRecords(offered=offered):
            return any(
                one.record.kind is RecordKind.QUIET_HOURS or one.record.no_ask_until is not None
                for one in offered
            )
        case _:
            return False


def only_stops(choices: Iterable[Choice]) -> bool:
    """Whether there is nothing but stops among them: what is always taken of one person."""
    return all(choice.kind in STOPS for choice in choices)


def subjects_of(act: Act) -> Sequence[KeyedSubject]:
    """Return the readable subjects that an act names, whose keys were made of them."""
    match act:
        case SetPreferences(people=people):
            return [subject for person in people for subject in person.subjects]
        case AddProtections(protections=protections):
            return [protection.subject for protection in protections]
        case ReleaseSuppression(subject=subject):
            return [subject]
        case _:
            return ()


def with_keys(act: Act, keys: Mapping[SubjectKey, SubjectKey]) -> Act:
    """Return an act of other keys of its subjects, by those that it has; others stay."""

    def keyed(subject: KeyedSubject) -> KeyedSubject:
        return subject._replace(key=keys.get(subject.key, subject.key))

    match act:
        case SetPreferences(people=people):
            return replace(
                act,
                people=tuple(
                    replace(person, subjects=tuple(map(keyed, person.subjects)))
                    for person in people
                ),
            )
        case AddProtections(protections=protections):
            # A list, since it has a million of them.
            moved = [one._replace(subject=keyed(one.subject)) for one in protections]
            return replace(act, protections=tuple(moved))
        case ReleaseSuppression(subject=subject):
            return replace(act, subject=keyed(subject))
        case ReleaseSuppressions(found=found):
            return replace(
                act, found=tuple([one._replace(key=keys.get(one.key, one.key)) for one in found])
            )
        case OfferRecords(offered=offered):
            now = [one._replace(key=keys.get(one.key, one.key)) for one in offered]
            return replace(act, offered=tuple(now))
        case RevertBatch(keys=people):
            return replace(act, keys=tuple(dict.fromkeys(keys.get(key, key) for key in people)))
        case _:
            return act

"""What each kind of change does to the databases of an index.

A change carries what stands after it, so nothing is judged here. One that does not fit what the
index has (a release of what is not there) means that the two are out of step: it is refused, and
the index is rebuilt.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar, assert_never

from heed.index.faults import Fault, IndexUnusableError
from heed.index.stops import encode_hold, encode_topic, hold_entry_key, topic_entry_key
from heed.model import Change, ChangeKind, Effect, Record, SubjectKey
from heed.records import (
    DamagedRecordError,
    decode_records,
    encode_records,
    in_order,
    remove,
    replace,
)

T = TypeVar("T")
D = TypeVar("D")
D_co = TypeVar("D_co", covariant=True)
D_contra = TypeVar("D_contra", contravariant=True)


class Databases(Protocol[D_co]):
    """Where changes are written to."""

    @property
    def records(self) -> D_co:
        """Records, by subject key."""
        ...

    @property
    def topics(self) -> D_co:
        """Topics, by name."""
        ...

    @property
    def holds(self) -> D_co:
        """Holds, by id."""
        ...


class Writing(Protocol[D_contra]):
    """A write transaction: LMDB's own, or what keeps several databases in one."""

    def get(self, key: bytes, *, db: D_contra) -> bytes | None:
        """Return what stands under a key."""
        ...

    def put(self, key: bytes, value: bytes, *, db: D_contra) -> bool:
        """Put something there, in the place of what stands."""
        ...

    def delete(self, key: bytes, *, db: D_contra) -> bool:
        """Remove what stands there; return whether anything did."""
        ...


def write_changes(env: Databases[D], txn: Writing[D], changes: Sequence[Change]) -> None:
    """Write what the changes did, in order; a superseded one did nothing.

    Raises:
        IndexUnusableError: REFUSED; the transaction must be rolled back.
    """
    for change in changes:
        if change.effect is Effect.APPLIED:
            _write_change(env, txn, change)


def _write_change(env: Databases[D], txn: Writing[D], change: Change) -> None:
    match change.kind:
        case ChangeKind.CHOICE | ChangeKind.SUPPRESSION | ChangeKind.RELEASE:
            _write_records(env, txn, change)
        case ChangeKind.ERASURE:
            _replace_records(env, txn, change)
        case ChangeKind.REVERT:
            if change.subject is not None:  # else it only says that the batch is closed
                _write_records(env, txn, change)
        case ChangeKind.REKEY:
            if change.subject is not None:  # else it only says that a lookup key is in use
                _move_records(env, txn, change)
        case ChangeKind.TOPIC:
            topic = _there(change, change.topic)
            txn.put(topic_entry_key(topic.name), encode_topic(topic), db=env.topics)
        case ChangeKind.HOLD:
            hold = _there(change, change.hold)
            txn.put(hold_entry_key(hold.hold_id), encode_hold(hold), db=env.holds)
        case ChangeKind.LIFT:
            hold = _there(change, change.hold)
            if not txn.delete(hold_entry_key(hold.hold_id), db=env.holds):
                raise _odd(change, "lifts a hold that the index does not have")
        case _:
            assert_never(change.kind)


def _write_records(env: Databases[D], txn: Writing[D], change: Change) -> None:
    key, is_removed = _there(change, change.subject), _is_removal(change)
    record = _there(change, change.slot_record)
    try:
        encoded = txn.get(key, db=env.records)
        records = () if encoded is None else decode_records(encoded)
        if not is_removed:
            # Most people have no record yet; sorting one takes as long as writing it.
            records = replace(records, record) if records else (record,)
        else:
            left = remove(records, record.slot)
            if left == records:
                raise _odd(change, "removes a record that the index does not have")
            records = left
        _put_records(env, txn, key, records)
    except (DamagedRecordError, ValueError) as error:
        raise _odd(change, f"meets records that cannot be written: {error}") from error


def _replace_records(env: Databases[D], txn: Writing[D], change: Change) -> None:
    """Put what stands after an erasure there, whatever was there before."""
    key, erasure = _there(change, change.subject), _there(change, change.erasure)
    try:
        _put_records(env, txn, key, in_order(erasure.standing))
    except ValueError as error:
        raise _odd(change, f"leaves records that cannot be written: {error}") from error


def _move_records(env: Databases[D], txn: Writing[D], change: Change) -> None:
    """Put what stands under a subject's earlier key under the one that it has since, as it is."""
    key, previous = _there(change, change.subject), _there(change, change.rekey).previous
    encoded = txn.get(_there(change, previous), db=env.records)
    if encoded is None:  # a filter left out all of it, or nothing stood
        return
    if txn.get(key, db=env.records) is not None:
        raise _odd(change, "moves records to where others stand")
    txn.put(key, encoded, db=env.records)
    txn.delete(_there(change, previous), db=env.records)


def _put_records(
    env: Databases[D], txn: Writing[D], key: SubjectKey, records: tuple[Record, ...]
) -> None:
    if records:
        txn.put(key, encode_records(records), db=env.records)
    else:
        txn.delete(key, db=env.records)


def _is_removal(change: Change) -> bool:
    """Whether nothing stands in the slot of a change's record since."""
    return change.kind is ChangeKind.RELEASE or (
        change.kind is ChangeKind.REVERT and change.record is None
    )


def _there(change: Change, part: T | None) -> T:
    if part is None:
        raise _odd(change, "lacks what its kind must carry")
    return part


def _odd(change: Change, what: str) -> IndexUnusableError:
    return IndexUnusableError(
        Fault.REFUSED, f"change {change.revision} ({change.kind.name.lower()}) {what}"
    )

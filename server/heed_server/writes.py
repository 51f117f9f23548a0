"""A write as the store takes it, and what it is told to have become.

What is asked is an act (`heed.acts`), judged under the log's lock (`heed.judge`).
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from heed.acts import (
    Act,
    AddProtections,
    OfferRecords,
    Outcome,
    RekeySubjects,
    ReleaseSuppressions,
    RevertBatch,
    SetPreferences,
)
from heed.model import Change, Head, Revision, SubjectKey, TenantId


class Cap(enum.IntEnum):
    """What a principal may do only so much of in an hour; the numbers stand in the database."""

    BULK = 1
    """People stopped by calls for several at once: opt-outs, pauses, suppressions, imports."""
    CONSENTS = 2
    """People opted in."""
    RELEASES = 3
    """People of whom suppressions are released, one by one or in bulk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spender:
    """Whose caps a write is under, and how large they are."""

    principal: str
    most: Mapping[Cap, int]
    """People an hour, of each cap."""
    approved: Mapping[Cap, str] = field(default_factory=dict[Cap, str])
    """The approvals by which a cap is another one than the principal's: counted by their names.
    Every other cap stays the principal's."""

    def of(self, cap: Cap) -> str:
        """Return by whose name a cap is counted."""
        return self.approved.get(cap, self.principal)

    def with_approved(self, cap: Cap, approval_id: str, people: int) -> "Spender":
        """Return the same, with so many people of a cap approved."""
        return Spender(
            principal=self.principal,
            most={**self.most, cap: people},
            approved={**self.approved, cap: approval_id},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One call that writes, with the key that makes it happen once."""

    tenant_id: TenantId
    idempotency_key: str
    """Namespaced by method by the caller: `SetPreference:6f1c…`."""
    payload_hash: bytes
    """A keyed hash over the call's method and canonical payload, without the key; 32 bytes. Keyed,
    so that nobody can test by the stored row whom a call was about."""
    act: Act
    encode_answer: Callable[[Outcome], bytes]
    """Makes the answer that a replay gives again; pure, and quick: it runs under the log's lock,
    on SQLite in the store's own thread."""
    spender: Spender | None = None
    """None: it is under no cap."""
    dry_run: bool = False
    """Judge and count, then write nothing: no change, no key row."""
    earlier_payload_hashes: tuple[bytes, ...] = ()
    """The same as it was made before: under the lookup keys that were replaced since, and without a
    key (before ADR 0030). A call that is sent again over such a change is known by it."""
    lookup_key_id: int = 0
    """The newest lookup key that is known to who made the keys of the act's subjects, and the hash
    of the payload; 0: neither was made of one."""
    older_keys: Mapping[SubjectKey, tuple[SubjectKey, ...]] = field(
        default_factory=dict[SubjectKey, tuple[SubjectKey, ...]]
    )
    """By the key of each readable subject of the act: its keys under the lookup keys before the
    newest, newer ones first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """A committed, fsynced write, or the replay of one."""

    answer: bytes
    replayed: bool
    revision: Revision
    """The head that the first answer named; the index must reach it before the answer is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The changes of one tenant in one committed transaction, in order, as the writer publishes."""

    tenant_id: TenantId
    changes: tuple[Change, ...]
    head: Head


def is_bulk(act: Act) -> bool:
    """Whether an act is for several people, and so has to leave others their places."""
    match act:
        case SetPreferences(people=people):
            return len(people) > 1
        case AddProtections(protections=protections):
            return any(one.subject.key != protections[0].subject.key for one in protections)
        case ReleaseSuppressions() | RevertBatch() | OfferRecords() | RekeySubjects():
            return True
        case _:
            return False

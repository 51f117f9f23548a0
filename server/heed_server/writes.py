"""A write as the store takes it, and what it is told to have become.

What is asked is an act (`heed.acts`), judged under the log's lock (`heed.judge`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from heed.acts import Act, Outcome
from heed.model import Change, Head, Revision, TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One call that writes, with the key that makes it happen once."""

    tenant_id: TenantId
    idempotency_key: str
    """Namespaced by method by the caller: `SetPreference:6f1c…`."""
    payload_hash: bytes
    """SHA-256 over the call's method and canonical payload, without the key; 32 bytes."""
    act: Act
    encode_answer: Callable[[Outcome], bytes]
    """Makes the answer that a replay gives again; pure, and quick: it runs under the log's lock,
    on SQLite in the store's own thread."""


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

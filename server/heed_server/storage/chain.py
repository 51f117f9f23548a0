"""Walking logs change by change, and holding each to what was written: numbers, salts, hashes.

Laws:
- Revisions of a tenant are 1, 2, 3 …; an entry is that of its row; the running hash chains them.
- A change whose salt was erased commits to what nobody can tell any more. Its entry stands, and
  with it every hash; all else of it is compared all the same.
"""

from typing import NamedTuple

from heed.model import ChangeKind, Instant, Revision, SubjectKey, TenantId
from heed.proof import (
    EMPTY_LOG_HASH,
    NO_SUBJECT,
    SALT_BYTES,
    canonical_entry,
    commit_content,
    commit_subject,
    leaf_hash,
    running_hash,
)
from heed_server.store import LogDamagedError

_COMMITMENTS_AT = 26
"""Where in an entry the commitments begin (`heed.proof`)."""


class CopiedChange(NamedTuple):
    """What a row of the log says that its hashes stand for."""

    tenant_id: int
    revision: int
    kind: int
    subject: bytes | None
    salt: bytes | None
    content: bytes
    entry: bytes
    commit_time: int


class ChangeHashes(NamedTuple):
    """The hashes of one change."""

    leaf: bytes
    running: bytes


class Chain:
    """The logs walked so far. Changes of a tenant come in order; tenants may be mixed."""

    def __init__(self) -> None:
        self._ends: dict[int, tuple[int, bytes, int]] = {}

    def add(self, change: CopiedChange) -> ChangeHashes:
        """Return the hashes of the next change of a log.

        Raises:
            LogDamagedError: it is not the next, or not what was written.
        """
        revision, running, commit_time = self._ends.get(change.tenant_id, (0, EMPTY_LOG_HASH, 0))
        name = f"change {change.revision} of tenant {change.tenant_id}"
        if change.revision != revision + 1:
            raise LogDamagedError(f"{name} comes after change {revision}")
        if change.commit_time <= commit_time:
            raise LogDamagedError(f"{name} was committed before the one before it")
        _require_entry(change, name)
        leaf = leaf_hash(change.entry)
        running = running_hash(running, leaf)
        self._ends[change.tenant_id] = (change.revision, running, change.commit_time)
        return ChangeHashes(leaf, running)

    def require_end(self, tenant_id: TenantId, revision: Revision, running: bytes) -> None:
        """Compare where a log ended with where it is said to end. Raises LogDamagedError."""
        found = self._ends.get(tenant_id, (0, EMPTY_LOG_HASH, 0))
        if found[:2] != (revision, running):
            raise LogDamagedError(
                f"the log of tenant {tenant_id} ends at revision {found[0]} with another hash, "
                f"or elsewhere, than the {revision} that was said"
            )

    @property
    def tenant_ids(self) -> frozenset[int]:
        """The tenants whose logs have a change."""
        return frozenset(self._ends)


def _require_entry(change: CopiedChange, name: str) -> None:
    salt = change.salt
    if salt is not None and len(salt) == SALT_BYTES:
        subject = NO_SUBJECT
        if change.subject is not None:
            subject = commit_subject(salt, SubjectKey(change.subject))
        content = commit_content(salt, change.content)
    else:
        subject = content = NO_SUBJECT
    written = canonical_entry(
        kind=_kind(change.kind, name),
        tenant_id=TenantId(change.tenant_id),
        revision=Revision(change.revision),
        commit_time=Instant(change.commit_time),
        subject_commitment=subject,
        content_commitment=content,
    )
    end = len(written) if salt is not None and len(salt) == SALT_BYTES else _COMMITMENTS_AT
    if len(change.entry) != len(written) or change.entry[:end] != written[:end]:
        raise LogDamagedError(f"{name} is not what was written")


def _kind(number: int, name: str) -> ChangeKind:
    try:
        return ChangeKind(number)
    except ValueError:
        raise LogDamagedError(
            f"{name} is of a kind ({number}) that this heed does not know"
        ) from None

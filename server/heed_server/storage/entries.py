"""Writing a ruling down: its changes with their content, salted entries and hashes.

Laws:
- A change's entry names subject and content only by commitments under its own random salt
  (`heed.proof`); salt and content can be erased later, and every hash stays.
- Nothing here is kept by the writer until the whole act was accepted.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from heed.judge import Draft, Ruling
from heed.model import Change, Head, Instant, Revision, TenantId
from heed.proof import (
    NO_SUBJECT,
    SALT_BYTES,
    canonical_entry,
    commit_content,
    commit_subject,
    leaf_hash,
    running_hash,
)
from heed_server.storage.content import ContentEncoder
from heed_server.storage.statements import Row

RandomBytes = Callable[[int], bytes]
"""Returns so many bytes that nobody can guess: `os.urandom`."""


class Written(NamedTuple):
    """A ruling as it goes into the log."""

    head: Head
    changes: list[Change]
    rows: list[Row]
    """Rows of `schema.changes`."""
    leaves: list[bytes]
    """Their leaf hashes."""


def write_down(
    ruling: Ruling,
    tenant_id: TenantId,
    head: Head,
    encoder: ContentEncoder,
    random_bytes: RandomBytes,
) -> Written:
    """Return the changes of a ruling, numbered and chained from the head on."""
    drafts = ruling.drafts
    if not drafts:
        return Written(head, [], [], [])
    if ruling.lookup_key is not None:
        head = replace(head, lookup_key_id=ruling.lookup_key.key_id)
    salts = random_bytes(SALT_BYTES * len(drafts))
    changes: list[Change] = []
    rows: list[Row] = []
    leaves: list[bytes] = []
    revision, running = int(head.revision), head.running_hash
    for index, draft in enumerate(drafts):
        revision += 1
        number = Revision(revision)
        salt = salts[index * SALT_BYTES : (index + 1) * SALT_BYTES]
        content = encoder.encode(draft)
        key = draft.key
        entry = canonical_entry(
            kind=draft.kind,
            tenant_id=tenant_id,
            revision=number,
            commit_time=draft.commit_time,
            subject_commitment=NO_SUBJECT if key is None else commit_subject(salt, key),
            content_commitment=commit_content(salt, content),
        )
        leaf = leaf_hash(entry)
        running = running_hash(running, leaf)
        leaves.append(leaf)
        rows.append(
            (
                tenant_id,
                revision,
                int(draft.kind),
                int(draft.effect),
                key,
                salt,
                content,
                entry,
                leaf,
                running,
                draft.commit_time,
            )
        )
        changes.append(_change(draft, number, running))
    end = Head(
        revision=Revision(revision),
        running_hash=running,
        commit_time=Instant(drafts[-1].commit_time),
        epoch=head.epoch,
        lookup_key_id=head.lookup_key_id,
    )
    return Written(end, changes, rows, leaves)


def _change(draft: Draft, revision: Revision, running: bytes) -> Change:
    return Change(
        revision=revision,
        commit_time=draft.commit_time,
        kind=draft.kind,
        effect=draft.effect,
        running_hash=running,
        subject=draft.key,
        record=draft.stands,
        asked=None if draft.asked is draft.stands else draft.asked,
        topic=draft.topic,
        hold=draft.hold,
        origin=draft.origin,
        evidence=draft.evidence,
        reason=draft.reason,
        batch_id=draft.batch_id,
        erasure=draft.erasure,
        rekey=draft.rekey,
        asked_by="" if draft.approved is None else draft.approved.asked_by,
        approved_by="" if draft.approved is None else draft.approved.approved_by,
    )

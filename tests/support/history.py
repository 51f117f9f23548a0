"""What a store promised its callers, compared with what its database holds.

The checker is a pure function of a history and of rows, and shares no code with what it checks:
entries and hashes are made here from the layout that `heed.proof` documents.
"""

import hashlib
import json
import struct
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]


@dataclass
class Call:
    """One key: what was asked under it, and what its caller was told, over all attempts."""

    key: str
    changes: int
    """How many changes it makes when it happens."""
    answers: set[str] = field(default_factory=set)
    refusals: int = 0
    unknowns: int = 0
    """Attempts that ended without an answer: cancelled, timed out, killed, or told so."""


@dataclass(frozen=True)
class Dump:
    """Every row of one tenant's log, in order."""

    changes: Sequence[Row]
    records: Sequence[Row]
    keys: Sequence[Row]
    head: Row


def violations(calls: Sequence[Call], dump: Dump) -> list[str]:
    """Return everything that is not as it was promised; nothing: all is."""
    return [
        *_numbering(dump),
        *_hashes(dump),
        *_exactly_once(calls, dump),
        *_records(dump),
    ]


def _numbering(dump: Dump) -> list[str]:
    found: list[str] = []
    time = 0
    for number, row in enumerate(dump.changes, start=1):
        if row["revision"] != number:
            return [f"revision {row['revision']} stands where {number} is expected"]
        if row["commit_time"] <= time:
            found.append(f"the commit time of {number} is not after that of the change before")
        time = row["commit_time"]
    if dump.head["revision"] != len(dump.changes):
        found.append(f"the head is {dump.head['revision']} and the log {len(dump.changes)} long")
    return found


def _hashes(dump: Dump) -> list[str]:
    running = bytes(32)
    for row in dump.changes:
        salt, subject = row["salt"], row["subject"]
        subject_commitment = (
            bytes(32) if subject is None else hashlib.sha256(salt + b"\1" + subject).digest()
        )
        entry = struct.pack(
            ">BBQQQ32s32s",
            1,
            row["kind"],
            row["tenant_id"],
            row["revision"],
            row["commit_time"],
            subject_commitment,
            hashlib.sha256(salt + b"\2" + row["content"]).digest(),
        )
        leaf = hashlib.sha256(b"\0" + entry).digest()
        running = hashlib.sha256(running + leaf).digest()
        if (row["entry"], row["leaf_hash"], row["running_hash"]) != (entry, leaf, running):
            return [f"the hashes of revision {row['revision']} are not made of its row"]
    if dump.head["running_hash"] != running:
        return ["the head's hash is not that of the log"]
    return []


def _exactly_once(calls: Sequence[Call], dump: Dump) -> list[str]:
    found: list[str] = []
    revisions: dict[str, list[int]] = defaultdict(list)
    for row in dump.changes:
        reference = json.loads(row["content"])["origin"]["reference"]
        revisions[reference].append(row["revision"])
    rows: dict[str, Row | None] = {row["idempotency_key"]: row for row in dump.keys}
    for call in calls:
        mine = revisions.pop(call.key, [])
        key_row = rows.pop(call.key, None)
        is_there = bool(mine) or key_row is not None
        if len(call.answers) > 1:
            found.append(f"{call.key} was answered in {len(call.answers)} ways")
        if call.answers and not is_there:
            found.append(f"{call.key} was acknowledged and is not there")
        if not call.answers and not call.unknowns and is_there:
            found.append(f"{call.key} was refused and is there")
        if is_there and mine != list(range(mine[0], mine[0] + call.changes) if mine else []):
            found.append(f"{call.key} has the revisions {mine}, not {call.changes} in a row")
        if is_there and (key_row is None or not mine):
            found.append(f"{call.key} has its changes without its key row, or the other way")
        if key_row is not None and call.answers and key_row["answer"].decode() not in call.answers:
            found.append(f"{call.key} was answered otherwise than its key row says")
        if key_row is not None and mine and key_row["revision"] != mine[-1]:
            found.append(f"{call.key} says revision {key_row['revision']} and ends at {mine[-1]}")
    found += [f"{key} is in the log and was never asked" for key in (*revisions, *rows)]
    return found


def _records(dump: Dump) -> list[str]:
    """Play the log and compare what stands after it."""
    stands: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for row in dump.changes:
        content = json.loads(row["content"])
        if row["effect"] != 1 or "record" not in content:
            continue
        record = content.get("stands", content["record"])
        reach = record.get("reach", "all")
        slot = (
            row["subject"],
            record["kind"],
            record.get("cause", "none"),
            "" if record["kind"] == "pause" else reach,
            record["channel"],
            record.get("topic", ""),
        )
        stands.pop(slot, None)
        if content["kind"] != "release":
            revision = record.get("revision", row["revision"])
            stands[slot] = (reach, record["decided_us"], record.get("end_us"), revision)
    there = Counter(
        (row["subject"], row["decided_time"], row["end_time"], row["revision"])
        for row in dump.records
        if row["standing"]
    )
    told = Counter((slot[0], *rest[1:]) for slot, rest in stands.items())
    if there != told:
        return [f"{len((there - told) | (told - there))} records are not what the log says"]
    return []

"""What a message of the outbox looks like, and where a stream stands by its last one.

Laws:
- A stream holds a Begin, then one message for every change of the log from revision 1 on, those
  too that did nothing: the change with revision r has the sequence of the Begin plus r.
- A message says everything by which one can go on after it: epoch, revision and the running hash
  there, and the sequence of its Begin. The stream is the only cursor.
- No address stands in it, and no text that an operator typed as a reason.
- The same change of the same run is the same message, byte for byte.

Source: CloudEvents 1.0, and its binding to NATS 1.0.3 (binary mode).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from heed.model import (
    NORMALISER_VERSION,
    Change,
    Channel,
    Head,
    Instant,
    Revision,
)
from heed.proof import EMPTY_LOG_HASH, HASH_BYTES
from heed.records import rules_needed_after
from heed.wire.watched import change_to

TYPE_OF_BEGIN: Final = "dev.heed.v1.Begin"
RULES_OF_BEGIN: Final = 1
"""A Begin says nothing that any version of the rules could not decide by."""
TYPE_OF_CHANGE: Final = "dev.heed.v1.Change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message, as it is published."""

    subject: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a stream stands: its last message, and the change that it is of."""

    sequence: int
    """The sequence of the last message."""
    epoch: bytes
    began: int
    """The sequence of the Begin of this run."""
    revision: Revision
    running_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How a tenant's stream and subjects are called."""

    tenant: str
    subject_prefix: str
    stream_prefix: str

    @property
    def stream(self) -> str:
        """The stream: `HEED_default`."""
        return f"{self.stream_prefix}_{self.tenant}"

    @property
    def subjects(self) -> str:
        """Every subject of it: `heed.default.>`."""
        return f"{self.subject_prefix}.{self.tenant}.>"

    def subject(self, kind: str) -> str:
        """Return one of them: `heed.default.topic`."""
        return f"{self.subject_prefix}.{self.tenant}.{kind}"


def begin(naming: Naming, head: Head, after: int) -> tuple[Message, Place]:
    """Return the message that begins a stream anew after a sequence, and the place it makes."""
    place = Place(
        sequence=after + 1,
        epoch=head.epoch,
        began=after + 1,
        revision=Revision(0),
        running_hash=EMPTY_LOG_HASH,
    )
    headers = _headers(naming, place, TYPE_OF_BEGIN, head.commit_time, RULES_OF_BEGIN)
    headers["ce-headrevision"] = str(head.revision)
    return Message(subject=naming.subject("begin"), headers=headers, body=b""), place


def following(naming: Naming, place: Place, change: Change) -> tuple[Message, Place]:
    """Return the message of the change that comes after a place, and the place it makes."""
    reached = Place(
        sequence=place.sequence + 1,
        epoch=place.epoch,
        began=place.began,
        revision=change.revision,
        running_hash=change.running_hash,
    )
    headers = _headers(
        naming, reached, TYPE_OF_CHANGE, change.commit_time, rules_needed_after(change)
    )
    told = change_to(change)
    if told is None:
        return Message(subject=naming.subject("none"), headers=headers, body=b""), reached
    if told.HasField("set_hold"):
        told.set_hold.ClearField("reason")  # what an operator typed may name a person
    if change.subject is not None:
        headers["ce-subject"] = change.subject.hex()
    headers["ce-datacontenttype"] = "application/protobuf"
    headers["ce-dataschema"] = "proto:heed.v1.Change"
    return Message(
        subject=naming.subject(_kind_of(change)),
        headers=headers,
        body=told.SerializeToString(deterministic=True),
    ), reached


def place_of(headers: Mapping[str, str], sequence: int) -> Place:
    """Return where a stream stands whose last message has these headers.

    Raises:
        ValueError: it is no message of an outbox, or stands where none would.
    """
    try:
        place = Place(
            sequence=sequence,
            epoch=bytes.fromhex(headers["ce-epoch"]),
            began=int(headers["ce-began"]),
            revision=Revision(int(headers["ce-revision"])),
            running_hash=bytes.fromhex(headers["ce-runninghash"]),
        )
    except KeyError as missing:
        raise ValueError(f"its last message has no header {missing}") from None
    if len(place.running_hash) != HASH_BYTES:
        raise ValueError("the running hash of its last message is cut")
    if place.sequence != place.began + place.revision:
        raise ValueError(
            f"its last message, {sequence}, is of revision {place.revision} after a Begin at "
            f"{place.began}: others were published between them"
        )
    return place


def message_id(place: Place) -> str:
    """Return the name by which NATS knows a message again.

    It names the run, since NATS remembers names for a while that were purged meanwhile.
    """
    return f"{place.epoch.hex()}.{place.began}.{place.revision}"


def _headers(
    naming: Naming, place: Place, type_: str, time: Instant, rule_version: int
) -> dict[str, str]:
    at = datetime.fromtimestamp(time / 1_000_000, UTC)
    return {
        "ce-specversion": "1.0",
        "ce-id": message_id(place),
        "ce-source": f"/heed/{naming.tenant}",
        "ce-type": type_,
        "ce-time": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "ce-epoch": place.epoch.hex(),
        "ce-began": str(place.began),
        "ce-revision": str(place.revision),
        "ce-runninghash": place.running_hash.hex(),
        "ce-ruleversion": str(rule_version),
        "ce-normaliserversion": str(NORMALISER_VERSION),
    }


def _kind_of(change: Change) -> str:
    if change.topic is not None:
        return "topic"
    if change.erasure is not None:
        return "erasure"
    if change.rekey is not None:
        return "rekey"
    record = change.slot_record
    if record is not None:
        return f"record.{Channel(record.channel).name.lower()}"
    return "hold"

"""The content of a change: compact JSON, version 1, that an auditor reads with any tool.

Laws:
- It carries all that was said and what stands after it, and never a subject: that is beside it, as
  a keyed hash.
- The bytes are stored as they were hashed; nobody needs to encode them again.
- Fields stand in a fixed order; one that has its default is left out.
- A name that this version does not know raises; nothing is guessed.

    {"v":1,"kind":"choice","record":{"kind":"opt_out","channel":"email","topic":"news",
     "decided_us":1790000000000000,"reach":"promotional"},"origin":{"source":"preference-page"}}

Names are those of `heed.model` in lower case; times are microseconds since 1970 in UTC, and end in
`_us`. `stands` is there where what stands after the change is not what was asked. In a revert
`record` is what stood, and `stands` what stands since; each is left out where nothing did, or does.

Of a change that an erasure took, the residue is kept in the place of the content: `"erased":true`,
and of a stop the record alone. It is not what was hashed; the erasure's own content commits to it.
"""

import enum
from typing import TypeVar

import msgspec

from heed.hours import hours_of
from heed.judge import Draft
from heed.model import (
    Cause,
    Change,
    ChangeKind,
    Channel,
    Effect,
    Erasure,
    Evidence,
    Hold,
    Instant,
    Method,
    Origin,
    Reach,
    Record,
    RecordKind,
    Rekey,
    Revision,
    SubjectKey,
    Topic,
    TopicClass,
)
from heed_server.store import LogDamagedError

E = TypeVar("E", bound=enum.IntEnum)

_VERSION = 1


class _Record(msgspec.Struct, omit_defaults=True):
    kind: str
    channel: str
    decided_us: int
    cause: str = "none"
    reach: str = "all"
    topic: str = ""
    end_us: int | None = None
    revision: int = 0
    """0: that of the change."""
    quiet_hours: str | None = None
    """As `heed.hours` writes them."""
    no_ask_us: int | None = None


class _Origin(msgspec.Struct, omit_defaults=True):
    source: str
    actor: str = ""
    method: str = "unspecified"
    jurisdiction: str = ""
    reference: str = ""
    decided_us: int | None = None


class _Evidence(msgspec.Struct, omit_defaults=True):
    notice: str
    notice_version: str
    act: str
    language: str
    truncated_ip: str = ""


class _Topic(msgspec.Struct, omit_defaults=True):
    name: str
    topic_class: str
    mandatory_channels: list[str] = []
    requires_opt_in: bool = False
    suppress_undeclared: bool = False
    retired: bool = False
    title: str = ""


class _Hold(msgspec.Struct, omit_defaults=True):
    hold_id: str
    channel: str | None = None
    topic: str = ""
    campaign: str = ""
    end_us: int | None = None
    reason: str = ""
    revision: int = 0
    """0: that of the change."""
    spares_mandatory: bool = False


class _Erasure(msgspec.Struct):
    changes: int
    residues: str
    """The hash in hexadecimal digits."""
    standing: list[_Record]


class _Rekey(msgspec.Struct, omit_defaults=True):
    key_id: int
    previous: str = ""
    """The key under which the subject stood, in hexadecimal digits."""


class _Written(msgspec.Struct, omit_defaults=True):
    """A change as it is written: its origin is encoded once for all changes that share it."""

    v: int
    kind: str
    record: _Record | None = None
    stands: _Record | None = None
    topic: _Topic | None = None
    hold: _Hold | None = None
    origin: msgspec.Raw | None = None
    evidence: _Evidence | None = None
    reason: str = ""
    batch: str = ""
    erasure: _Erasure | None = None
    asked_by: str = ""
    approved_by: str = ""
    erased: bool = False
    rekey: _Rekey | None = None


class _Read(_Written):
    """The same as it is read."""

    origin: _Origin | None = None  # type: ignore[assignment] # the same field, decoded


class ContentEncoder:
    """Encodes the contents of one transaction; remembers the origin it encoded last."""

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._origin: Origin | None = None
        self._encoded_origin = msgspec.Raw()

    def encode(self, draft: Draft) -> bytes:
        """Return the content of one change."""
        asked, stands, evidence = draft.asked, draft.stands, draft.evidence
        if draft.origin is not self._origin:
            self._encoded_origin = msgspec.Raw(self._encode(_origin(draft.origin)))
            self._origin = draft.origin
        return self._encode(
            _Written(
                _VERSION,
                _CHANGE_KINDS[draft.kind],
                None if asked is None else _record(asked, _own_revision(draft, asked)),
                None if stands is asked or stands is None else _record(stands, stands.revision),
                None if draft.topic is None else _topic(draft.topic),
                None if draft.hold is None else _hold(draft.hold, draft.kind),
                self._encoded_origin,
                None if evidence is None else _evidence(evidence),
                draft.reason,
                draft.batch_id,
                None if draft.erasure is None else _erasure(draft.erasure),
                "" if draft.approved is None else draft.approved.asked_by,
                "" if draft.approved is None else draft.approved.approved_by,
                rekey=None if draft.rekey is None else _rekey(draft.rekey),
            )
        )


def residue_of(effect: Effect, content: bytes) -> tuple[Effect, bytes]:
    """Return what an erasure leaves of a change: what followers need to come to the same stops.

    An opt-in is left as a change that did nothing, for the erasure ended it.

    Raises:
        LogDamagedError: the content is not one that was written here.
    """
    try:
        read = _decode(content)
    except msgspec.DecodeError as error:
        raise LogDamagedError(f"a change to be erased cannot be read: {error}") from error
    stands = read.stands or read.record
    if read.rekey is None and (stands is None or stands.kind == _OPT_IN):
        effect = Effect.SUPERSEDED
    kept = effect is Effect.APPLIED
    return effect, _encode_residue(
        _Written(
            read.v,
            read.kind,
            read.record if kept and read.stands is None else None,
            read.stands if kept else None,
            erased=True,
            rekey=read.rekey,
        )
    )


def decode_change(
    *,
    revision: int,
    commit_time: int,
    kind: int,
    effect: int,
    running_hash: bytes,
    subject: bytes | None,
    content: bytes,
) -> Change:
    """Return the change that a row of the log holds.

    Raises:
        LogDamagedError: the row is not one that was written here, or by a later version.
    """
    try:
        read = _decode(content)
        if read.v != _VERSION:
            raise LogDamagedError(f"change {revision} has content of version {read.v}")
        is_revert = kind == ChangeKind.REVERT
        stands = read.stands if is_revert else read.stands or read.record
        asked = read.record if is_revert or read.stands is not None else None
        return Change(
            revision=Revision(revision),
            commit_time=Instant(commit_time),
            kind=ChangeKind(kind),
            effect=Effect(effect),
            running_hash=running_hash,
            subject=None if subject is None else SubjectKey(subject),
            record=None if stands is None else _read_record(stands, revision),
            asked=None if asked is None else _read_record(asked, revision),
            topic=None if read.topic is None else _read_topic(read.topic, revision),
            hold=None if read.hold is None else _read_hold(read.hold, revision),
            origin=None if read.origin is None else _read_origin(read.origin),
            evidence=None if read.evidence is None else _read_evidence(read.evidence),
            reason=read.reason,
            batch_id=read.batch,
            erasure=None if read.erasure is None else _read_erasure(read.erasure, revision),
            rekey=None if read.rekey is None else _read_rekey(read.rekey),
            is_erased=read.erased,
            asked_by=read.asked_by,
            approved_by=read.approved_by,
        )
    except (msgspec.DecodeError, KeyError, ValueError) as error:
        raise LogDamagedError(f"change {revision} cannot be read: {error}") from error


def _own_revision(draft: Draft, record: Record) -> int:
    """A release or a revert names what stood, which an earlier change had set."""
    is_earlier = draft.kind in {ChangeKind.RELEASE, ChangeKind.REVERT}
    return record.revision if is_earlier else 0


def _record(record: Record, revision: int) -> _Record:
    return _Record(
        _RECORD_KINDS[record.kind],
        _CHANNELS[record.channel],
        record.decided_time,
        _CAUSES[record.cause],
        _REACHES[record.reach],
        record.topic,
        record.end_time,
        revision,
        None if record.quiet_hours is None else str(record.quiet_hours),
        record.no_ask_until,
    )


def _origin(origin: Origin) -> _Origin:
    return _Origin(
        origin.source,
        origin.actor,
        _METHODS[origin.method],
        origin.jurisdiction,
        origin.reference,
        origin.decided_time,
    )


def _evidence(evidence: Evidence) -> _Evidence:
    return _Evidence(
        evidence.notice,
        evidence.notice_version,
        evidence.act,
        evidence.language,
        evidence.truncated_ip,
    )


def _topic(topic: Topic) -> _Topic:
    return _Topic(
        topic.name,
        _CLASSES[topic.topic_class],
        [_CHANNELS[channel] for channel in sorted(topic.mandatory_channels)],
        topic.requires_opt_in,
        topic.suppress_undeclared,
        topic.retired,
        topic.title,
    )


def _hold(hold: Hold, kind: ChangeKind) -> _Hold:
    return _Hold(
        hold.hold_id,
        None if hold.channel is None else _CHANNELS[hold.channel],
        hold.topic,
        hold.campaign,
        hold.end_time,
        hold.reason,
        0 if kind is ChangeKind.HOLD else hold.revision,
        hold.spares_mandatory,
    )


def _erasure(erasure: Erasure) -> _Erasure:
    return _Erasure(
        erasure.changes_count,
        erasure.residues_hash.hex(),
        [_record(record, record.revision) for record in erasure.standing],
    )


def _read_erasure(read: _Erasure, revision: int) -> Erasure:
    return Erasure(
        standing=tuple(_read_record(record, revision) for record in read.standing),
        changes_count=read.changes,
        residues_hash=bytes.fromhex(read.residues),
    )


def _rekey(rekey: Rekey) -> _Rekey:
    return _Rekey(rekey.key_id, "" if rekey.previous is None else rekey.previous.hex())


def _read_rekey(read: _Rekey) -> Rekey:
    previous = SubjectKey(bytes.fromhex(read.previous)) if read.previous else None
    return Rekey(key_id=read.key_id, previous=previous)


def _read_record(read: _Record, revision: int) -> Record:
    return Record(
        _RECORD_KIND_OF[read.kind],
        _CAUSE_OF[read.cause],
        _REACH_OF[read.reach],
        _CHANNEL_OF[read.channel],
        read.topic,
        Instant(read.decided_us),
        None if read.end_us is None else Instant(read.end_us),
        Revision(read.revision or revision),
        None if read.quiet_hours is None else hours_of(read.quiet_hours),
        None if read.no_ask_us is None else Instant(read.no_ask_us),
    )


def _read_origin(read: _Origin) -> Origin:
    return Origin(
        source=read.source,
        actor=read.actor,
        method=_METHOD_OF[read.method],
        jurisdiction=read.jurisdiction,
        reference=read.reference,
        decided_time=None if read.decided_us is None else Instant(read.decided_us),
    )


def _read_evidence(read: _Evidence) -> Evidence:
    return Evidence(
        notice=read.notice,
        notice_version=read.notice_version,
        act=read.act,
        language=read.language,
        truncated_ip=read.truncated_ip,
    )


def _read_topic(read: _Topic, revision: int) -> Topic:
    return Topic(
        name=read.name,
        topic_class=_CLASS_OF[read.topic_class],
        mandatory_channels=frozenset(_CHANNEL_OF[name] for name in read.mandatory_channels),
        requires_opt_in=read.requires_opt_in,
        suppress_undeclared=read.suppress_undeclared,
        retired=read.retired,
        title=read.title,
        revision=Revision(revision),
    )


def _read_hold(read: _Hold, revision: int) -> Hold:
    return Hold(
        hold_id=read.hold_id,
        channel=None if read.channel is None else _CHANNEL_OF[read.channel],
        topic=read.topic,
        campaign=read.campaign,
        end_time=None if read.end_us is None else Instant(read.end_us),
        reason=read.reason,
        revision=Revision(read.revision or revision),
        spares_mandatory=read.spares_mandatory,
    )


def _names(kind: type[E]) -> tuple[str, ...]:
    """Return the names by number. An index is found much quicker than an enum's hash."""
    by_number = {int(member): member.name.lower() for member in kind}
    return tuple(by_number.get(number, "") for number in range(max(by_number) + 1))


def _members(kind: type[E]) -> dict[str, E]:
    return {member.name.lower(): member for member in kind}


_decode = msgspec.json.Decoder(_Read).decode
_encode_residue = msgspec.json.Encoder().encode
_OPT_IN = RecordKind.OPT_IN.name.lower()

_CHANGE_KINDS = _names(ChangeKind)
_RECORD_KINDS, _RECORD_KIND_OF = _names(RecordKind), _members(RecordKind)
_CAUSES, _CAUSE_OF = _names(Cause), _members(Cause)
_REACHES, _REACH_OF = _names(Reach), _members(Reach)
_CHANNELS, _CHANNEL_OF = _names(Channel), _members(Channel)
_METHODS, _METHOD_OF = _names(Method), _members(Method)
_CLASSES, _CLASS_OF = _names(TopicClass), _members(TopicClass)

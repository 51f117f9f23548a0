"""What the stream of changes says, as JSON has it; each description here is the OpenAPI's too."""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType

from heed_server.web.rest import words
from heed_server.web.rest.told import Hold, QuietHours, Scope, Told, time_meta, word_meta

_SUBJECT_KEY: Final = Meta(
    description="Whose it is: the keyed hash of a subject (docs/normaliser.md).",
    examples=["9f86d081884c7d659a2feaa0c55ad015"],
    extra_json_schema={"pattern": "^[0-9a-f]{32}$"},
)


class LookupKey(Told, frozen=True, kw_only=True):
    """A key under which subjects are hashed. Whoever holds it can test guessed addresses."""

    key_id: int
    key: Annotated[str, Meta(description="32 bytes in hex. To be kept as a password.")]


class Opened(Told, frozen=True, kw_only=True):
    """The first event, `opened`: what is needed to read the others."""

    stream_id: Annotated[str, Meta(description="Names the stream, for `/v1/changes/applied`.")]
    tenant: str
    epoch: Annotated[
        str,
        Meta(description="The life of the store: another one after a restore."),
    ]
    head_revision: Annotated[int, Meta(description="Where the log stands.")]
    heartbeat_seconds: Annotated[
        float,
        Meta(description="After so long something comes; after thrice that, the stream is dead."),
    ]
    rule_version: Annotated[
        int, Meta(description="The version of the decision's rules that allows anything by it.")
    ]
    normaliser_version: Annotated[
        int, Meta(description="The version of the normaliser that makes its keys.")
    ]
    lookup_keys: Annotated[
        list[LookupKey],
        Meta(description="Ascending by id. Each subject stands under one of them: look up each."),
    ]


class WatchedRecord(Told, frozen=True, kw_only=True):
    """A record as whoever follows needs it to decide."""

    kind: Annotated[str, word_meta(words.KINDS, "What it is.")]
    scope: Scope
    decided_time: Annotated[str, time_meta("When the person decided.")]
    revision: Annotated[int, Meta(description="The change that last set it.")]
    reach: Annotated[
        str | UnsetType, word_meta(words.REACHES, "Which classes of message it stops.")
    ] = UNSET
    cause: Annotated[
        str | UnsetType, word_meta(words.CAUSES, "Of a suppression: why it stands.")
    ] = UNSET
    end_time: Annotated[str | UnsetType, time_meta("When it ends. Absent: not by itself.")] = UNSET
    quiet_hours: Annotated[
        QuietHours | UnsetType,
        Meta(
            description="Of quiet hours: when it is quiet. Absent there though active: at hours "
            "that are not known here, so take every hour for quiet."
        ),
    ] = UNSET
    no_ask_until: Annotated[
        str | UnsetType,
        time_meta(
            "Of an opt-out: until when the person is not to be asked to opt in again. It decides "
            "nothing."
        ),
    ] = UNSET


class Topic(Told, frozen=True, kw_only=True):
    """A declared topic."""

    name: str
    topic_class: Annotated[str, word_meta(words.CLASSES, "What its messages are.")]
    mandatory_channels: list[str]
    requires_opt_in: bool
    suppress_undeclared: bool
    retired: bool
    revision: int
    title: str


class Reset(Told, frozen=True, kw_only=True):
    """`reset`: all that stands follows. What you had is to be dropped at `reset_end`."""

    reason: Annotated[str, word_meta(words.RESETS, "Why.")]
    revision: Annotated[int, Meta(description="The revision that all of it is of.")]
    topics: list[Topic]
    holds: list[Hold]


class SubjectRecords(Told, frozen=True, kw_only=True):
    """What stands for one subject."""

    subject_key: Annotated[str, _SUBJECT_KEY]
    records: list[WatchedRecord]


class Records(Told, frozen=True, kw_only=True):
    """`records`: some of what stands, each subject once, over all of them ascending by key."""

    subjects: list[SubjectRecords]


class ResetEnd(Told, frozen=True, kw_only=True):
    """`reset_end`: that was all. Until it came, absence says nothing. Its id is where it stands."""

    record_count: Annotated[int, Meta(description="How many records there were.")]


class Rekey(Told, frozen=True, kw_only=True):
    """What became of keys: open another stream, which names the new lookup key."""

    key_id: int
    previous_subject_key: Annotated[str | UnsetType, _SUBJECT_KEY] = UNSET


class Change(Told, frozen=True, kw_only=True):
    """One change of the log. Exactly one of the members after `subject_key` says what it does."""

    revision: int
    commit_time: Annotated[str, time_meta("When it was committed.")]
    subject_key: Annotated[str | UnsetType, _SUBJECT_KEY] = UNSET
    set_record: Annotated[
        WatchedRecord | UnsetType, Meta(description="This record stands in its slot now.")
    ] = UNSET
    remove_record: Annotated[
        WatchedRecord | UnsetType,
        Meta(description="What stands in this record's slot stands no more."),
    ] = UNSET
    set_records: Annotated[
        list[WatchedRecord] | UnsetType,
        Meta(description="These records stand for the subject now, and no others."),
    ] = UNSET
    set_topic: Topic | UnsetType = UNSET
    set_hold: Hold | UnsetType = UNSET
    remove_hold_id: str | UnsetType = UNSET
    rekey: Rekey | UnsetType = UNSET
    rule_version: Annotated[
        int | UnsetType, Meta(description="The version of the rules that is needed from here on.")
    ] = UNSET
    normaliser_version: Annotated[
        int | UnsetType, Meta(description="The version of the normaliser, likewise.")
    ] = UNSET


class Changes(Told, frozen=True, kw_only=True):
    """`changes`: apply them all, and then you stand at `through`. Its id is where that is."""

    after: Annotated[
        int, Meta(description="Where you have to stand; if you do not, open a stream without id.")
    ]
    through: int
    changes: list[Change]


class Heartbeat(Told, frozen=True, kw_only=True):
    """`heartbeat`: the stream is alive, and all was told that was known when the probe came."""

    through: Annotated[int, Meta(description="Where you stand.")]
    now: Annotated[str, time_meta("The source's time.")]
    probe: Annotated[
        int, Meta(description="The last probe whose changes were all told; 0: none yet.")
    ]
    source_age_ms: Annotated[
        int, Meta(description="How old the source's own knowledge was when it took that probe.")
    ]


class Draining(Told, frozen=True, kw_only=True):
    """`draining`: the stream ends; open another one, by the last id, after so long."""

    reconnect_after_ms: int


BY_EVENT: Final[Mapping[str, type[Told]]] = {
    "opened": Opened,
    "reset": Reset,
    "records": Records,
    "reset_end": ResetEnd,
    "changes": Changes,
    "heartbeat": Heartbeat,
    "draining": Draining,
}
"""The body of each event, by its name; `problem` has a problem's."""

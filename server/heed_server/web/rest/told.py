"""The bodies of answers, as JSON has them; each description here is the OpenAPI's too.

A member that says nothing is left out, save where its absence could be read as an answer.
"""

from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from heed_server.web.rest import words
from heed_server.web.rest.words import Words

_TIME: Final = {"format": "date-time"}


def word_meta(known: Words, meaning: str) -> Meta:
    """Describe a word, and say which there are; what a later version wrote is `unknown`."""
    return Meta(description=meaning, extra_json_schema={"enum": [*known.all, words.UNKNOWN]})


def time_meta(meaning: str) -> Meta:
    """Describe a time of RFC 3339."""
    return Meta(description=meaning, extra_json_schema=_TIME)


class Told(Struct, frozen=True, kw_only=True):
    """A part of an answer."""


class Scope(Told, frozen=True, kw_only=True):
    """What something covers: a channel, or every message channel, and a topic with all beneath."""

    channel: Annotated[str, word_meta(words.CHANNELS, "The channel, or `any`.")]
    topic: Annotated[str, Meta(description="The topic; empty: every topic.")]


class Origin(Told, frozen=True, kw_only=True):
    """Who says so, how, from where, and when the person decided."""

    source: str
    actor: str | UnsetType = UNSET
    method: Annotated[
        str | UnsetType, word_meta(words.METHODS_TOLD, "By what kind of act. Absent: not said.")
    ] = UNSET
    jurisdiction: str | UnsetType = UNSET
    reference: str | UnsetType = UNSET
    decided_time: Annotated[
        str | UnsetType, time_meta("When the person decided. Absent: not said.")
    ] = UNSET


class Evidence(Told, frozen=True, kw_only=True):
    """What a person was shown and did when they opted in."""

    notice: str
    notice_version: str
    act: str
    language: str
    truncated_ip: str | UnsetType = UNSET


class QuietPeriod(Told, frozen=True, kw_only=True):
    """Quiet from one time of a day to another, by the clock of the person's wall."""

    start: Annotated[str, Meta(description="When it begins.", examples=["22:00"])]
    end: Annotated[
        str,
        Meta(
            description="When it ends. Not after `start`: on the next day; the same: a day later.",
            examples=["08:00"],
        ),
    ]
    days: Annotated[
        list[Annotated[str, word_meta(words.DAYS, "A day of the week.")]] | UnsetType,
        Meta(description="The days on which it begins. Absent: every day."),
    ] = UNSET


class QuietHours(Told, frozen=True, kw_only=True):
    """When a person wants quiet."""

    time_zone: Annotated[str, Meta(description="The zone of that clock, of the IANA database.")]
    periods: list[QuietPeriod]


class Record(Told, frozen=True, kw_only=True):
    """One record that stands for a subject."""

    kind: Annotated[str, word_meta(words.KINDS, "What it is.")]
    scope: Scope
    decided_time: Annotated[
        str,
        time_meta("Since when: when the person decided, or when a suppression's cause was seen."),
    ]
    revision: Annotated[int, Meta(description="The change that last set it.")]
    subject_index: Annotated[
        int, Meta(description="Whose it is: the position in the request's subjects, from 0.")
    ]
    active: Annotated[bool, Meta(description="Whether its end, if it has one, is still ahead.")]
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
    commit_time: Annotated[str | UnsetType, time_meta("When it was committed.")] = UNSET
    origin: Origin | UnsetType = UNSET
    evidence: Evidence | UnsetType = UNSET
    reason: Annotated[
        str | UnsetType, Meta(description="Why, in the words of whoever wrote it.")
    ] = UNSET
    erased: Annotated[
        bool | UnsetType,
        Meta(description="Whether who said so was erased; the stop stands all the same."),
    ] = UNSET


class Hold(Told, frozen=True, kw_only=True):
    """An operator's stop: all that it names has to match a message."""

    hold_id: str
    reason: str
    revision: int
    channel: Annotated[str | UnsetType, word_meta(words.CHANNELS, "Absent: every channel.")] = UNSET
    topic: str | UnsetType = UNSET
    campaign: str | UnsetType = UNSET
    end_time: Annotated[str | UnsetType, time_meta("When it ends. Absent: when it is lifted.")] = (
        UNSET
    )
    spares_mandatory: bool | UnsetType = UNSET


class Reason(Told, frozen=True, kw_only=True):
    """Why a verdict is what it is."""

    rule: Annotated[str, word_meta(words.RULES, "The rule that spoke.")]
    record: Record | UnsetType = UNSET
    hold: Hold | UnsetType = UNSET
    until_time: Annotated[str | UnsetType, time_meta("Until when it speaks, if that is known.")] = (
        UNSET
    )


class Position(Told, frozen=True, kw_only=True):
    """Where in the log, and when, an answer was true."""

    revision: Annotated[int, Meta(description="The last change that the answer knows.")]
    now: Annotated[str, time_meta("The instant that the answer used as now.")]
    rule_version: Annotated[int, Meta(description="The version of the decision's rules.")]
    token: Annotated[
        str,
        Meta(description="Given with a later check, that one is of this revision or later."),
    ]


class Decision(Told, frozen=True, kw_only=True):
    """Whether one message may be sent: on `allowed`, and on nothing else."""

    verdict: Annotated[str, word_meta(words.VERDICTS, "Send on `allowed` only.")]
    reasons: list[Reason]
    topic_class: Annotated[
        str, word_meta(words.CLASSES, "The class of message that it was judged by.")
    ]
    undeclared_topic: Annotated[
        bool,
        Meta(description="Whether the topic is undeclared, and was judged as what is above it."),
    ]
    subjects_with_records: Annotated[
        list[int],
        Meta(description="The positions of those subjects of whom there are records, ascending."),
    ]


class Checked(Decision, frozen=True, kw_only=True):
    """Whether one message may be sent: on `allowed`, and on nothing else."""

    position: Position


class CheckedBatch(Told, frozen=True, kw_only=True):
    """Whether each message may be sent, in the order of the queries."""

    decisions: list[Decision]
    position: Position


class Stored(Told, frozen=True, kw_only=True):
    """A choice as the log has it."""

    record: Record
    effect: Annotated[
        str,
        word_meta(
            words.EFFECTS, "`applied`: it stands. `superseded`: what was decided later does."
        ),
    ]


class Chosen(Told, frozen=True, kw_only=True):
    """What was recorded, and what stands by it."""

    scopes: Annotated[list[Scope], Meta(description="What the choice covers, each scope once.")]
    effective_time: Annotated[str, time_meta("Since when all of it counts.")]
    stored: Annotated[
        list[Stored],
        Meta(description="Each choice as stored: for each subject in order, each scope in order."),
    ]
    standing: Annotated[
        list[Record],
        Meta(
            description="Everything that now stands for these subjects; after an opt-in also the "
            "opt-outs that still do."
        ),
    ]
    still_sent: Annotated[
        list[Annotated[str, word_meta(words.CLASSES, "A class of message.")]],
        Meta(description="The classes of message that are still let through within these scopes."),
    ]
    still_sent_mandatory_topics: Annotated[
        list[str],
        Meta(description="The declared mandatory topics within them that still let some through."),
    ]
    replayed: Annotated[
        bool, Meta(description="Whether an earlier request with the same key had this answer.")
    ]
    position: Position
    receipt_claim: Annotated[
        str | UnsetType,
        Meta(description="What it left in the log. Keep it: receipts are asked for by it."),
    ] = UNSET
    propagated: Annotated[
        bool | UnsetType,
        Meta(description="Whether everybody who counts had applied it. Absent: not waited for."),
    ] = UNSET
    waiting_for: Annotated[
        list[str] | UnsetType,
        Meta(description="Who had not been heard to have applied it, at most 100."),
    ] = UNSET


class Preferences(Told, frozen=True, kw_only=True):
    """What stands for a person: choices and suppressions, with who said so."""

    records: list[Record]
    position: Position

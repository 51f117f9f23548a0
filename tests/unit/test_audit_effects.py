"""What a content says that its change did is what a follower is told, and nothing else is."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from heed.audit.effects import read_content, require_told
from heed.audit.failing import ProofError
from heed.judge import Draft
from heed.model import (
    Cause,
    Change,
    ChangeKind,
    Channel,
    Effect,
    Erasure,
    Hold,
    Instant,
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
from heed.wire.watched import change_from, change_to
from heed_server.storage.content import ContentEncoder

AT = Revision(7)
SUBJECT = SubjectKey(bytes(16))
OPT_OUT = Record(
    kind=RecordKind.OPT_OUT,
    cause=Cause.NONE,
    reach=Reach.PROMOTIONAL,
    channel=Channel.EMAIL,
    topic="news",
    decided_time=Instant(5),
    end_time=None,
    revision=AT,
)
EARLIER = replace(OPT_OUT, revision=Revision(3), decided_time=Instant(9))
BOUNCE = Record(
    kind=RecordKind.SUPPRESSION,
    cause=Cause.BOUNCE,
    reach=Reach.ALL,
    channel=Channel.EMAIL,
    topic="",
    decided_time=Instant(5),
    end_time=Instant(50),
    revision=AT,
)
TOPIC = Topic(
    name="orders",
    topic_class=TopicClass.MANDATORY,
    mandatory_channels=frozenset({Channel.EMAIL, Channel.SMS}),
    requires_opt_in=False,
    suppress_undeclared=True,
    retired=True,
    title="Orders",
    revision=AT,
)
HOLD = Hold(hold_id="h", channel=Channel.SMS, topic="a", campaign="c", reason="r", revision=AT)
ERASURE = Erasure(standing=(BOUNCE, EARLIER), changes_count=2, residues_hash=bytes(32))

DRAFTS: Mapping[str, dict[str, Any]] = {
    "choice": {"kind": ChangeKind.CHOICE, "asked": OPT_OUT, "stands": OPT_OUT, "whose": SUBJECT},
    "choice beside": {
        "kind": ChangeKind.CHOICE,
        "asked": OPT_OUT,
        "stands": EARLIER,
        "whose": SUBJECT,
    },
    "suppression": {
        "kind": ChangeKind.SUPPRESSION,
        "asked": BOUNCE,
        "stands": BOUNCE,
        "whose": SUBJECT,
    },
    "release": {
        "kind": ChangeKind.RELEASE,
        "asked": replace(BOUNCE, revision=Revision(3)),
        "stands": replace(BOUNCE, revision=Revision(3)),
        "whose": SUBJECT,
    },
    "revert to": {
        "kind": ChangeKind.REVERT,
        "asked": OPT_OUT,
        "stands": EARLIER,
        "whose": SUBJECT,
    },
    "revert to nothing": {
        "kind": ChangeKind.REVERT,
        "asked": EARLIER,
        "stands": None,
        "whose": SUBJECT,
    },
    "topic": {"kind": ChangeKind.TOPIC, "topic": TOPIC},
    "hold": {"kind": ChangeKind.HOLD, "hold": HOLD},
    "lift": {"kind": ChangeKind.LIFT, "hold": replace(HOLD, revision=Revision(3))},
    "erasure": {"kind": ChangeKind.ERASURE, "erasure": ERASURE, "whose": SUBJECT},
    "lookup key": {"kind": ChangeKind.REKEY, "rekey": Rekey(key_id=2)},
    "move": {
        "kind": ChangeKind.REKEY,
        "rekey": Rekey(key_id=2, previous=SubjectKey(bytes(range(16)))),
        "whose": SUBJECT,
    },
}


def written(name: str) -> tuple[bytes, Change]:
    """A content, and the change as a follower is told it."""
    origin = Origin(source="tests")
    draft = Draft(effect=Effect.APPLIED, commit_time=Instant(6), origin=origin, **DRAFTS[name])
    change = Change(
        revision=AT,
        commit_time=Instant(6),
        kind=draft.kind,
        effect=Effect.APPLIED,
        running_hash=bytes(32),
        subject=draft.key,
        record=draft.stands,
        asked=draft.asked,
        topic=draft.topic,
        hold=draft.hold,
        erasure=draft.erasure,
        rekey=draft.rekey,
    )
    message = change_to(change)
    assert message is not None
    return ContentEncoder().encode(draft), change_from(message)


def test_there_is_a_case_of_every_kind() -> None:
    assert {said["kind"] for said in DRAFTS.values()} == set(ChangeKind)


@pytest.mark.parametrize("name", DRAFTS)
def test_what_is_told_is_what_the_content_says(name: str) -> None:
    content, told = written(name)

    logged = read_content(content, AT)

    assert logged.kind is DRAFTS[name]["kind"]
    require_told(logged, told)


@pytest.mark.parametrize("name", DRAFTS)
@pytest.mark.parametrize("other", DRAFTS)
def test_what_is_told_of_one_change_is_not_what_another_says(name: str, other: str) -> None:
    if {name, other} in ({"choice beside", "revert to"}, {name}):
        return
    content, _ = written(name)
    _, told = written(other)

    with pytest.raises(ProofError, match="otherwise"):
        require_told(read_content(content, AT), told)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"v":2,"kind":"choice"}',
        b'{"v":1,"kind":"later"}',
        b'{"v":1,"kind":"choice"}',
        b'{"v":1,"kind":"topic","topic":1}',
        json.dumps({"v": 1, "kind": "hold", "hold": {"hold_id": "h", "channel": "x"}}).encode(),
    ],
)
def test_what_is_no_content_proves_nothing(content: bytes) -> None:
    with pytest.raises(ProofError):
        read_content(content, AT)

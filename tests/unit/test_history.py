"""The checker of histories sees each way in which a store can break its word."""

import hashlib
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.history import Call, Dump, Row, violations


def good() -> tuple[list[Call], Dump]:
    """Three calls: one acknowledged with two changes, one unknown that happened, one refused."""
    changes: list[Row] = []
    running = bytes(32)
    for revision, (key, subject) in enumerate([("a", b"s"), ("a", b"t"), ("b", b"s")], start=1):
        record = {"kind": "opt_out", "channel": "email", "decided_us": revision, "reach": "all"}
        content = json.dumps(
            {"v": 1, "kind": "choice", "record": record, "origin": {"reference": key}}
        ).encode()
        salt = bytes([revision]) * 16
        entry = struct.pack(
            ">BBQQQ32s32s",
            1,
            1,
            7,
            revision,
            revision * 10,
            hashlib.sha256(salt + b"\1" + subject).digest(),
            hashlib.sha256(salt + b"\2" + content).digest(),
        )
        leaf = hashlib.sha256(b"\0" + entry).digest()
        running = hashlib.sha256(running + leaf).digest()
        changes.append(
            {
                "tenant_id": 7,
                "revision": revision,
                "kind": 1,
                "effect": 1,
                "subject": subject,
                "salt": salt,
                "content": content,
                "entry": entry,
                "leaf_hash": leaf,
                "running_hash": running,
                "commit_time": revision * 10,
            }
        )
    records = [
        {"subject": b"t", "decided_time": 2, "end_time": None, "revision": 2, "standing": True},
        {"subject": b"s", "decided_time": 3, "end_time": None, "revision": 3, "standing": True},
    ]
    keys = [
        {"idempotency_key": "a", "answer": b"[2]", "revision": 2},
        {"idempotency_key": "b", "answer": b"[3]", "revision": 3},
    ]
    calls = [
        Call("a", 2, answers={"[2]"}),
        Call("b", 1, unknowns=1),
        Call("c", 1, refusals=1),
    ]
    head = {"revision": 3, "running_hash": running}
    return calls, Dump(changes=changes, records=records, keys=keys, head=head)


def test_a_history_that_was_kept_has_no_violation() -> None:
    calls, dump = good()

    assert violations(calls, dump) == []


def drop_last_change(calls: list[Call], dump: Any) -> None:
    dump.changes.pop()


def drop_first_change(calls: list[Call], dump: Any) -> None:
    dump.changes.pop(0)


def repeat_a_commit_time(calls: list[Call], dump: Any) -> None:
    dump.changes[2]["commit_time"] = dump.changes[1]["commit_time"]


def change_content(calls: list[Call], dump: Any) -> None:
    dump.changes[0]["content"] = dump.changes[0]["content"].replace(b"email", b"phone")


def change_subject(calls: list[Call], dump: Any) -> None:
    dump.changes[0]["subject"] = b"u"


def change_head(calls: list[Call], dump: Any) -> None:
    dump.head["running_hash"] = bytes(32)


def drop_key_of_the_acknowledged(calls: list[Call], dump: Any) -> None:
    dump.keys.pop(0)


def change_an_answer(calls: list[Call], dump: Any) -> None:
    dump.keys[0]["answer"] = b"[9]"


def answer_twice(calls: list[Call], dump: Any) -> None:
    calls[0].answers.add("[3]")


def change_a_keys_revision(calls: list[Call], dump: Any) -> None:
    dump.keys[0]["revision"] = 1


def acknowledge_what_is_not_there(calls: list[Call], dump: Any) -> None:
    calls[2].answers.add("[4]")


def refuse_what_is_there(calls: list[Call], dump: Any) -> None:
    calls[1].unknowns = 0


def expect_more_changes(calls: list[Call], dump: Any) -> None:
    calls[1].changes = 2


def forget_a_call(calls: list[Call], dump: Any) -> None:
    calls.pop(1)


def drop_a_record(calls: list[Call], dump: Any) -> None:
    dump.records.pop()


def keep_an_older_record(calls: list[Call], dump: Any) -> None:
    dump.records[1]["revision"] = 1


@pytest.mark.parametrize(
    "harm",
    [
        drop_last_change,
        drop_first_change,
        repeat_a_commit_time,
        change_content,
        change_subject,
        change_head,
        drop_key_of_the_acknowledged,
        change_an_answer,
        answer_twice,
        change_a_keys_revision,
        acknowledge_what_is_not_there,
        refuse_what_is_there,
        expect_more_changes,
        forget_a_call,
        drop_a_record,
        keep_an_older_record,
    ],
)
def test_each_harm_is_a_violation(harm: Callable[[list[Call], Dump], None]) -> None:
    calls, dump = good()

    harm(calls, dump)

    assert violations(calls, dump) != []

"""Each language's subscriber: cut off, held up, and faced with another store, it misses nothing."""

import signal
from pathlib import Path
from uuid import uuid4

import pytest

from scripts.build_examples import Language
from tests.languages.conftest import Target, program_at
from tests.languages.programs import Program, Said
from tests.support.served import Served, run_command

pytestmark = [pytest.mark.languages, pytest.mark.slow]


def gaps(told: list[Said]) -> list[Said]:
    """The changes that do not go on from where the subscriber stood."""
    found, stands = [], -1
    for one in told:
        if one["event"] == "snapshot":
            stands = one["revision"]
        elif one["event"] == "changes":
            if one["after"] != stands:
                found.append(one)
            stands = one["through"]
    return found


def reasons(told: list[Said]) -> list[str]:
    """Why each snapshot came."""
    return [one["reason"] for one in told if one["event"] == "snapshot"]


def test_a_gap_is_seen() -> None:
    """The control of the tests below."""
    begins = {"event": "snapshot", "revision": 4}
    goes_on = {"event": "changes", "after": 4, "through": 6}
    skips = {"event": "changes", "after": 7, "through": 8}

    assert gaps([begins, goes_on, skips]) == [skips]


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_stream_that_ends_is_resumed_by_its_token_without_a_gap(
    language: Language, target: Target, ending: signal.Signals
) -> None:
    """What was written while it was away comes as changes, and nothing comes as a snapshot."""
    target.opt_out(*_people(0, 3))
    with program_at(language, target).start("watch", "mailer-1") as watching:
        watching.wait_for("live")
        before = target.opt_out(*_people(3, 6))
        watching.wait_for("changes", lambda said: said["through"] >= before)

        watching.signal(signal.SIGSTOP)  # it hears of nothing until all is written
        target.process.signal(ending)
        target.restart()
        during = target.opt_out(*_people(6, 12))
        watching.signal(signal.SIGCONT)

        lost = watching.wait_for("lost")
        live = watching.wait_for("live", lambda said: said["revision"] >= during)
        after = target.opt_out(*_people(12, 13))
        last = watching.wait_for("changes", lambda said: said["through"] >= after)

    assert lost["why"]
    assert live["records"] == 12
    assert live["age_ms"] >= 0
    assert last["records"] == 13
    assert reasons(watching.said) == ["NEW"]
    assert gaps(watching.said) == []


def test_a_stream_that_is_silent_is_left_and_resumed(language: Language, target: Target) -> None:
    """The server stands still: TCP and its connection notice nothing."""
    target.opt_out(*_people(0, 3))
    with program_at(language, target).start("watch", "mailer-1") as watching:
        watching.wait_for("live")
        target.process.signal(signal.SIGSTOP)
        try:
            lost = watching.wait_for("lost")
        finally:
            target.process.signal(signal.SIGCONT)
        live = watching.wait_for("live")

    assert lost["why"] == "silent"
    assert (live["revision"], live["records"]) == (3, 3)
    assert reasons(watching.said) == ["NEW"]


def test_another_store_in_its_place_replaces_all_that_was_known(
    language: Language, tmp_path: Path
) -> None:
    """Both are open: a key of the one is none of the other."""
    for name, count in (("first", 3), ("second", 2)):
        (tmp_path / name).mkdir()
        with Served(tmp_path / name) as server, server.client() as client:
            for person in _people(0, count):
                client.opt_out(email=person, topic="news", source="tests")

    with Served(tmp_path / "first") as first:
        program = Program(language=language, address=first.address)
        with program.start("watch", "mailer-1") as watching:
            live = watching.wait_for("live")
            assert (live["revision"], live["records"]) == (3, 3)
            first.end()
            with Served(tmp_path / "second", listen=first.address):
                live = watching.wait_for("live")

    assert reasons(watching.said) == ["NEW", "EPOCH_CHANGED"]
    assert (live["revision"], live["records"]) == (2, 2)
    assert gaps(watching.said) == []


def test_a_second_choice_at_one_place_replaces_the_first(
    language: Language, lasting_target: Target
) -> None:
    ada, bob = f"ada-{uuid4()}@example.com", f"bob-{uuid4()}@example.com"
    with program_at(language, lasting_target).start("watch", "mailer-1") as watching:
        live = watching.wait_for("live")
        revision = lasting_target.opt_out(ada, ada, bob)
        last = watching.wait_for("changes", lambda said: said["through"] >= revision)

    assert last["records"] == live["records"] + 2


def test_whoever_is_known_by_another_key_takes_along_what_stands(
    language: Language, tmp_path: Path
) -> None:
    """The choice after the move is in the place of the one before it, and no snapshot came."""
    with Served(tmp_path) as server, server.client() as client:
        for person in _people(0, 3):
            client.opt_out(email=person, topic="news", source="tests")
        program = Program(language=language, address=server.address)
        with program.start("watch", "mailer-1") as watching:
            watching.wait_for("live")
            words = ("keys", "lookup", "replace", "--reason", "leaked")
            replaced = run_command(*words, cwd=tmp_path)
            watching.wait_for("changes", lambda said: said["through"] >= 7)
            last = client.opt_out(email=_people(0, 1)[0], topic="news", source="tests").revision
            told = watching.wait_for("changes", lambda said: said["through"] >= last)

    assert replaced.returncode == 0
    assert (told["through"], told["records"]) == (8, 3)
    assert reasons(watching.said) == ["NEW"]


def _people(first: int, end: int) -> list[str]:
    return [f"person-{number}@example.com" for number in range(first, end)]

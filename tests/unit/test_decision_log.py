"""The decision log takes what there is room for, counts what it drops, and never makes a Check wait."""

import errno
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import structlog

from heed.errors import UnavailableError
from heed.model import (
    Channel,
    Decision,
    Instant,
    Query,
    Reason,
    Revision,
    Rule,
    SubjectKey,
    Verdict,
)
from heed.wire.encoded import Position
from heed_server.decisions import DecisionLog, DecisionLogLimits, Noted, open_decision_log
from heed_server.decisions.file import RotatingFile
from heed_server.decisions.lines import lines_of

NOW = Instant(1_800_000_000_123_456)
ALLOWED = Decision(Verdict.ALLOWED, (Reason(Rule.DEFAULT),))
STOPPED = Decision(Verdict.SUPPRESSED, (Reason(Rule.OPT_OUT), Reason(Rule.PAUSE)))


def noted(
    *decisions: Decision | None, references: dict[int, str] | None = None, other: int | None = None
) -> Noted:
    count = len(decisions)
    return Noted(
        NOW,
        "shop",
        [SubjectKey(bytes([at]) * 16) for at in range(count + 1)],
        [2, *[1] * (count - 1)],
        [Query(channel=Channel.EMAIL, topic="news", campaign="spring")] * count,
        references or {},
        decisions,
        Position(Revision(17), "token-17"),
        NOW,
        None if other is None else Instant(other),
    )


def written(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_line_says_what_was_asked_and_answered_and_where() -> None:
    (line,) = lines_of(noted(STOPPED, references={0: "<1@mail>"}))

    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.123456Z",
        "tenant": "shop",
        "subjects": ["00" * 16, "01" * 16],
        "channel": "email",
        "topic": "news",
        "campaign": "spring",
        "verdict": "suppressed",
        "rule": "opt_out",
        "revision": 17,
        "now": "2027-01-15T08:00:00.123456Z",
        "rule_version": 2,
        "token": "token-17",
        "reference": "<1@mail>",
    }


def test_a_line_tells_both_instants_of_a_clock_that_was_doubted() -> None:
    (line,) = lines_of(noted(ALLOWED, other=NOW + 7_000_000))

    assert json.loads(line)["other_now"] == "2027-01-15T08:00:07.123456Z"


def test_each_decision_of_a_batch_has_a_line_with_its_own_subjects_and_reference() -> None:
    lines = [
        json.loads(line) for line in lines_of(noted(ALLOWED, None, STOPPED, references={2: "c"}))
    ]

    assert [line["verdict"] for line in lines] == ["allowed", "suppressed"]
    assert [line["subjects"] for line in lines] == [["00" * 16, "01" * 16], ["03" * 16]]
    assert [line.get("reference") for line in lines] == [None, "c"]


def test_a_full_file_is_followed_by_the_next_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    file = RotatingFile(path, bytes_max=10, files_max=3)

    for number in range(7):
        file.write([f"line {number:05}\n".encode()])
    file.write([b"last\n"])
    file.close()

    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "decisions.jsonl",
        "decisions.jsonl.1",
        "decisions.jsonl.2",
    ]
    assert written(path) == ["last"]
    assert written(tmp_path / "decisions.jsonl.1") == ["line 00006"]
    assert written(tmp_path / "decisions.jsonl.2") == ["line 00005"]


def test_one_file_alone_begins_anew_when_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    file = RotatingFile(path, bytes_max=10, files_max=1)

    file.write([b"line 00000\n"])
    file.write([b"line 1\n"])
    file.close()

    assert [one.name for one in tmp_path.iterdir()] == ["decisions.jsonl"]
    assert written(path) == ["line 1"]


def test_a_file_that_is_there_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(b"whole\ncut o")

    file = RotatingFile(path, bytes_max=1_000, files_max=2)
    file.write([b"next\n"])
    file.close()

    assert written(path) == ["whole", "cut o", "next"]


def test_the_file_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"

    RotatingFile(path, bytes_max=1_000, files_max=2).close()

    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_opened_keeps_the_server_from_starting(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"decision_log\.file"):
        open_decision_log(tmp_path / "missing" / "decisions.jsonl", DecisionLogLimits())


class HeldFile:
    """A file whose disk hangs until it is let go, or fails."""

    def __init__(self) -> None:
        self.goes = threading.Event()
        self.is_asked = threading.Event()
        self.lines: list[bytes] = []
        self.failures = 0

    def write(self, lines: Sequence[bytes]) -> None:
        self.is_asked.set()
        assert self.goes.wait(20)
        if self.failures:
            self.failures -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        self.lines += lines

    def close(self) -> None:
        self.goes.set()


@pytest.fixture
def held() -> Iterator[HeldFile]:
    file = HeldFile()
    yield file
    file.goes.set()


def log_on(file: object, lines_queued_max: int = 10) -> DecisionLog:
    return DecisionLog(file, lines_queued_max=lines_queued_max)  # type: ignore[arg-type]  # it writes, too


def test_what_was_noted_is_written_when_the_log_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    log = open_decision_log(path, DecisionLogLimits())

    for _ in range(2_500):
        log.note(noted(ALLOWED, STOPPED))
    log.close()

    assert len(written(path)) == log.written == 5_000
    assert log.dropped == 0


def test_a_disk_that_hangs_holds_nobody_up_and_costs_what_there_is_no_room_for(
    held: HeldFile,
) -> None:
    log = log_on(held)
    log.note(noted(ALLOWED))
    assert held.is_asked.wait(20)

    for _ in range(20):
        log.note(noted(ALLOWED, STOPPED))
    assert log.dropped == 30  # ten may wait, and one is being written

    held.goes.set()
    log.close()
    assert log.written == len(held.lines) == 11
    assert log.written + log.dropped == 41


def test_what_the_disk_does_not_take_is_counted_and_said_once(held: HeldFile) -> None:
    held.failures = 1
    held.goes.set()
    log = log_on(held)

    with structlog.testing.capture_logs() as said:
        log.note(noted(ALLOWED))
        assert held.is_asked.wait(20)
        for _ in range(20):
            log.note(noted(*[ALLOWED] * 20))  # never fits
        log.note(noted(STOPPED))
        log.close()

    assert log.dropped == 1 + 20 * 20
    assert log.written == 1
    assert [one["event"] for one in said] == ["decisions_dropped"]


class BrokenFile(RotatingFile):
    """A file whose writing fails as nobody foresaw."""

    def write(self, lines: Sequence[bytes]) -> None:
        raise ValueError(f"{len(lines)} lines that nothing takes")


@pytest.mark.filterwarnings("error")
def test_a_thread_that_ends_says_so_and_all_is_counted_from_then_on(tmp_path: Path) -> None:
    file = BrokenFile(tmp_path / "decisions.jsonl", bytes_max=1 << 20, files_max=2)
    with structlog.testing.capture_logs() as lines:
        log = DecisionLog(file, lines_queued_max=100)
        log.note(noted(ALLOWED, STOPPED))
        log.close()  # returns when the thread has ended

        log.note(noted(ALLOWED))
        log.note(noted(ALLOWED))

    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("decision_log_ended", "error"),
        ("decisions_dropped", "warning"),
    ]
    assert (log.written, log.dropped) == (0, 4)


FILLS_A_DISK = """
import json, resource, sys
from pathlib import Path
from heed_server.decisions.file import RotatingFile

file = RotatingFile(Path(sys.argv[1]), bytes_max=1 << 20, files_max=2)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
failures = 0
for number in range(100):
    if number == 50:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    try:
        file.write([json.dumps({"number": number, "said": "x" * 20}).encode() + b"\\n"])
    except OSError:
        failures += 1
sys.stdout.write(f"{failures}\\n")
"""


def test_a_real_file_that_can_grow_no_more_loses_lines_and_breaks_none_that_come_later(
    tmp_path: Path,
) -> None:
    """By the limit of a file's size: a write is cut short, then refused, then there is room."""
    path = tmp_path / "decisions.jsonl"

    ended = subprocess.run(
        [sys.executable, "-c", FILLS_A_DISK, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )

    numbers: list[int] = []
    broken = 0
    for line in path.read_bytes().splitlines():
        try:
            numbers.append(json.loads(line)["number"])
        except ValueError:
            broken += 1
    refused = int(ended.stdout)
    assert refused > 10
    assert len(numbers) == 100 - refused
    assert numbers[-50:] == list(range(50, 100))
    assert broken == 1  # the one that was cut, on a line of its own

"""`heed check FILE`: the same question for every row of a list, in constant memory.

Laws:
- A row is allowed only by an answer that said so. One that could not be asked about is `invalid`,
  one that no answer came for is not written at all, and the command fails.
- Rows go out in the order in which they came in.
"""

import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import typer

from heed.answers import CheckAnswer
from heed.cli.arguments import channel_or_own
from heed.cli.exits import DONE, SOME_REJECTED
from heed.cli.files import reading, writing
from heed.cli.options import Session
from heed.cli.output import print_json, reason_of
from heed.cli.progress import progress
from heed.cli.rows import Row, RowsOut, read_rows, write_rows
from heed.errors import InvalidArgumentError, invalid_field
from heed.keys import normalise
from heed.model import Subject, SubjectType
from heed.names import word_of
from heed.requests import Query, subjects_of
from heed.sync_client import SyncClient
from heed.topics import validate_topic

BATCH_ROWS: Final = 1_000
"""Rows in one call: more make no call faster, and fewer make more calls."""

ADDED: Final = ("verdict", "rule", "reason")
VERDICTS: Final = ("allowed", "suppressed", "invalid")
_INVALID: Final = "invalid"
_QUERY: Final = re.compile(r"queries\[(\d+)\]")


def check_file(
    session: Session,
    path: Path,
    *,
    channel: str | None,
    topic: str,
    campaign: str,
    only: str | None,
    output: Path | None,
) -> None:
    """Check every row of a file; columns of a row come before the options."""
    if only is not None and only not in VERDICTS:
        raise invalid_field("only", f"{only[:40]!r} is not one of {', '.join(VERDICTS)}")
    counts: Counter[str] = Counter()
    with (
        reading(path) as (text, raw, size),
        writing(output) as out,
        session.connect() as client,
        progress("checking", size) as done,
    ):
        rows = read_rows(text)
        destination = write_rows(out, rows, ADDED, as_json=session.json)
        asked = ((row, _query(row, channel, topic, campaign)) for row in rows)
        for batch in _batches(asked):
            _check_batch(client, batch, destination, counts, only)
            out.flush()
            if size is not None:
                done(raw.tell())
    _tell(session, counts)
    raise typer.Exit(SOME_REJECTED if counts[_INVALID] else DONE)


def _query(row: Row, channel: str | None, topic: str, campaign: str) -> Query | str:
    """What a row asks, or why it asks nothing."""
    if row.problem:
        return row.problem
    try:
        subjects = _subjects(row)
        for subject in subjects:
            normalise(subject)
        wanted_topic = row.said.get("topic", topic)
        validate_topic(wanted_topic)
        return Query(
            channel=channel_or_own(row.said.get("channel", channel), subjects),
            topic=wanted_topic,
            campaign=row.said.get("campaign", campaign),
            subjects=subjects,
        )
    except InvalidArgumentError as error:
        return error.message


def _subjects(row: Row) -> tuple[Subject, ...]:
    said = row.said
    subjects = subjects_of(
        email=said.get("email"),
        phone=said.get("phone"),
        user=said.get("user"),
        device=said.get("device"),
        subjects=(_subject_of(said["address"]),) if "address" in said else (),
    )
    if not subjects:
        raise invalid_field("row", "names nobody")
    return subjects


def _subject_of(address: str) -> Subject:
    """The subject that an address without a type is."""
    if "@" in address:
        return Subject(type=SubjectType.EMAIL, value=address)
    if address.startswith("+"):
        return Subject(type=SubjectType.PHONE, value=address)
    raise invalid_field("address", "is neither an email address nor a phone number with `+`")


def _batches(
    asked: Iterable[tuple[Row, Query | str]],
) -> Iterator[Sequence[tuple[Row, Query | str]]]:
    asked = iter(asked)
    while batch := list(itertools.islice(asked, BATCH_ROWS)):
        yield batch


def _check_batch(
    client: SyncClient,
    batch: Sequence[tuple[Row, Query | str]],
    destination: RowsOut,
    counts: Counter[str],
    only: str | None,
) -> None:
    queries = {at: query for at, (_, query) in enumerate(batch) if isinstance(query, Query)}
    found = _answers(client, queries)
    for at, (row, query) in enumerate(batch):
        told = found[at] if isinstance(query, Query) else _refused(query)
        counts[told["verdict"]] += 1
        if only is None or told["verdict"] == only:
            destination.write(row, told)


def _answers(client: SyncClient, queries: dict[int, Query]) -> dict[int, dict[str, str]]:
    """The answer to each query; those that the server refuses are told, the others asked again."""
    found: dict[int, dict[str, str]] = {}
    left = dict(queries)
    while left:
        positions = list(left)
        try:
            answers = client.check_many(left.values())
        except InvalidArgumentError as error:
            refused = _refused_rows(error)
            if not refused:
                raise
            for at, description in refused.items():
                position = positions[at]
                found[position] = _refused(description)
                del left[position]
            continue
        found |= {
            position: _told(answer) for position, answer in zip(positions, answers, strict=True)
        }
        return found
    return found


def _refused_rows(error: InvalidArgumentError) -> dict[int, str]:
    """Why the server refused which queries, by their positions in the call."""
    refused: dict[int, str] = {}
    for violation in error.violations:
        match = _QUERY.match(violation.field)
        if match is not None:
            refused.setdefault(int(match[1]), violation.description)
    return refused


def _told(answer: CheckAnswer) -> dict[str, str]:
    return {
        "verdict": word_of(answer.verdict),
        "rule": "unknown" if answer.rule is None else word_of(answer.rule),
        "reason": reason_of(answer.reasons[0]) if answer.reasons else "",
    }


def _refused(description: str) -> dict[str, str]:
    return {"verdict": _INVALID, "rule": "", "reason": description}


def _tell(session: Session, counts: Counter[str]) -> None:
    if session.json:
        print_json({verdict: counts[verdict] for verdict in VERDICTS}, to_stderr=True)
        return
    parts = ", ".join(f"{counts[verdict]:,} {verdict}" for verdict in VERDICTS)
    print(f"{counts.total():,} rows: {parts}", file=sys.stderr)

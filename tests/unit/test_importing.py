"""The driver of imports, against the real decision in memory."""

import asyncio
import io
from pathlib import Path

import pytest

from heed.errors import (
    ConflictError,
    ErrorReason,
    ExhaustedError,
    HeedError,
    OutcomeUnknownError,
    UnavailableError,
)
from heed.formats import UnusableInputError
from heed.importing import (
    CHUNKS_IN_FLIGHT,
    ImportPlan,
    ImportSummary,
    RejectedEntry,
    RejectsFile,
    chunks,
    driver,
    opened_source,
    prepare,
)
from heed.importing.chunks import CHUNK_CHARACTERS_MAX, CHUNK_ENTRIES_MAX, chunks_of
from heed.testing import FakeService, FakeSyncClient
from heed.wire.limits import IMPORT_ROWS_MAX, MESSAGE_BYTES_MAX
from heed_proto.v1 import admin_service_pb2 as admin
from tests.support.imported import CASES, options, read
from tests.support.importing import HookedCalls, run_import

CHUNK = 40
ROWS = 5 * CHUNK + 17
BIG = b"".join(
    b"user%d@example.com,%s\n" % (n, b"BOUNCE" if n % 3 else b"COMPLAINT") for n in range(ROWS)
)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_ROWS_MAX", CHUNK)


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "RETRY_SECONDS", (0.0, 0.0))


def standing(service: FakeService) -> list[tuple[object, ...]]:
    """Everything that stands, without when and where in the log it was written."""
    return sorted(
        (
            str(one.subject),
            one.record.kind,
            one.record.cause,
            one.record.scope.channel,
            one.record.scope.topic,
            one.record.reach,
            one.record.reason,
        )
        for one in FakeSyncClient(service).export_records()
    )


async def test_what_a_vendor_suppressed_is_suppressed(service: FakeService) -> None:
    client = FakeSyncClient(service)
    before = client.check(email="bounce.address@wildbit.com", channel="email", topic="news")

    summary = await run_import((CASES / "postmark.json").read_bytes(), HookedCalls(service))

    after = client.check(email="Bounce.Address@wildbit.com", channel="email", topic="news")
    assert (before.allowed, after.allowed) == (True, False)
    assert summary.rows == {"bounce": 1, "complaint": 1, "manual": 2, "opt_out": 1}
    assert (summary.read, summary.added, summary.rejected) == (5, 5, 0)


async def test_an_import_adds_up_what_became_of_every_record(service: FakeService) -> None:
    summary = await run_import((CASES / "mailchimp.zip").read_bytes(), HookedCalls(service))

    assert summary.formats == {
        "subscribed_members_export_8f2a1b3c4d.csv": "mailchimp-subscribed",
        "unsubscribed_members_export_8f2a1b3c4d.csv": "mailchimp-unsubscribed",
        "cleaned_members_export_8f2a1b3c4d.csv": "mailchimp-cleaned",
    }
    assert summary.rows == {"bounce": 1, "opt_out": 2}
    assert summary.nothing == {"subscribed": 1}
    assert (summary.read, summary.added, summary.chunks) == (4, 3, 2)


async def test_the_same_import_again_doubles_nothing(service: FakeService) -> None:
    first = await run_import(BIG, HookedCalls(service))
    stood = standing(service)
    revision = FakeSyncClient(service).check(email="x@example.com", channel="email").revision

    second = await run_import(BIG, HookedCalls(service))

    assert (first.replayed, second.replayed) == (0, first.chunks)
    assert (second.added, second.batch_id) == (first.added, first.batch_id)
    assert standing(service) == stood
    assert (
        FakeSyncClient(service).check(email="x@example.com", channel="email").revision == revision
    )


@pytest.mark.parametrize("is_after", [False, True], ids=["before it is committed", "after it"])
@pytest.mark.parametrize("number", [1, 3, 6])
async def test_an_import_that_dies_is_resumed_by_the_same_command(
    number: int, is_after: bool, no_waits: None
) -> None:
    """Whether the chunk at which it dies was committed or not."""
    whole, broken = FakeService(), FakeService()
    await run_import(BIG, HookedCalls(whole))

    def die(request: admin.ImportRecordsRequest, is_done: bool) -> None:
        if request.idempotency_key.endswith(f"/{number}") and is_done is is_after:
            raise KilledError

    with pytest.raises(ExceptionGroup) as killed:
        await run_import(BIG, HookedCalls(broken, die))
    assert killed.group_contains(KilledError)
    await run_import(BIG, HookedCalls(broken))

    assert standing(broken) == standing(whole)


class KilledError(Exception):
    """The process ends here."""


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError("away", reason=ErrorReason.SERVER_UNREACHABLE),
        OutcomeUnknownError("who knows"),
        ExhaustedError("busy", reason=ErrorReason.OVERLOADED),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("is_after", [False, True], ids=["before it is committed", "after it"])
async def test_a_chunk_whose_outcome_is_unknown_is_sent_again_with_its_key(
    error: HeedError, is_after: bool, no_waits: None
) -> None:
    whole, shaky = FakeService(), FakeService()
    await run_import(BIG, HookedCalls(whole))
    failed: set[str] = set()

    def fail_once(request: admin.ImportRecordsRequest, is_done: bool) -> None:
        if is_done is is_after and request.idempotency_key not in failed:
            failed.add(request.idempotency_key)
            raise error

    summary = await run_import(BIG, HookedCalls(shaky, fail_once))

    assert len(failed) == summary.chunks == 6
    assert standing(shaky) == standing(whole)


async def test_a_server_that_stays_away_ends_the_import(
    service: FakeService, no_waits: None
) -> None:
    def away(request: admin.ImportRecordsRequest, is_done: bool) -> None:
        raise UnavailableError("away", reason=ErrorReason.SERVER_UNREACHABLE)

    with pytest.raises(UnavailableError, match="away"):
        await run_import(BIG, HookedCalls(service, away))


async def test_a_refusal_is_not_tried_again(service: FakeService) -> None:
    await run_import(BIG, HookedCalls(service), ImportPlan(options=options(), batch_id="mine"))
    calls = HookedCalls(service)

    with pytest.raises(ConflictError) as refused:
        await run_import(
            b"other@example.com,BOUNCE\n", calls, ImportPlan(options=options(), batch_id="mine")
        )

    assert refused.value.reason is ErrorReason.IDEMPOTENCY_KEY_REUSED
    assert len(calls.requests) == 1


async def test_several_chunks_are_under_way_but_no_more_than_a_few(service: FakeService) -> None:
    calls = HookedCalls(service)
    many = b"".join(b"user%d@example.com,BOUNCE\n" % n for n in range(20 * CHUNK))

    await run_import(many, calls)

    assert 1 < calls.in_flight_max <= CHUNKS_IN_FLIGHT


async def test_a_dry_run_says_the_same_and_changes_nothing(service: FakeService) -> None:
    dry = await run_import(BIG, HookedCalls(service), ImportPlan(options=options(), dry_run=True))

    assert standing(service) == []
    assert dry.dry_run
    assert (dry.added, dry.rows) == (
        ROWS,
        {"bounce": ROWS - (ROWS + 2) // 3, "complaint": (ROWS + 2) // 3},
    )
    wet = await run_import(BIG, HookedCalls(service))
    assert (wet.added, wet.replayed) == (ROWS, 0)


async def test_an_import_says_who_says_so(service: FakeService) -> None:
    calls = HookedCalls(service)

    await run_import((CASES / "postmark.json").read_bytes(), calls)
    plan = ImportPlan(options=options(), source="old-crm", actor="agent:jane", tenant="default")
    await run_import((CASES / "postmark.json").read_bytes(), calls, plan)

    vendors, ours = calls.requests
    assert (vendors.origin.source, ours.origin.source) == ("postmark", "old-crm")
    assert (ours.origin.actor, ours.tenant, ours.origin.method) == ("agent:jane", "default", 8)


async def test_what_stands_before_a_damage_is_imported_and_the_damage_is_told(
    service: FakeService,
) -> None:
    damaged = b'[{"EmailAddress":"ada@example.com","SuppressionReason":"HardBounce"},{"EmailAdd'

    with pytest.raises(UnusableInputError, match="after record 1"):
        await run_import(damaged, HookedCalls(service))

    assert not FakeSyncClient(service).check(email="ada@example.com", channel="email").allowed


async def test_an_export_of_nothing_asks_no_server(service: FakeService) -> None:
    service.is_reachable = False

    summary = await run_import(b'{"Suppressions":[]}', HookedCalls(service))

    assert (summary.read, summary.chunks, summary.formats) == (0, 0, {"": "empty"})


def name_of(data: bytes, **said: object) -> str:
    source = str(said.pop("source", ""))
    return prepare(io.BytesIO(data), ImportPlan(options=options(**said), source=source)).batch_id


def test_the_same_content_and_options_have_the_same_name() -> None:
    assert name_of(BIG) == name_of(BIG)
    assert len(name_of(BIG)) <= 100


def test_whatever_changes_what_rows_become_changes_the_name() -> None:
    data = (CASES / "sendgrid-bounces.csv").read_bytes()
    names = [
        name_of(data, format_name="sendgrid-bounces"),
        name_of(data, format_name="sendgrid-spam"),
        name_of(data, format_name="sendgrid-bounces", topic="marketing"),
        name_of(data, format_name="sendgrid-bounces", topics={"a": "marketing"}),
        name_of(data, format_name="sendgrid-bounces", source="crm"),
        name_of(data + b"\n", format_name="sendgrid-bounces"),
    ]

    assert len(set(names)) == len(names)


def test_the_day_changes_the_name_only_where_rows_depend_on_it() -> None:
    bounces = (CASES / "mailgun-bounces.csv").read_bytes()

    assert name_of(bounces) != name_of(bounces, day_end=1)
    assert name_of(BIG) == name_of(BIG, day_end=1)


def test_the_largest_rows_stay_within_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_ROWS_MAX", IMPORT_ROWS_MAX)
    reason = "\U0001f4e7" * 2_000
    row = '5.1.1,"{}",{}@example.com,1790083507\n'
    data = "status,reason,email,created\n" + "".join(
        row.format(reason, "é" * 250 + str(number)) for number in range(3_000)
    )

    found = list(chunks_of(read(data.encode(), options(format_name="sendgrid-bounces"))))

    assert max(chunk.rows.ByteSize() for chunk in found) < MESSAGE_BYTES_MAX - 4_096
    assert max(chunk.characters for chunk in found) <= CHUNK_CHARACTERS_MAX + 1_000
    assert sum(len(chunk.rows.rows) for chunk in found) == 3_000


def test_entries_that_add_nothing_do_not_gather_without_end() -> None:
    data = (
        b"uuid,email,name,attributes,status,created_at,updated_at\n"
        + b",a@b.c,,,enabled,,\n" * (2 * CHUNK_ENTRIES_MAX + 1)
    )

    found = list(chunks_of(read(data)))

    assert [chunk.read for chunk in found] == [CHUNK_ENTRIES_MAX, CHUNK_ENTRIES_MAX, 1]
    assert not any(chunk.rows.rows for chunk in found)


def test_a_text_that_no_message_can_carry_costs_its_row_alone() -> None:
    data = (
        b'{"address":"a@example.com","cause":"opt_out","topic":"\\ud800"}\n'
        b'{"address":"b@example.com","cause":"opt_out"}\n'
    )

    (chunk,) = chunks_of(read(data))

    assert [row.subject.email for row in chunk.rows.rows] == ["b@example.com"]
    assert [why.description for _, why in chunk.rejected] == ["has text that is no Unicode"]


async def rejected_of(
    data: bytes, service: FakeService, plan: ImportPlan | None = None
) -> tuple[ImportSummary, list[RejectedEntry]]:
    rejected: list[RejectedEntry] = []
    summary = await run_import(data, HookedCalls(service), plan, on_rejected=rejected.append)
    return summary, rejected


async def test_a_row_that_the_server_rejects_is_known_by_its_place(service: FakeService) -> None:
    data = b"email,created\nada@example.com,1\na b@example.com,1\n,1\n"

    summary, rejected = await rejected_of(data, service)

    assert [(one.where, one.message) for one in rejected] == [
        ("line 4", "email: is empty"),
        ("line 3", "subject.email: has white space (U+0020); leave it out"),
    ]
    assert (summary.read, summary.added, summary.rejected) == (3, 1, 2)


async def test_a_record_of_several_rows_is_rejected_once(service: FakeService) -> None:
    data = b'[{"address":"a b@example.com","tags":["x","y"],"created_at":""}]'
    plan = ImportPlan(options=options(topics={"x": "one", "y": "two"}))

    summary, rejected = await rejected_of(data, service, plan)

    assert (summary.rejected, len(rejected)) == (1, 1)


async def test_rejected_records_stand_as_they_were_and_can_be_corrected_and_imported(
    service: FakeService, tmp_path: Path
) -> None:
    data = (
        b"status;reason;email;created\r\n"
        b'5.1.1;"550; no\r\nsuch ""user""";a b@example.com;1790083507\r\n'
        b"5.1.1;550;ok@example.com;1790083507\r\n"
        b"5.1.1;550\r\n"
    )
    plan = ImportPlan(options=options(format_name="sendgrid-bounces"))
    path = tmp_path / "rejected.csv"
    with RejectsFile(path, None) as rejects:
        await run_import(data, HookedCalls(service), plan, on_rejected=rejects.write)

    written = path.read_bytes().decode()
    assert written == (
        "status;reason;email;created;heed_error\n"
        '5.1.1;550;"";"";heed: has 2 cells, 4 belong there\n'.replace('""', "")
        + '5.1.1;"550; no\r\nsuch ""user""";a b@example.com;1790083507;'
        '"heed: subject.email: has white space (U+0020); leave it out"\n'
    )
    assert path.stat().st_mode & 0o777 == 0o600
    corrected = written.replace("a b@", "ab@").replace("550;;;", "550;c@example.com;1;")
    summary, rejected = await rejected_of(corrected.encode(), service, plan)
    assert (summary.added, rejected) == (2, [])


async def test_rejected_rows_without_header_can_be_imported_again(
    service: FakeService, tmp_path: Path
) -> None:
    path = tmp_path / "rejected.csv"
    with RejectsFile(path, None) as rejects:
        data = b"ok@example.com,BOUNCE\na b@example.com,BOUNCE\nc@example.com,\n"
        await run_import(data, HookedCalls(service), on_rejected=rejects.write)

    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "c@example.com,,heed: reason: is neither BOUNCE nor COMPLAINT"
    assert lines[1].startswith("a b@example.com,BOUNCE,heed: subject.email: has white")
    corrected = "\n".join(lines).replace("a b@", "ab@").replace("com,,", "com,COMPLAINT,")
    summary, rejected = await rejected_of(corrected.encode(), service)
    assert (summary.added, rejected) == (2, [])


async def test_rejected_records_of_json_are_lines_of_json(
    service: FakeService, tmp_path: Path
) -> None:
    path = tmp_path / "rejected.ndjson"
    data = (
        b'{"Suppressions":[{"EmailAddress":"a b@example.com","SuppressionReason":"HardBounce",'
        b'"Origin":"Recipient","CreatedAt":"2019-12-11T08:58:33-05:00"}]}'
    )
    with RejectsFile(path, None) as rejects:
        await run_import(data, HookedCalls(service), on_rejected=rejects.write)

    written = path.read_text(encoding="utf-8")
    assert written.endswith(
        '"heed_error": "subject.email: has white space (U+0020); leave it out"}\n'
    )
    summary, rejected = await rejected_of(written.replace("a b@", "ab@").encode(), service)
    assert (summary.formats, summary.added, rejected) == ({"": "postmark"}, 1, [])


async def test_each_file_of_an_archive_has_rejects_of_its_own(
    service: FakeService, tmp_path: Path
) -> None:
    data = (CASES / "mailchimp.zip").read_bytes()
    path = tmp_path / "rejected.csv"
    with RejectsFile(path, None) as rejects:
        prepared = prepare(io.BytesIO(data), ImportPlan(options=options()))
        entry = read(data)[0]
        for told in prepared.lists[:2]:
            rejects.write(RejectedEntry(list=told, entry=entry, field_name="", description="no"))
            entry = read(data)[1]
        written = rejects.paths

    assert [one.name for one in written] == [
        "rejected.csv",
        "rejected-unsubscribed_members_export_8f2a1b3c4d.csv",
    ]


def test_an_older_file_of_rejects_is_emptied_and_made_private(tmp_path: Path) -> None:
    path = tmp_path / "rejected.csv"
    path.write_text("older", encoding="utf-8")
    path.chmod(0o644)

    with RejectsFile(path, None):
        pass

    assert (path.read_text(encoding="utf-8"), path.stat().st_mode & 0o777) == ("", 0o600)


def test_rejects_never_overwrite_the_file_to_import(tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    source.write_bytes(BIG)

    with pytest.raises(HeedError, match="is the file to import"):
        RejectsFile(tmp_path / "." / "list.csv", source)

    assert source.read_bytes() == BIG


def test_a_pipe_can_be_read_twice_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with opened_source(None, io.BytesIO(BIG)) as stream:
        first = stream.read()
        stream.seek(0)
        assert (first, stream.read()) == (BIG, BIG)
        assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_changed_while_it_is_read_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(BIG)

    def read_while_it_grows() -> None:
        with opened_source(path, io.BytesIO()) as stream:
            stream.read()
            with path.open("ab") as more:
                more.write(b"late@example.com,BOUNCE\n")

    with pytest.raises(UnusableInputError, match="was changed while it was read"):
        read_while_it_grows()


def test_cancelling_an_import_leaves_no_half_of_a_chunk() -> None:
    service = FakeService()

    async def run() -> None:
        seen = asyncio.Event()

        def note(request: admin.ImportRecordsRequest, is_done: bool) -> None:
            if is_done:
                seen.set()

        importing = asyncio.ensure_future(run_import(BIG, HookedCalls(service, note)))
        await seen.wait()
        importing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await importing

    asyncio.run(run())

    assert len(standing(service)) % CHUNK in {0, ROWS % CHUNK}

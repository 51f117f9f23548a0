"""A backup holds all of a database as it was at one instant, and a restore brings it back, held."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from heed.decide import Facts, decide
from heed.errors import InvalidArgumentError, UnavailableError
from heed.model import Cause, Channel, Query, Verdict
from heed.topics import TopicTable
from heed_server.backup.file import BackupReader, BackupWriter
from heed_server.backup.restoring import FileCopy, restore_backup
from heed_server.backup.taking import Taken, take_backup
from heed_server.storage import copying, placing
from heed_server.storage.copying import NOT_COPIED, copied_tables
from heed_server.storage.restoring import Copy
from heed_server.storage.tables import metadata
from heed_server.store import LogDamagedError
from tests.support.backed_up import LIMITS, NOW, SECURITY, Kept, fill, restore, root_of
from tests.support.stores import (
    Database,
    Shop,
    chooses,
    imports,
    keyed,
    new_database,
    new_shop,
    protection,
)


def test_every_table_is_copied_or_left_out_for_a_reason() -> None:
    assert {table.name for table in copied_tables()} | set(NOT_COPIED) == set(metadata.tables)
    assert all(NOT_COPIED.values())


async def test_all_rows_come_back_into_either_database(kept: Kept, empty: Database) -> None:
    before = {table.name: await kept.database.rows(table.name) for table in copied_tables()}

    back = await restore(kept, empty)

    after = {table.name: await empty.rows(table.name) for table in copied_tables()}
    held = {tenant["tenant_id"] for tenant in before["tenants"]}
    for name, rows in before.items():
        if name == "store":
            assert after[name][0]["create_time"] == rows[0]["create_time"]
            assert after[name][0]["epoch"] == back.restored.begun.epoch != rows[0]["epoch"]
        elif name == "heads":
            assert [row["revision"] for row in after[name]] == [row["revision"] + 1 for row in rows]
        elif name in {"changes", "holds", "keys", "earlier_epochs"}:  # and what the hold added
            assert [row for row in after[name] if row in rows] == rows
            assert len(after[name]) == len(rows) + len(held)
        else:
            assert after[name] == rows
    assert len(before["changes"]) > 50


async def test_a_restored_log_knows_up_to_where_it_has_the_life_before(
    kept: Kept, empty: Database
) -> None:
    epoch = (await kept.shop.store.head(kept.shop.tenant_id)).epoch
    await kept.shop.ask(chooses("lost"))

    await restore(kept, empty)

    store = await empty.open(root_file=root_of(kept))
    (earlier,) = await store.earlier_epochs(kept.shop.tenant_id, 10)
    assert (earlier.epoch, earlier.revision) == (epoch, kept.head.revision)


async def test_no_address_and_no_root_key_is_in_it(kept: Kept) -> None:
    root = root_of(kept).read_bytes()

    for part in BackupReader(kept.taken.path).rows():
        for row in part.rows:
            for value in row:
                text = value if isinstance(value, bytes) else str(value).encode()
                assert b"@example" not in text
                assert root not in text


async def test_rows_of_any_size_are_all_read(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "BATCH_BYTES", 1_000)

    again = await take_backup(kept.database.url, tmp_path / "b.backup", now=NOW(), limits=LIMITS)

    def of(taken: Taken) -> list[tuple[str, int]]:
        return [(table.name, table.rows) for table in taken.manifest.tables]

    assert of(again) == of(kept.taken)


async def test_a_restored_log_goes_on(kept: Kept, empty: Database) -> None:
    await restore(kept, empty)

    store = await empty.open(root_file=root_of(kept))
    shop = Shop(store, kept.shop.tenant_id)
    asked = await shop.ask(chooses("eve"), key="Test:after")
    third = await new_shop(store, "third")

    assert asked.appended.revision == kept.head.revision + 2
    assert third.tenant_id > max(row["tenant_id"] for row in await kept.database.rows("tenants"))


async def test_a_key_of_before_gives_the_answer_of_before(kept: Kept, empty: Database) -> None:
    first = await kept.shop.ask(chooses("zoe"), key="Test:zoe")
    taken = await take_backup(
        kept.database.url, kept.taken.path.with_name("b.backup"), now=NOW(), limits=LIMITS
    )
    await restore(Kept(kept.database, kept.shop, kept.head, taken), empty)

    again = await Shop(await empty.open(root_file=root_of(kept)), kept.shop.tenant_id).ask(
        chooses("zoe"), key="Test:zoe"
    )

    assert again.appended.replayed
    assert again.appended.answer == first.appended.answer


async def test_only_mandatory_messages_pass_before_the_hold_is_lifted(
    kept: Kept, empty: Database
) -> None:
    await restore(kept, empty)

    store = await empty.open(root_file=root_of(kept))
    for tenant in await store.tenants():
        standing = await store.standing(tenant.tenant_id, [keyed("nobody").key])
        holds = tuple(one.hold for one in standing.holds)
        held = next(hold for hold in holds if hold.spares_mandatory)
        facts = Facts(records=((),), holds=(held,), topics=TopicTable((SECURITY,)))
        verdicts = {
            (channel, topic): decide(facts, Query(channel=channel, topic=topic), NOW()).verdict
            for channel in (Channel.EMAIL, Channel.SMS, Channel.PROCESSING)
            for topic in ("", "news", "security")
        }
        allowed = {what for what, verdict in verdicts.items() if verdict is Verdict.ALLOWED}
        assert allowed == {(Channel.EMAIL, "security")}


async def test_what_is_written_meanwhile_is_wholly_in_it_or_not_at_all(
    database: Database, tmp_path: Path
) -> None:
    shop = await new_shop(await database.open())
    await shop.ask(imports(*(protection(f"p{number}", Cause.NONE) for number in range(9_000))))
    is_over = asyncio.Event()

    async def write() -> int:
        count = 0
        while not is_over.is_set():
            await shop.ask(chooses(f"w{count}", f"x{count}"))
            count += 1
        return count

    writing = asyncio.create_task(write())
    for number in range(3):
        path = tmp_path / f"{number}.backup"
        await take_backup(database.url, path, now=NOW(), limits=LIMITS)
        to = f"sqlite:///{tmp_path / f'{number}.db'}"
        reader = BackupReader(path)
        await restore_backup(to, reader, erased=(), sets_aside=False, now=NOW(), limits=LIMITS)
    is_over.set()

    assert await writing > 10


async def test_a_database_that_is_not_empty_is_not_restored_into(kept: Kept) -> None:
    with pytest.raises(InvalidArgumentError, match=r"empty|--set-aside"):
        await restore(kept, kept.database)

    if kept.database.kind == "sqlite":  # and none that a server has open
        with pytest.raises(UnavailableError, match="another process has"):
            await restore(kept, kept.database, sets_aside=True)
    assert await kept.shop.store.head(kept.shop.tenant_id) == kept.head


class Tampered(FileCopy):
    """A copy whose file is whole, and whose rows are not what was written."""

    def __init__(self, reader: BackupReader, table: str, column: str, value: object) -> None:
        super().__init__(reader)
        self._change = (table, column, value)

    def parts(self):  # type: ignore[no-untyped-def] # as FileCopy's
        table, column, value = self._change
        for part in super().parts():
            if part.table == table:
                place = part.columns.index(column)
                if value is None:
                    del part.rows[len(part.rows) // 2]
                else:
                    part.rows[-1][place] = value
            yield part


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("changes", "content", b'{"v":1,"kind":"choice"}'),
        ("changes", "subject", bytes(16)),
        ("changes", "salt", bytes(16)),
        ("changes", "entry", bytes(90)),
        ("changes", "commit_time", 1),
        ("changes", "kind", 3),
        ("changes", "revision", 7),
        ("changes", "revision", None),
        ("heads", "revision", 2),
        ("heads", "running_hash", b"1" * 32),
    ],
)
async def test_a_log_that_was_tampered_with_is_not_restored(
    kept: Kept, tmp_path: Path, table: str, column: str, value: object
) -> None:
    from heed_server.storage.ways_back import restore_store

    copy: Copy = Tampered(BackupReader(kept.taken.path), table, column, value)
    to = tmp_path / "to" / "heed.db"

    with pytest.raises(LogDamagedError):
        await restore_store(
            f"sqlite:///{to}", copy, reason="a test", erased=(), time_name="t", sets_aside=False
        )

    assert not to.exists()
    assert not placing.draft_of(to).exists()


async def test_a_backup_of_a_later_schema_is_refused(kept: Kept, tmp_path: Path) -> None:
    reader = BackupReader(kept.taken.path)
    writer = BackupWriter(tmp_path / "later.backup")
    import msgspec

    writer.finish(msgspec.structs.replace(reader.manifest, schema_version=9_999))

    with pytest.raises(UnavailableError, match="later heed"):
        await restore_backup(
            f"sqlite:///{tmp_path / 'to.db'}",
            BackupReader(tmp_path / "later.backup"),
            erased=(),
            sets_aside=False,
            now=NOW(),
            limits=LIMITS,
        )


class TestInPlaceOfADatabase:
    """On SQLite what stands there is set aside, whole, and at every crash one of them is whole."""

    @pytest.fixture
    async def kept(self, tmp_path: Path) -> AsyncIterator[Kept]:
        async with AsyncExitStack() as exits:
            database = await exits.enter_async_context(new_database("sqlite", tmp_path, None))
            shop = await fill(await database.open())
            path = tmp_path / "a.backup"
            taken = await take_backup(database.url, path, now=NOW(), limits=LIMITS)
            await shop.ask(chooses("late"))
            head = await shop.store.head(shop.tenant_id)
            await shop.store.close()
            yield Kept(database, shop, head, taken)

    async def test_it_is_kept_and_can_be_opened(self, kept: Kept, tmp_path: Path) -> None:
        back = await restore(kept, kept.database, sets_aside=True)

        assert back.set_aside is not None
        aside = Database(f"sqlite:///{back.set_aside}", "sqlite", tmp_path)
        assert (
            await (await aside.open(root_file=root_of(kept))).head(kept.shop.tenant_id)
        ) == kept.head
        await aside.close()
        restored = await kept.database.open()
        assert (await restored.head(kept.shop.tenant_id)).revision == kept.head.revision

    @pytest.mark.parametrize("renames", range(5))
    async def test_a_crash_at_any_rename_is_finished_by_the_next_run(
        self, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
    ) -> None:
        from heed_server.storage.ways_back import finish_restore

        database = tmp_path / "heed.db"
        left = database.with_name("heed.db-wal")
        left.write_bytes(b"")  # as a server that was killed leaves one
        done = 0
        rename = Path.rename

        def crash(self: Path, target: Path) -> Path:
            nonlocal done
            if done == renames:
                raise KeyboardInterrupt
            done += 1
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", crash)
        is_crash = True
        try:
            await restore(kept, kept.database, sets_aside=True)
            is_crash = False
        except KeyboardInterrupt:
            pass
        monkeypatch.undo()

        if is_crash and renames:
            with pytest.raises(UnavailableError, match="broken off"):
                await kept.database.open()
            assert await finish_restore(kept.database.url) is not None
        store = await kept.database.open()

        revision = (await store.head(kept.shop.tenant_id)).revision
        holds = (await store.standing(kept.shop.tenant_id, [])).holds
        assert any(one.hold.spares_mandatory for one in holds) == (not is_crash or renames > 0)
        assert revision == kept.head.revision

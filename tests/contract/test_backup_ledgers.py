"""What was erased, or revoked, after a backup is so again after its restore, by the ledgers."""

from pathlib import Path

import pytest

from heed.errors import InvalidArgumentError, UnavailableError
from heed.model import ChangeKind, Instant, RecordKind, TenantId
from heed_server.backup.restoring import erased_in, revoked_in
from heed_server.erasures import Erased, ledger_path
from heed_server.key_store import ApiKey
from heed_server.revocations import (
    Revoked,
    add_revocations,
    lines_of_revoked,
    revocations_path,
    revoked_of,
)
from heed_server.storage import SystemClock
from tests.support.backed_up import NOW, Kept, fill, keep, restore, root_of
from tests.support.stores import (
    Database,
    Shop,
    chooses,
    erases,
    keyed,
    new_database,
    opt_in,
    origin,
)


class TestRevocations:
    """Keys revoked after a backup are revoked again by its restore, by what the ledger says."""

    async def test_a_revoked_key_does_not_come_back(
        self, database: Database, empty: Database, tmp_path: Path
    ) -> None:
        shop = await fill(await database.open())
        before, stolen, kept_key = (api_key(name) for name in ("before", "stolen", "kept"))
        for key in (before, stolen, kept_key):
            await shop.store.put_api_key(key)
        await shop.store.revoke_api_key("before", Instant(NOW() + 1))
        kept = await keep(database, shop, tmp_path / "c.backup")
        await shop.store.revoke_api_key("stolen", Instant(NOW() + 2))
        revoked = revoked_of(await shop.store.api_keys())
        elsewhere = Revoked("of-another-database", NOW())

        back = await restore(kept, empty, revoked=[*revoked, elsewhere])

        assert back.restored.revoked_again == 1
        store = await empty.open(root_file=root_of(kept))
        assert revoked_of(await store.api_keys()) == revoked
        assert {one.key_id for one in revoked} == {"before", "stolen"}

    async def test_on_sqlite_the_ledger_is_beside_the_database_and_goes_on(
        self, tmp_path: Path
    ) -> None:
        async with new_database("sqlite", tmp_path, None) as database:
            store = await database.open()
            for name in ("first", "second"):
                await store.put_api_key(api_key(name))
                await store.revoke_api_key(name, NOW())
            await store.revoke_api_key("first", NOW())

            found = revoked_in(revocations_path(tmp_path / "heed.db"))

        assert [one.key_id for one in found] == ["first", "second"]

    async def test_a_key_is_revoked_though_the_ledger_cannot_be_written(
        self, tmp_path: Path
    ) -> None:
        async with new_database("sqlite", tmp_path, None) as database:
            store = await database.open()
            await store.put_api_key(api_key("stolen"))
            revocations_path(tmp_path / "heed.db").mkdir()

            with pytest.raises(UnavailableError, match="is revoked, but not in the ledger"):
                await store.revoke_api_key("stolen", NOW())

            assert [one.key_id for one in revoked_of(await store.api_keys())] == ["stolen"]

    @pytest.mark.parametrize("line", [b"nonsense\n", b'{"v":2,"key_id":"k","us":1}\n'])
    def test_a_line_that_is_none_is_refused_and_one_that_was_cut_is_none(
        self, line: bytes, tmp_path: Path
    ) -> None:
        ledger = tmp_path / "l.jsonl"
        good = lines_of_revoked([Revoked("k", Instant(1))])
        ledger.write_bytes(good + good[:-5])
        assert revoked_in(ledger) == [Revoked("k", Instant(1))]
        for _ in range(2):
            add_revocations(ledger, [Revoked("k2", Instant(2))])
        assert revoked_in(ledger) == [Revoked("k", Instant(1)), Revoked("k2", Instant(2))]

        ledger.write_bytes(good + line)

        with pytest.raises(InvalidArgumentError, match="--revocations"):
            revoked_in(ledger)


def api_key(key_id: str) -> ApiKey:
    return ApiKey(
        key_id=key_id,
        secret_hash=bytes(32),
        name=key_id,
        rights=frozenset({"check"}),
        tenant="",
        create_time=NOW(),
        expire_time=None,
        revoke_time=None,
    )


class TestErasures:
    """Who was erased after a backup is erased again by its restore, by what the ledger says."""

    async def test_an_erased_person_does_not_come_back(self, kept: Kept, empty: Database) -> None:
        await kept.shop.ask(erases("ada", "bob"))
        erased = await kept.shop.store.erasures()

        back = await restore(kept, empty, erased=erased)

        assert back.restored.erased_again == 2
        keys = {keyed(name).key for name in ("ada", "bob")}
        rows = [row for row in await empty.rows("changes") if row["subject"] in keys]
        assert {bytes(row["salt"]) for row in rows if row["kind"] != ChangeKind.ERASURE} == {b""}
        assert not any(b"consent" in bytes(row["content"]) for row in rows)  # bob's evidence
        addresses = await empty.rows("encrypted_addresses")
        assert {bytes(row["ciphertext"]) for row in addresses if row["subject"] in keys} == {b""}
        store = await empty.open(root_file=root_of(kept))
        standing = (await store.standing(kept.shop.tenant_id, [keyed("ada").key])).records
        assert [one.record.kind for one in standing] == [RecordKind.OPT_OUT]
        assert (await store.standing(kept.shop.tenant_id, [keyed("bob").key])).records == ()

    async def test_who_was_erased_before_the_backup_is_left_as_they_stand(
        self, database: Database, empty: Database, tmp_path: Path
    ) -> None:
        """Also when they have opted in since: that consent is new, and theirs."""
        shop = await fill(await database.open())
        await shop.ask(erases("bob"))
        by = origin(decided=SystemClock().now() - 1)
        await shop.ask(chooses("bob", choices=(opt_in(),), by=by))
        kept = await keep(database, shop, tmp_path / "b.backup")

        back = await restore(kept, empty, erased=await shop.store.erasures())

        assert back.restored.erased_again == 0
        store = await empty.open(root_file=root_of(kept))
        (standing,) = (await store.standing(shop.tenant_id, [keyed("bob").key])).records
        assert standing.record.kind is RecordKind.OPT_IN

    async def test_a_tenant_that_nobody_here_knows_is_passed_over(
        self, kept: Kept, empty: Database
    ) -> None:
        elsewhere = Erased(TenantId(99), keyed("ada").key, NOW())

        back = await restore(kept, empty, erased=[elsewhere])

        head = await (await empty.open(root_file=root_of(kept))).head(kept.shop.tenant_id)
        assert head.revision == kept.head.revision + 1  # the hold alone
        assert back.restored.erased_again == 0

    @pytest.mark.parametrize("name", ["stranger", "bob"])
    async def test_an_opt_in_of_before_the_erasure_does_nothing_when_it_comes_after(
        self, database: Database, empty: Database, tmp_path: Path, name: str
    ) -> None:
        """Also where the backup knows nothing of them, or of an earlier erasure alone."""
        shop = await fill(await database.open())
        await shop.ask(erases("bob"))
        kept = await keep(database, shop, tmp_path / "b.backup")
        late = chooses(name, choices=(opt_in(),), by=origin(decided=SystemClock().now()))
        await shop.ask(chooses(name, choices=(opt_in(),), by=origin(decided=NOW())))
        await shop.ask(erases(name))

        back = await restore(kept, empty, erased=await shop.store.erasures())

        assert back.restored.erased_again == 1
        again = Shop(await empty.open(root_file=root_of(kept)), shop.tenant_id)
        await again.ask(late, key="Test:late")
        assert (await again.store.standing(shop.tenant_id, [keyed(name).key])).records == ()
        new = chooses(name, choices=(opt_in(),), by=origin(decided=SystemClock().now()))
        await again.ask(new, key="Test:new")
        (standing,) = (await again.store.standing(shop.tenant_id, [keyed(name).key])).records
        assert standing.record.kind is RecordKind.OPT_IN

    async def test_on_sqlite_the_ledger_is_kept_beside_what_was_restored(
        self, kept: Kept, tmp_path: Path
    ) -> None:
        erased = [Erased(kept.shop.tenant_id, keyed("ada").key, NOW())]
        to = Database(f"sqlite:///{tmp_path / 'there' / 'heed.db'}", "sqlite", tmp_path / "there")

        await restore(kept, to, erased=erased)
        await restore(kept, to, erased=erased, sets_aside=True)

        assert erased_in(ledger_path(to.folder / "heed.db")) == erased

    async def test_nothing_of_them_is_in_the_file(self, kept: Kept, tmp_path: Path) -> None:
        """The control: without the ledger it is."""
        erased = [Erased(kept.shop.tenant_id, keyed("bob").key, NOW())]
        found = []
        for number, ledger in enumerate(([], erased)):
            file = tmp_path / f"to-{number}" / "heed.db"
            await restore(kept, Database(f"sqlite:///{file}", "sqlite", file.parent), erased=ledger)
            found.append(b"ticked the box" in file.read_bytes())

        assert found == [True, False]

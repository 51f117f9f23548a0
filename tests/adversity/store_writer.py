"""Writes to a store as hard as it can until its time is over or it is killed.

    store_writer URL TENANT NAME SECONDS WRITERS MUTANT < keys to try again, one a line

Says on stdout, one line each: `start KEY CHANGES`, then `ok KEY ANSWER`, `no KEY` or `unknown KEY`.
A MUTANT breaks the store on purpose, so that the test of the test can see it fail.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection

from heed.acts import Act, AddProtections, Outcome, PersonChoices, PlaceHold, SetPreferences
from heed.errors import HeedError, OutcomeUnknownError
from heed.model import Cause, Channel, Hold, Instant, Method, Origin, Scope, TenantId
from heed_server.storage import StorageLimits, open_store, sqlite, writer
from heed_server.storage.group import append_group
from heed_server.storage.schema import keys
from heed_server.storage.sqlite_dialect import SqliteDialect, driver_of
from heed_server.storage.statements import Batch
from heed_server.writes import Write
from tests.support.roots import root_file_for
from tests.support.stores import NOW, keyed, opt_in, opt_out, protection

T = TypeVar("T")

DAWDLE = (
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 200000) "
    "SELECT count(*) FROM c"
)
"""Takes SQLite some milliseconds, in which a kill may come."""

SUBJECTS = 40
"""Few enough that writes meet."""


def act_of(key: str) -> tuple[Act, int]:
    """The act of a key, always the same, and how many changes it makes."""
    chance = random.Random(key)
    names = [f"p{chance.randrange(SUBJECTS)}" for _ in range(chance.randrange(1, 4))]
    decided = Instant(NOW - 500_000_000_000_000 + chance.randrange(1_000))
    by = Origin(source="stress", method=Method.API, reference=key, decided_time=decided)
    scope = Scope(channel=Channel.EMAIL, topic=chance.choice(["", "news", "news.weekly"]))
    kind = chance.random()
    if kind < 0.1:
        refused = Origin(
            source="stress", method=Method.OPERATOR, reference=key, decided_time=decided
        )
        person = PersonChoices(
            subjects=(keyed("p0"),), choices=(opt_out(scope), opt_in(scope)), origin=refused
        )
        return SetPreferences(people=(person,)), 2
    if kind < 0.2:
        hold = Hold(hold_id=key, reason="stress", end_time=Instant(NOW * 2))
        return PlaceHold(hold=hold, origin=by), 1
    if kind < 0.5:
        rows = tuple(
            protection(name, chance.choice([Cause.BOUNCE, Cause.NONE]), scope=scope)
            for name in names
        )
        return AddProtections(protections=rows, origin=by), len(rows)
    choice = chance.choice([opt_out(scope), opt_in(scope)])
    subjects = tuple(keyed(name) for name in dict.fromkeys(names))
    person = PersonChoices(subjects=subjects, choices=(choice,), origin=by)
    return SetPreferences(people=(person,)), len(subjects)


def encode_answer(outcome: Outcome) -> bytes:
    return json.dumps([outcome.revision, outcome.running_hash.hex()[:16]]).encode()


def say(*words: object) -> None:
    # One write a line: a kill never leaves half of one.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def main() -> None:
    url, tenant, name, seconds, writers, mutant = sys.argv[1:]
    again = [line.strip() for line in sys.stdin if line.strip()]
    chance = random.Random(name)
    if mutant != "none":
        MUTANTS[mutant]()
    limits = StorageLimits(retry_seconds_max=10, keys_kept_days=35)
    store = await open_store(url, limits=limits, root_file=root_file_for(url))
    loop = asyncio.get_running_loop()
    ends = loop.time() + float(seconds)
    numbers = iter(range(10**9))

    async def ask(key: str) -> None:
        act, changes = act_of(key)
        say("start", key, changes)
        write = Write(
            tenant_id=TenantId(int(tenant)),
            idempotency_key=key,
            payload_hash=bytes(32),
            act=act,
            encode_answer=encode_answer,
        )
        patience = chance.choice([None, None, 0.0, 0.002, 0.01, 0.05])
        try:
            async with asyncio.timeout(patience):
                appended = await store.append(write)
        except (TimeoutError, OutcomeUnknownError, asyncio.CancelledError):
            say("unknown", key)
        except HeedError:
            say("no", key)
        else:
            say("ok", key, appended.answer.decode().replace(" ", ""))

    async def work() -> None:
        mine: list[str] = []
        while loop.time() < ends:
            key = again.pop() if again else f"{name}:{next(numbers)}"
            if mine and chance.random() < 0.2:
                key = chance.choice(mine)
            mine = [*mine[-10:], key]
            asking = asyncio.create_task(ask(key))
            if chance.random() < 0.1:
                await asyncio.sleep(chance.random() * 0.01)
                asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    await asyncio.gather(*(work() for _ in range(int(writers))))
    await store.close()


def acknowledge_before_commit() -> None:
    """The answer is given when all is inserted; the commit follows a little later."""

    async def write(
        self: sqlite.SqliteBackend,
        body: Callable[[Connection], T],
        *,
        must_commit: Callable[[T], bool],
    ) -> T:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[T] = loop.create_future()

        def transaction(connection: Connection) -> None:
            driver = driver_of(connection)
            driver.run("BEGIN IMMEDIATE")
            loop.call_soon_threadsafe(answered.set_result, body(connection))
            driver.fetch(DAWDLE, ())
            driver.run("COMMIT")

        self._writer.start(transaction)
        return await answered

    sqlite.SqliteBackend.write = write  # type: ignore[method-assign] # broken on purpose


def key_in_a_second_transaction() -> None:
    """Changes are committed first, and the keys that make them happen once a little later."""
    kept: list[Batch] = []
    insert_all = SqliteDialect.insert_all
    original = append_group

    def insert_without_keys(
        self: SqliteDialect, connection: Connection, batches: Sequence[Batch]
    ) -> None:
        kept.extend(batch for batch in batches if batch.table is keys)
        insert_all(self, connection, [batch for batch in batches if batch.table is not keys])

    def append_group_without_keys(
        connection: Connection, statements: Any, writes: Any, rules: Any
    ) -> Any:
        answered = original(connection, statements, writes, rules)
        if kept:
            driver = driver_of(connection)
            driver.run("COMMIT")
            driver.fetch(DAWDLE, ())
            driver.run("BEGIN IMMEDIATE")
            insert_all(statements.dialect, connection, kept)
            kept.clear()
        return answered

    setattr(SqliteDialect, "insert_all", insert_without_keys)  # noqa: B010 - broken on purpose
    setattr(writer, "append_group", append_group_without_keys)  # noqa: B010 - the same


MUTANTS: dict[str, Callable[[], None]] = {
    "acknowledge_before_commit": acknowledge_before_commit,
    "key_in_a_second_transaction": key_in_a_second_transaction,
}


if __name__ == "__main__":
    asyncio.run(main())

"""Many writers, random deadlines and cancellations, and processes that are killed: what was
acknowledged is there exactly once, what was not is there at most once."""

import asyncio
import random
import sys
from pathlib import Path

import pytest

from tests.support.history import Call, Dump, violations
from tests.support.postgres import Postgres
from tests.support.stores import Database, new_database, new_shop

pytestmark = pytest.mark.slow

WRITERS = 64
ROUND_SECONDS = 1.2
"""How long a process writes before it is killed, on average."""


class Run:
    """Processes that write to one tenant, and everything that they were told."""

    def __init__(self, url: str, tenant_id: int, mutant: str = "none") -> None:
        self.calls: dict[str, Call] = {}
        self.kills = 0
        self._url = url
        self._tenant_id = tenant_id
        self._mutant = mutant
        self._started = 0

    async def write(self, *, writers: int, rounds: int, chance: random.Random) -> None:
        """Let one process after another write; all but the last are killed."""
        again: list[str] = []
        for left in reversed(range(rounds)):
            self._started += 1
            number = self._started
            seconds = 60.0 if left else ROUND_SECONDS
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.adversity.store_writer"),
                *(self._url, str(self._tenant_id), f"w{number}", str(seconds)),
                *(str(writers), self._mutant),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n".join(again).encode())
            process.stdin.close()
            under_way: dict[str, int] = {}
            # Its life is counted from its first write: starting takes longer than that.
            await self._hear(process.stdout, under_way, lines=1)
            hearing = asyncio.create_task(self._hear(process.stdout, under_way))
            if left:
                await asyncio.wait({hearing}, timeout=ROUND_SECONDS * (0.5 + chance.random()))
                process.kill()
                self.kills += 1
            await hearing
            code = await process.wait()
            assert code == (-9 if left else 0)
            for key, attempts in under_way.items():
                self.calls[key].unknowns += attempts
            again = [key for key, call in self.calls.items() if call.unknowns and not call.answers]

    async def _hear(
        self, told: asyncio.StreamReader, under_way: dict[str, int], lines: int | None = None
    ) -> None:
        while lines != 0 and (line := await told.readline()):
            what, key, *rest = line.decode().split()
            lines = None if lines is None else lines - 1
            if what == "start":
                self.calls.setdefault(key, Call(key, int(rest[0])))
                under_way[key] = under_way.get(key, 0) + 1
                continue
            under_way[key] -= 1
            call = self.calls[key]
            match what:
                case "ok":
                    call.answers.add(rest[0])
                case "no":
                    call.refusals += 1
                case _:
                    call.unknowns += 1


async def dump_of(database: Database) -> Dump:
    (head,) = await database.rows("heads")
    keys = [
        {**row, "answer": row["answer"].replace(b" ", b"")} for row in await database.rows("keys")
    ]
    return Dump(
        changes=await database.rows("changes"),
        records=await database.rows("records"),
        keys=keys,
        head=head,
    )


async def tenant_of(database: Database) -> int:
    shop = await new_shop(await database.open())
    await shop.store.close()
    return shop.tenant_id


def require_enough(run: Run, *, kills: int) -> None:
    """A run in which little happened proves little."""
    calls = run.calls.values()
    acknowledged = sum(bool(call.answers) for call in calls)
    assert acknowledged >= 500
    assert run.kills >= kills
    assert sum(call.unknowns > 0 for call in calls) >= 50
    assert sum(call.refusals > 0 for call in calls) >= 10
    # Unknown outcomes were found out both ways.
    assert any(call.unknowns and call.answers for call in calls)


async def test_sqlite_keeps_its_promises_through_kills(tmp_path: Path) -> None:
    async with new_database("sqlite", tmp_path, None) as database:
        run = Run(database.url, await tenant_of(database))

        await run.write(writers=WRITERS, rounds=6, chance=random.Random(1))

        assert violations(list(run.calls.values()), await dump_of(database)) == []
        require_enough(run, kills=5)


@pytest.mark.postgres
async def test_postgres_keeps_its_promises_through_kills_of_several_processes(
    postgres: Postgres, tmp_path: Path
) -> None:
    async with new_database("postgres", tmp_path, postgres) as database:
        run = Run(database.url, await tenant_of(database))

        async with asyncio.TaskGroup() as nodes:
            for node in range(3):
                chance = random.Random(node)
                nodes.create_task(run.write(writers=WRITERS // 3 + 1, rounds=3, chance=chance))

        assert violations(list(run.calls.values()), await dump_of(database)) == []
        require_enough(run, kills=6)


@pytest.mark.parametrize("mutant", ["acknowledge_before_commit", "key_in_a_second_transaction"])
async def test_the_stress_would_notice_a_store_that_breaks_its_promises(
    tmp_path: Path, mutant: str
) -> None:
    """The controls: each breaks one promise, and must be caught."""
    async with new_database("sqlite", tmp_path, None) as database:
        run = Run(database.url, await tenant_of(database), mutant)

        await run.write(writers=WRITERS, rounds=5, chance=random.Random(2))

        assert violations(list(run.calls.values()), await dump_of(database)) != []

"""Stores to test against: SQLite files and PostgreSQL databases, and the acts that are put to them.

A `Database` is one empty database of a kind; tests open as many stores on it as they need, one
after another or (PostgreSQL) at once, and read every row of every table past the store.
"""

import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Select, create_engine, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from heed.acts import (
    Act,
    AddProtections,
    DeclareTopic,
    EraseSubjects,
    KeyedSubject,
    LiftHold,
    Outcome,
    PersonChoices,
    PlaceHold,
    Protection,
    ReleaseSuppression,
    RetireTopic,
    SetPreferences,
)
from heed.model import (
    Cause,
    Channel,
    Choice,
    ChoiceKind,
    Evidence,
    Hold,
    Instant,
    Method,
    Origin,
    Reach,
    Scope,
    Subject,
    SubjectKey,
    SubjectType,
    TenantId,
    Topic,
)
from heed_server.storage import (
    SqlStore,
    StorageLimits,
    SystemClock,
    apsw_driver,
    migrate,
    open_store,
)
from heed_server.storage.tables import metadata
from heed_server.writes import Appended, Write
from tests.support.postgres import Postgres
from tests.support.roots import root_file_for

LOOKUP_KEY = bytes(range(32))
EMAIL_NEWS = Scope(channel=Channel.EMAIL, topic="news")
ANYTHING = Scope(channel=Channel.ANY)
EVIDENCE = Evidence(notice="consent", notice_version="3", act="ticked the box", language="de-AT")

NOW = Instant(1_800_000_000_000_000)
"""Where a clock that stands still begins."""
SECOND = 1_000_000
DAY = 86_400 * SECOND

# A server that the environment names is shared by the workers of a run.
_TEMPLATE = f"heed_template_{os.getpid()}"
_SYSTEM = SystemClock()


class FakeClock:
    """A clock that a test turns. It stands still, or runs with the machine's."""

    def __init__(self, *, runs: bool = False) -> None:
        """A clock that runs is needed beside a database that has a clock of its own."""
        self._runs = runs
        self._wall: int = NOW
        self._boot = 1_000.0

    def now(self) -> Instant:
        return Instant(self._wall + (_SYSTEM.now() - NOW if self._runs else 0))

    def boot(self) -> float:
        return self._boot + (_SYSTEM.boot() if self._runs else 0)

    def ago(self, seconds: float) -> Instant:
        return Instant(self.now() - round(seconds * SECOND))

    def ahead(self, seconds: float) -> Instant:
        return self.ago(-seconds)

    def stand_still(self) -> None:
        """From here on it only moves when it is told to."""
        self._wall, self._boot, self._runs = self.now(), self.boot(), False

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass, on both clocks."""
        self._wall += round(seconds * SECOND)
        self._boot += seconds

    def set_off_by(self, seconds: float) -> None:
        """Turn the wall clock alone."""
        self._wall += round(seconds * SECOND)


@dataclass
class Database:
    """One database, empty but for its schema."""

    url: str
    kind: str
    folder: Path
    _exits: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def is_shared(self) -> bool:
        """Whether several stores may be open on it at once."""
        return self.kind == "postgres"

    async def open(self, **arguments: Any) -> SqlStore:
        """Open a store that is closed when the test ends, unless it was before."""
        root_file = arguments.pop("root_file", root_file_for(self.url))
        store = await open_store(self.url, root_file=root_file, **arguments)
        return await self._exits.enter_async_context(store)

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """Return every row of a table, in the order of its primary key, read past the store."""
        wanted = metadata.tables[table]
        statement = select(wanted).order_by(*wanted.primary_key)
        if self.kind == "sqlite":
            engine = create_engine(self.url, module=apsw_driver, poolclass=NullPool)
            with engine.connect() as connection:
                return [dict(row) for row in connection.execute(statement).mappings()]
        shared = create_async_engine(self.url, poolclass=NullPool)
        async with shared.connect() as connected:
            return [dict(row) for row in (await connected.execute(statement)).mappings()]

    async def execute(self, statement: str) -> None:
        """Change the database past the store, as an accident or an intruder would."""
        if self.kind == "sqlite":
            engine = create_engine(self.url, module=apsw_driver, poolclass=NullPool)
            with engine.connect() as connection:
                connection.exec_driver_sql(statement)
            return
        shared = create_async_engine(self.url, poolclass=NullPool)
        async with shared.begin() as connected:
            await connected.exec_driver_sql(statement)

    async def plan(self, statement: Select[*tuple[Any, ...]]) -> str:
        """Return how SQLite would run a statement, a line for each table."""
        engine = create_engine(self.url, module=apsw_driver, poolclass=NullPool)
        options = {"render_postcompile": True}
        text = str(statement.compile(dialect=engine.dialect, compile_kwargs=options))
        with engine.connect() as connection:
            values = (0,) * text.count("?")
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
        return "\n".join(str(row[3]) for row in rows)

    def blob(self, value: bytes) -> str:
        """Return bytes as this database writes them in a statement."""
        return f"X'{value.hex()}'" if self.kind == "sqlite" else f"'\\x{value.hex()}'::bytea"

    async def close(self) -> None:
        await self._exits.aclose()


@asynccontextmanager
async def new_database(
    kind: str, folder: Path, postgres: Postgres | None, *, is_migrated: bool = True
) -> AsyncGenerator[Database]:
    """Make an empty database of a kind, and drop it when it is done with."""
    if kind == "sqlite":
        path = folder / "heed.db"
        if is_migrated:
            await place_sqlite(path)
        database = Database(f"sqlite:///{path}", kind, folder)
        try:
            yield database
        finally:
            await database.close()
        return
    assert postgres is not None
    name = f"heed_{os.getpid()}_{next(_names)}"
    template = await _template(postgres) if is_migrated else None
    database = Database(postgres.create_database(name, template=template), kind, folder)
    try:
        yield database
    finally:
        await database.close()
        postgres.drop_database(name)


async def _template(postgres: Postgres) -> str:
    """Migrate one database a server, of which the others are copies."""
    if postgres.url not in _templates:
        postgres.drop_database(_TEMPLATE)
        await migrate(postgres.create_database(_TEMPLATE))
        _templates.add(postgres.url)
    return _TEMPLATE


async def place_sqlite(path: Path) -> None:
    """Put an empty database where there is none: a copy of one that this process migrated."""
    if not _migrated_sqlite:
        with tempfile.TemporaryDirectory(prefix="heed-") as folder:
            migrated = Path(folder) / "heed.db"
            await migrate(f"sqlite:///{migrated}")
            _migrated_sqlite.append(migrated.read_bytes())
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(_migrated_sqlite[0])


def drop_template(postgres: Postgres) -> None:
    """Leave nothing behind on a server that goes on running."""
    if postgres.url in _templates:
        postgres.drop_database(_TEMPLATE)
        _templates.discard(postgres.url)


_names: Iterator[int] = itertools.count()
_templates: set[str] = set()
_migrated_sqlite: list[bytes] = []


def keyed(name: str) -> KeyedSubject:
    """A subject `NAME@example.com` with a key made from its name."""
    key = SubjectKey(hashlib.blake2b(name.encode(), key=LOOKUP_KEY, digest_size=16).digest())
    return KeyedSubject(
        key=key, subject=Subject(type=SubjectType.EMAIL, value=f"{name}@example.com")
    )


def origin(
    method: Method = Method.WEB_FORM, *, decided: int | None = None, source: str = "page"
) -> Origin:
    return Origin(
        source=source,
        method=method,
        actor="person",
        decided_time=None if decided is None else Instant(decided),
    )


def opt_out(scope: Scope = EMAIL_NEWS, reach: Reach = Reach.PROMOTIONAL) -> Choice:
    return Choice(kind=ChoiceKind.OPT_OUT, scope=scope, reach=reach)


def opt_in(scope: Scope = EMAIL_NEWS, *, end: int | None = None) -> Choice:
    return Choice(
        kind=ChoiceKind.OPT_IN,
        scope=scope,
        end_time=None if end is None else Instant(end),
        evidence=EVIDENCE,
    )


def pause(end: int, scope: Scope = EMAIL_NEWS, reach: Reach = Reach.PROMOTIONAL) -> Choice:
    return Choice(kind=ChoiceKind.PAUSE, scope=scope, reach=reach, end_time=Instant(end))


def end_pause(scope: Scope = EMAIL_NEWS) -> Choice:
    return Choice(kind=ChoiceKind.END_PAUSE, scope=scope)


def chooses(
    *names: str,
    choices: Sequence[Choice] = (opt_out(),),
    by: Origin | None = None,
) -> SetPreferences:
    """One person, known by several names, chooses."""
    person = PersonChoices(
        subjects=tuple(keyed(name) for name in names),
        choices=tuple(choices),
        origin=by or origin(),
    )
    return SetPreferences(people=(person,))


def protection(
    name: str,
    cause: Cause = Cause.BOUNCE,
    *,
    scope: Scope | None = None,
    reach: Reach | None = None,
    decided: int | None = None,
    end: int | None = None,
    reason: str = "",
    row: int = 0,
) -> Protection:
    return Protection(
        subject=keyed(name),
        cause=cause,
        reach=reach or (Reach.PROMOTIONAL if cause is Cause.NONE else Reach.ALL),
        scope=scope or Scope(channel=Channel.EMAIL),
        decided_time=None if decided is None else Instant(decided),
        end_time=None if end is None else Instant(end),
        reason=reason,
        row=row,
    )


def adds(*protections: Protection) -> AddProtections:
    return AddProtections(protections=protections, origin=origin(Method.API))


def imports(*protections: Protection, batch: str = "list-1") -> AddProtections:
    return AddProtections(
        protections=protections,
        origin=origin(Method.IMPORT),
        batch_id=batch,
        skips_unchanged=True,
    )


def releases(
    name: str,
    cause: Cause = Cause.BOUNCE,
    scopes: Sequence[Scope] = (Scope(channel=Channel.EMAIL),),
) -> ReleaseSuppression:
    return ReleaseSuppression(
        subject=keyed(name),
        cause=cause,
        scopes=tuple(scopes),
        reason="mailbox is back",
        origin=origin(Method.OPERATOR),
    )


def erases(*names: str) -> EraseSubjects:
    return EraseSubjects(
        keys=tuple(keyed(name).key for name in names),
        origin=origin(Method.OPERATOR),
        reason="asked by mail",
    )


def declares(topic: Topic, *, loosens: bool = False) -> DeclareTopic:
    return DeclareTopic(
        topic=topic,
        origin=origin(Method.OPERATOR),
        loosens=loosens,
        reason="asked by legal" if loosens else "",
    )


def retires(name: str) -> RetireTopic:
    return RetireTopic(name=name, reason="no longer sent", origin=origin(Method.OPERATOR))


def places(hold_id: str, *, end: int | None = None, topic: str = "") -> PlaceHold:
    hold = Hold(
        hold_id=hold_id,
        topic=topic,
        channel=Channel.EMAIL,
        campaign="spring",
        reason="leak",
        end_time=None if end is None else Instant(end),
    )
    return PlaceHold(hold=hold, origin=origin(Method.OPERATOR))


def lifts(hold_id: str) -> LiftHold:
    return LiftHold(hold_id=hold_id, reason="fixed", origin=origin(Method.OPERATOR))


@dataclass
class Asked:
    """What became of one write: the answer that the store gave, and the outcome it was made of."""

    appended: Appended
    outcomes: list[Outcome]

    @property
    def outcome(self) -> Outcome:
        """The outcome of the one time that the write was judged."""
        (outcome,) = self.outcomes
        return outcome


@dataclass
class Shop:
    """A tenant of an open store, with keys that are made as they are needed."""

    store: SqlStore
    tenant_id: TenantId
    _keys: Iterator[int] = field(default_factory=itertools.count)

    async def ask(
        self,
        act: Act,
        *,
        key: str | None = None,
        payload: str | None = None,
        dry_run: bool = False,
    ) -> Asked:
        """Append an act; without a key, under one of its own."""
        write, outcomes = self.write(act, key=key, payload=payload)
        write = replace(write, dry_run=dry_run)
        return Asked(await self.store.append(write), outcomes)

    def write(
        self, act: Act, *, key: str | None = None, payload: str | None = None
    ) -> tuple[Write, list[Outcome]]:
        """A write of an act, and where its outcomes will be."""
        outcomes: list[Outcome] = []

        def encode_answer(outcome: Outcome) -> bytes:
            outcomes.append(outcome)
            return json.dumps(
                {"revision": outcome.revision, "hash": outcome.running_hash.hex()}
            ).encode()

        write = Write(
            tenant_id=self.tenant_id,
            idempotency_key=key or f"Test:own-{next(self._keys)}",
            payload_hash=hashlib.sha256((payload or repr(act)).encode()).digest(),
            act=act,
            encode_answer=encode_answer,
        )
        return write, outcomes


async def new_shop(store: SqlStore, name: str = "shop") -> Shop:
    """Make a tenant."""
    tenant = await store.create_tenant(name, LOOKUP_KEY)
    return Shop(store, tenant.tenant_id)


SMALL_LIMITS = StorageLimits(retry_seconds_max=2.0, close_seconds_max=5.0)

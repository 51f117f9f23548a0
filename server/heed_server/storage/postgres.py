"""PostgreSQL: its connections, and when a commit of theirs counts.

Laws:
- One connection of a node writes; it has no timeout that could reach a COMMIT, and cancelling a
  caller never reaches it: an asyncpg query that is cancelled cancels the server's, and a commit
  that waits for a standby would then show what is not replicated (reference: faults, decision 4).
- Any notice during a COMMIT makes its outcome unknown: "canceling wait for synchronous replication"
  comes with an answer that says COMMIT.
- A server with fsync off is refused, and a session whose commits would not wait is made to wait.
- Reads are REPEATABLE READ and read-only: a view is of one revision.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, PoolProxiedConnection

from heed.errors import ErrorReason, HeedError, UnavailableError
from heed_server.erasures import Erased
from heed_server.revocations import Revoked
from heed_server.storage.backend import StorageLimits, Turns
from heed_server.storage.errors import CommitLostError, NotWrittenError, store_unavailable
from heed_server.storage.postgres_dialect import postgres_dialect

T = TypeVar("T")

MIGRATION_LOCK: Final = 0x68656564
"""The advisory lock that one migration at a time holds: `heed` in ASCII."""

_UNREACHABLE = (AsyncAdapt_asyncpg_dbapi.Error, DBAPIError, OSError, TimeoutError)
"""What a statement raises, by the driver's own way or by SQLAlchemy's, and connecting."""
_TRY_AGAIN: Final = frozenset(
    {
        "0A000",  # a kept plan no longer fits: a migration ran
        "40001",  # serialization failure
        "40P01",  # deadlock
        "55P03",  # the lock of a head was not had in time
        "25006",  # read-only: the primary is another one now
        "25P03",  # idle in a transaction for too long: this process was stopped for a while
        "53300",  # too many connections
        "57014",  # an operator cancelled the statement
        "57P01",  # shutdown
        "57P02",  # crash
        "57P03",  # starting up
    }
)
_IDLE_SECONDS_MAX: Final = 30
"""After how long in an open transaction the server ends a writer that says nothing."""
_CLOSE_SECONDS_MAX: Final = 1.0
"""How long closing still waits for a transaction, for which the writer has waited before, and for
connections to say farewell."""
_KEEPALIVE_SECONDS: Final = 5
_KEEPALIVE_PROBES: Final = 3


class PostgresBackend:
    """One database, a connection that writes and a pool that reads."""

    def __init__(self, url: URL, limits: StorageLimits) -> None:
        """Nothing is connected yet: `open` is, and tells what is wrong."""
        self.dialect = postgres_dialect()
        self._limits = limits
        self._turns = Turns(limits)
        self._writing = _writing_engine(url, limits)
        self._pool = _reading_engine(url, limits)
        # One transaction at a time has the writing connection.
        self._lock = asyncio.Lock()
        self._writer: AsyncConnection | None = None
        self._driver: Any = None
        self._notices: list[str] = []
        self._transactions: set[asyncio.Task[Any]] = set()

    async def open(self, prepare: Callable[[Connection], None]) -> None:
        """Connect, check that the server is durable, and prepare what must be there.

        Raises:
            UnavailableError: the server cannot be reached, or does not keep what it commits.
        """
        try:
            await self.write(prepare, must_commit=lambda _: True)
        except (NotWrittenError, CommitLostError) as error:
            await self.close()
            raise store_unavailable(str(error)) from error
        except BaseException:
            await self.close()
            raise

    async def write(
        self, body: Callable[[Connection], T], *, must_commit: Callable[[T], bool]
    ) -> T:
        """Run a body in a transaction of the writing connection (see `Backend.write`)."""
        # A task of its own, so that cancelling the caller does not reach the commit.
        transaction = asyncio.create_task(self._write(body, must_commit))
        self._transactions.add(transaction)
        transaction.add_done_callback(self._forget)
        return await asyncio.shield(transaction)

    async def run_alone(self, body: Callable[[Connection], T]) -> T:
        """Run a body in a transaction of a connection of its own: a migration, a restore.

        One at a time of them, of all processes; the backend need not be open.

        Raises:
            UnavailableError: the server cannot be reached.
        """
        try:
            async with self._writing.begin() as connection:
                await connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
                return await connection.run_sync(body)
        except _UNREACHABLE as error:
            raise store_unavailable(_text(error)) from error

    @asynccontextmanager
    async def reading(self, *, is_stream: bool = False) -> AsyncGenerator["_Reading"]:
        """Open a view of the database as it is now."""
        async with self._turns.take(is_stream=is_stream):
            try:
                connection = await self._pool.connect()
            except _UNREACHABLE as error:
                raise store_unavailable(_text(error)) from error
            reading = _Reading(self._pool, connection)
            try:
                yield reading
            finally:
                await asyncio.shield(reading.end())

    async def note_erased(self, erased: Sequence[Erased]) -> None:
        """Do nothing: nodes share the database, and `heed-server erasures export` has them all."""

    async def note_revoked(self, revoked: Sequence[Revoked]) -> None:
        """Do nothing: `heed-server keys revocations` has them all."""

    async def overwrite_erased(self, seconds_max: float) -> bool:  # noqa: ARG002 - SQLite's
        """Return False: the server's own vacuum, and its recycling of the WAL, overwrite it."""
        return False

    async def scrub(self) -> None:
        """Do nothing: what was deleted is the server's to vacuum."""

    async def close(self) -> None:
        """Close every connection, after the transactions under way."""
        if self._transactions:
            await asyncio.wait(self._transactions, timeout=_CLOSE_SECONDS_MAX)
        if self._transactions and self._driver is not None:
            # A commit that still waits: its outcome stays unknown here, and its key tells.
            self._driver.terminate()
            await asyncio.wait(self._transactions)
        await self._drop_writer()
        # One whose server says nothing any more is left to the end of the process.
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS_MAX):
                await self._pool.dispose()
        await self._writing.dispose()

    def _forget(self, transaction: "asyncio.Task[Any]") -> None:
        self._transactions.discard(transaction)
        if not transaction.cancelled():
            # A caller that was cancelled does not ask for it; nothing of it is lost on others.
            transaction.exception()

    async def _write(self, body: Callable[[Connection], T], must_commit: Callable[[T], bool]) -> T:
        async with self._lock:
            connection = await self._connected()
            try:
                result = await connection.run_sync(body)
                if not must_commit(result):
                    await connection.run_sync(_roll_back)
                    return result
            except _UNREACHABLE as error:
                # Nothing was asked to commit: whatever became of the connection, it did not.
                again = _is_passing(error, self._driver)
                await self._drop_writer()
                raise NotWrittenError(_text(error), again=again) from error
            except BaseException:
                await self._drop_writer()
                raise
            await self._commit(connection)
            return result

    async def _commit(self, connection: AsyncConnection) -> None:
        self._notices.clear()
        try:
            await connection.run_sync(_commit)
        except BaseException as error:
            await self._drop_writer()
            if isinstance(error, _UNREACHABLE):
                raise CommitLostError(_text(error)) from error
            raise
        if self._notices:
            await self._drop_writer()
            raise CommitLostError(f"the commit came with a notice: {'; '.join(self._notices)}")

    async def _connected(self) -> AsyncConnection:
        if self._writer is None:
            try:
                connection = await self._writing.connect()
            except _UNREACHABLE as error:
                raise NotWrittenError(_text(error), again=_is_passing(error, None)) from error
            try:
                await self._prepare(connection)
            except _UNREACHABLE as error:
                again = _is_passing(error, self._driver)
                await connection.invalidate()
                raise NotWrittenError(_text(error), again=again) from error
            except BaseException:
                await connection.close()
                raise
            self._writer = connection
        return self._writer

    async def _prepare(self, connection: AsyncConnection) -> None:
        raw = await connection.get_raw_connection()
        driver: Any = raw.driver_connection
        self._driver = driver
        driver.add_log_listener(lambda _, message: self._notices.append(str(message)))
        keep_alive(driver)
        if await connection.scalar(select(func.current_setting("fsync"))) != "on":
            raise UnavailableError(
                "PostgreSQL runs with fsync=off and would lose what it acknowledged; turn it on",
                reason=ErrorReason.STORE_UNAVAILABLE,
            )
        if await connection.scalar(select(func.current_setting("synchronous_commit"))) == "off":
            await connection.exec_driver_sql("SET SESSION synchronous_commit = 'on'")
        await connection.commit()

    async def _drop_writer(self) -> None:
        """Leave the writing connection; the next transaction opens another."""
        connection, self._writer = self._writer, None
        if connection is None:
            return
        try:
            await connection.invalidate()
            await connection.close()
        except (*_UNREACHABLE, SQLAlchemyError):
            # It was broken already, and nothing waits for it.
            return


class _Reading:
    """A view in a connection of the pool; the transaction begins with the first body."""

    def __init__(self, pool: AsyncEngine, connection: AsyncConnection) -> None:
        self._pool = pool
        self._connection = connection
        self._has_read = False

    async def run(self, body: Callable[[Connection], T]) -> T:
        """Return what a body reads."""
        is_first, self._has_read = not self._has_read, True
        raw = self._raw()
        if raw is None:
            raise store_unavailable("the connection of this read was lost before")
        # Asked for now: a connection that SQLAlchemy finds to be lost gives it no more.
        driver: Any = raw.driver_connection
        try:
            return await self._connection.run_sync(body)
        except _UNREACHABLE as error:
            is_passing = _is_passing(error, driver)
            await self._connection.invalidate()
            if not is_first or not is_passing:
                raise store_unavailable(_text(error)) from error
        except HeedError:
            raise  # the rows were read, and are not what was wanted
        except BaseException:
            self._break_off()
            raise
        # It broke while it lay in the pool, as others may have; nothing was read yet.
        try:
            await self._connection.close()
            await self._pool.dispose()
            self._connection = await self._pool.connect()
            return await self._connection.run_sync(body)
        except _UNREACHABLE as error:
            raise store_unavailable(_text(error)) from error
        except BaseException:
            self._break_off()
            raise

    def _break_off(self) -> None:
        """Leave a connection that was given up in the middle of something (a deadline, say).

        One cancelled within its BEGIN is in a transaction that neither SQLAlchemy nor asyncpg ends
        again. Back in the pool it would show its next readers the view of now, for ever.
        """
        raw = self._raw()
        if raw is not None:
            driver: Any = raw.driver_connection
            driver.terminate()
            raw.invalidate()

    def _raw(self) -> PoolProxiedConnection | None:
        """The connection as the pool gave it; None: it is lost, or was given back."""
        connection = self._connection.sync_connection
        if connection is None or connection.closed or connection.invalidated:
            return None
        return connection.connection

    async def end(self) -> None:
        """Give the connection back; one that cannot be is left, and what was read from it holds."""
        try:
            await self._connection.close()
        except (*_UNREACHABLE, SQLAlchemyError):
            self._break_off()


def _writing_engine(url: URL, limits: StorageLimits) -> AsyncEngine:
    milliseconds = round(limits.lock_seconds_max * 1_000)
    return create_async_engine(
        url,
        poolclass=NullPool,
        connect_args={
            "timeout": limits.connect_seconds_max,
            "server_settings": {
                "application_name": "heed writer",
                "statement_timeout": "0",
                "lock_timeout": str(milliseconds),
                "idle_in_transaction_session_timeout": f"{_IDLE_SECONDS_MAX}s",
                "jit": "off",
                # Every statement finds its rows by primary key. Plans are kept, and one made while
                # a table was small must not read all of it when it no longer is.
                "enable_seqscan": "off",
                "enable_hashjoin": "off",
                "enable_mergejoin": "off",
            },
        },
    )


def _reading_engine(url: URL, limits: StorageLimits) -> AsyncEngine:
    return create_async_engine(
        url,
        isolation_level="REPEATABLE READ",
        pool_size=limits.readers_max + limits.streams_max,
        max_overflow=0,
        pool_timeout=limits.read_wait_seconds_max,
        connect_args={
            "timeout": limits.connect_seconds_max,
            "command_timeout": limits.read_seconds_max,
            "server_settings": {
                "application_name": "heed reader",
                "default_transaction_read_only": "on",
                "jit": "off",
            },
        },
    )


def _commit(connection: Connection) -> None:
    connection.connection.commit()


def _roll_back(connection: Connection) -> None:
    connection.connection.rollback()


def keep_alive(driver: Any) -> None:
    """Notice a server that is gone without a word, also while waiting for its answer."""
    transport = driver._transport  # noqa: SLF001 - asyncpg has no setting for it
    connected: socket.socket | None = transport.get_extra_info("socket")
    if connected is None or connected.family == socket.AF_UNIX:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _KEEPALIVE_SECONDS),
        ("TCP_KEEPINTVL", _KEEPALIVE_SECONDS),
        ("TCP_KEEPCNT", _KEEPALIVE_PROBES),
    ):
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _is_passing(error: BaseException, driver: Any) -> bool:
    """Whether the same may well succeed in a moment; `driver` is the connection it came from."""
    cause = _cause(error)
    if not isinstance(cause, AsyncAdapt_asyncpg_dbapi.Error):
        return True
    state = getattr(cause, "sqlstate", None) or ""
    if not state:
        # Said by asyncpg itself: of a connection that broke, or of a value that it cannot send.
        return driver is not None and driver.is_closed()
    return state in _TRY_AGAIN or state.startswith("08")


def _text(error: BaseException) -> str:
    """Return what went wrong, without statement and parameters."""
    cause = _cause(error)
    return str(cause) or type(cause).__name__


def _cause(error: BaseException) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error

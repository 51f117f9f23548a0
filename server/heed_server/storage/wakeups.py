"""Wake-ups: nodes that share a PostgreSQL tell each other of their commits, by NOTIFY.

Laws:
- A wake-up only makes a follower ask sooner. What it asks is the log, and it asks it every
  `poll_seconds` all the same: a wake-up that is lost, late, doubled or forged costs no more.
- Nothing here is on the way of a write: `tell` notes a number and returns, and what is told goes
  through a connection of its own, never through the one that writes.
- The connection is used both ways, so that a node hears itself. When it has heard nothing for
  `wake_check_seconds` it says something and must hear it; one that does not is left and opened
  anew. So a connection that broke without a word, and a pooler that drops LISTEN, are noticed.

All state is written on the event loop: by `tell`, by what is heard, and by the task in `run`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import structlog
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from heed.model import Revision, TenantId
from heed_server.backoff import doubled_seconds
from heed_server.storage.backend import StorageLimits
from heed_server.storage.postgres import keep_alive

CHANNEL: Final = "heed"
"""The channel of every node of a database; the payload is `<tenant id>:<revision>`."""

PAYLOAD_CHARACTERS_MAX: Final = 40
"""What is longer is none of ours: anybody who may connect to the database may notify."""

_RETRY_SECONDS_MIN: Final = 0.05
_NOTHING_NEW: Final = "0:0"
"""What is said to be heard: there is no tenant 0."""
_TELL: Final = "SELECT pg_notify($1, told) FROM unnest($2::text[]) AS told"
_BROKEN = (
    *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
    *(AsyncAdapt_asyncpg_dbapi.Error, SQLAlchemyError),
    *(OSError, TimeoutError),
)
"""What asking raises, by the driver's own way, and connecting, by SQLAlchemy's two."""

_log = structlog.stdlib.get_logger("heed_server.storage")


class WakeUps:
    """One node's wake-ups. Use: `run()` in a task group, and `tell` it of commits."""

    def __init__(
        self,
        url: URL,
        limits: StorageLimits,
        *,
        on_heard: Callable[[TenantId, Revision], None],
        on_open: Callable[[], None],
    ) -> None:
        """`on_heard` is told what a node says, this one too; `on_open` that some may be missing."""
        self.is_connected = False
        """Whether this node hears the others now."""
        self.told = 0
        """Notifications sent since the start; several tenants' commits may share one."""
        self.heard = 0
        """Notifications heard since the start, this node's own too."""
        self.lost = 0
        """How often the connection broke, or could not be opened, since the start."""
        self._url = url
        self._limits = limits
        self._on_heard = on_heard
        self._on_open = on_open
        self._untold: dict[TenantId, Revision] = {}
        self._has_work = asyncio.Event()
        self._has_heard = asyncio.Event()
        self._heard_at = 0.0

    def tell(self, tenant_id: TenantId, revision: Revision) -> None:
        """Have other nodes told of a commit; never raises and never waits.

        At most one notification is sent each `wake_seconds_min`; of a tenant it names the newest.
        """
        self._untold[tenant_id] = revision
        self._has_work.set()

    async def run(self) -> None:
        """Tell and hear until cancelled. Outlives whatever the database does."""
        failed_in_a_row = 0
        while True:
            try:
                async with self._open() as driver:
                    await self._listen(driver)
                    if failed_in_a_row:
                        _log.info("wake_ups_again", failures=failed_in_a_row)
                    failed_in_a_row = 0
                    await self._serve(driver)
            except _BROKEN as error:
                failed_in_a_row += 1
                self.lost += 1
                if failed_in_a_row == 1:
                    _log.warning("wake_ups_lost", why=str(error) or type(error).__name__)
            finally:
                self.is_connected = False
            await asyncio.sleep(
                doubled_seconds(
                    _RETRY_SECONDS_MIN, failed_in_a_row, self._limits.wake_retry_seconds_max
                )
            )

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[Any]:
        """Open the connection; leaving it ends it, whatever state it is in."""
        engine = create_async_engine(
            self._url,
            poolclass=NullPool,
            connect_args={
                "timeout": self._limits.connect_seconds_max,
                "command_timeout": self._limits.wake_check_seconds,
                # It writes nothing that anybody would miss.
                "server_settings": {
                    "application_name": "heed wake-ups",
                    "synchronous_commit": "off",
                    "jit": "off",
                },
            },
        )
        connection = await engine.raw_connection()
        driver: Any = connection.driver_connection
        try:
            keep_alive(driver)
            driver.add_termination_listener(self._on_end)
            yield driver
        finally:
            driver.terminate()
            connection.invalidate()

    async def _listen(self, driver: Any) -> None:
        await driver.add_listener(CHANNEL, self._hear)
        await self._require_heard(driver)
        self.is_connected = True
        # What was told while nobody listened here was not heard.
        self._on_open()

    async def _serve(self, driver: Any) -> None:
        """Send what is to be told, and see that something is heard; ends only by an error."""
        loop = asyncio.get_running_loop()
        while True:
            quiet_seconds = loop.time() - self._heard_at
            if quiet_seconds >= self._limits.wake_check_seconds:
                await self._require_heard(driver)
                continue
            try:
                async with asyncio.timeout(self._limits.wake_check_seconds - quiet_seconds):
                    await self._has_work.wait()
            except TimeoutError:
                continue
            self._has_work.clear()
            if driver.is_closed():
                raise ConnectionError("the connection for wake-ups was closed")
            await self._send(driver)
            await asyncio.sleep(self._limits.wake_seconds_min)

    async def _send(self, driver: Any) -> None:
        untold, self._untold = self._untold, {}
        if untold:
            said = [f"{tenant}:{revision}" for tenant, revision in untold.items()]
            # A failure here loses them, and costs other nodes the wait for their next poll.
            await driver.fetch(_TELL, CHANNEL, said)
            self.told += 1

    async def _require_heard(self, driver: Any) -> None:
        """Return once something was heard.

        Raises:
            TimeoutError: nothing was.
        """
        self._has_heard.clear()
        async with asyncio.timeout(self._limits.wake_check_seconds):
            await driver.fetch(_TELL, CHANNEL, [_NOTHING_NEW])
            await self._has_heard.wait()

    def _hear(self, _driver: object, _pid: int, _channel: str, payload: object) -> None:
        self.heard += 1
        self._heard_at = asyncio.get_running_loop().time()
        self._has_heard.set()
        text = str(payload)
        tenant, _, revision = text.partition(":")
        if text == _NOTHING_NEW or len(text) > PAYLOAD_CHARACTERS_MAX:
            return
        if tenant.isdecimal() and revision.isdecimal():
            self._on_heard(TenantId(int(tenant)), Revision(int(revision)))

    def _on_end(self, _driver: object) -> None:
        self._has_work.set()

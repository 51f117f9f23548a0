"""Managing API keys of a server that runs: a unix socket beside its SQLite database.

One process owns a SQLite database; a command that would revoke a key therefore hands its request
to that process. On PostgreSQL commands ask the database themselves, and no socket is opened.

    one line of JSON   {"ask": "revoke", "key_id": "k3v9x0q2m7ta", "at": 1790000000000000}
    one line back      {"revoked": true}        or   {"refused": {"reason": …, "message": …}}

Laws:
- Only the user that runs the server may connect: the socket has mode 0600.
- A change is in force in the server before it is answered.
- No secret crosses it: the command makes the key and hands over its hash.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal, TypeAlias, cast

import msgspec
import structlog

from heed.errors import ErrorReason, HeedError, NotFoundError, UnavailableError
from heed.model import Instant
from heed_server.key_store import ApiKey, KeyRotations, KeyStore
from heed_server.secrets.states import LinkKeyState, LookupState, RootState

LINE_BYTES_MAX = 4 << 20
"""The longest request or answer: about 10,000 keys."""

EXCHANGE_SECONDS_MAX = 10.0
"""How long one request and its answer may take together."""

PATH_BYTES_MAX = 100
"""The least that kernels take for a socket's path."""

_log = structlog.stdlib.get_logger("heed_server.auth")


class _Key(msgspec.Struct, frozen=True, kw_only=True):
    """An `ApiKey` on the line."""

    key_id: str
    secret_hash: bytes
    name: str
    rights: tuple[str, ...]
    tenant: str
    create_time: int
    expire_time: int | None = None
    revoke_time: int | None = None


class _Put(msgspec.Struct, frozen=True, tag="put", tag_field="ask"):
    key: _Key


class _List(msgspec.Struct, frozen=True, tag="list", tag_field="ask"):
    pass


class _Revoke(msgspec.Struct, frozen=True, tag="revoke", tag_field="ask"):
    key_id: str
    at: int


_Rotated: TypeAlias = Literal["stage", "root", "addresses", "links"]


class _Rotate(msgspec.Struct, frozen=True, tag="rotate", tag_field="ask"):
    what: _Rotated
    tenant: str = ""


class _Destroy(msgspec.Struct, frozen=True, tag="destroy", tag_field="ask"):
    purposes: tuple[str, ...]


class _Show(msgspec.Struct, frozen=True, tag="root", tag_field="ask"):
    pass


class _ReplaceLookup(msgspec.Struct, frozen=True, tag="replace-lookup", tag_field="ask"):
    tenant: str
    reason: str


class _ShowLookup(msgspec.Struct, frozen=True, tag="lookup", tag_field="ask"):
    pass


class _ShowLinks(msgspec.Struct, frozen=True, tag="links", tag_field="ask"):
    pass


_Request: TypeAlias = (
    _Put | _List | _Revoke | _Rotate | _Destroy | _Show | _ReplaceLookup | _ShowLookup | _ShowLinks
)


class _Refused(msgspec.Struct, frozen=True):
    reason: str
    message: str


class _Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    keys: tuple[_Key, ...] = ()
    revoked: bool = False
    count: int = 0
    tenants: tuple[str, ...] = ()
    root: tuple[RootState, ...] = ()
    lookup: tuple[LookupState, ...] = ()
    links: tuple[LinkKeyState, ...] = ()
    refused: _Refused | None = None


_requests: msgspec.json.Decoder[_Request] = msgspec.json.Decoder(_Request)
_answers = msgspec.json.Decoder(_Answer)


def socket_path(database: Path) -> Path:
    """Return where the server that owns this SQLite database listens for such requests."""
    return database.with_name(database.name + ".keys")


@asynccontextmanager
async def serve_key_socket(
    path: Path,
    keys: KeyStore,
    rotations: KeyRotations,
    *,
    on_change: Callable[[], Awaitable[None]],
) -> AsyncGenerator[None]:
    """Answer requests within the block. The caller owns the database, so an older socket is dead.

    Raises:
        OSError: the socket cannot be made there.
    """
    answering: set[asyncio.Task[object]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[object]", asyncio.current_task())
        answering.add(task)
        task.add_done_callback(answering.discard)
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS_MAX):
                line = await reader.readline()
                if not line:
                    return  # only asked whether we are here
                answered = await _answer_to(line, keys, rotations, on_change)
                writer.write(msgspec.json.encode(answered) + b"\n")
                await writer.drain()
        except (OSError, ValueError, TimeoutError) as error:
            _log.warning("key_request_failed", error=type(error).__name__)
        finally:
            await _close(writer)

    listener = _listener(path)
    try:
        server = await asyncio.start_unix_server(answer, sock=listener, limit=LINE_BYTES_MAX)
        async with server:
            yield
        if answering:  # a change under way is finished
            await asyncio.wait(answering, timeout=EXCHANGE_SECONDS_MAX)
    finally:
        listener.close()
        _remove(path)


class KeySocket:
    """The keys of a server that runs here, as a `KeyStore` and as `KeyRotations`.

    Every method raises UnavailableError when the server, or its database, does not answer.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def put_api_key(self, key: ApiKey) -> None:
        """Add a key. Raises NotFoundError TENANT_UNKNOWN if its tenant is not there."""
        await self._ask(_Put(_on_the_line(key)))

    async def api_keys(self) -> Sequence[ApiKey]:
        """Return every key, revoked ones too, by creation."""
        answered = await self._ask(_List())
        return [_off_the_line(key) for key in answered.keys]

    async def api_key(self, key_id: str) -> ApiKey | None:
        """Return one key."""
        return next((key for key in await self.api_keys() if key.key_id == key_id), None)

    async def revoke_api_key(self, key_id: str, at: Instant) -> bool:
        """Revoke a key, in force when this returns; False if there is no such key."""
        return (await self._ask(_Revoke(key_id, at))).revoked

    async def stage_root(self) -> None:
        """Add root keys to the file that open and do not wrap yet."""
        await self._ask(_Rotate("stage"))

    async def rotate_root(self) -> int:
        """Wrap every secret by the next root keys; return how many were wrapped again."""
        return (await self._ask(_Rotate("root"))).count

    async def destroy_old_root(self, purposes: Collection[str]) -> None:
        """Take the root keys that wrap nothing any more out of the file, for ever."""
        await self._ask(_Destroy(tuple(purposes)))

    async def root_state(self) -> Sequence[RootState]:
        """Return which root keys there are, and what each wraps."""
        return (await self._ask(_Show())).root

    async def rotate_addresses(self, tenant: str) -> Sequence[str]:
        """Begin to put addresses under a new key; the server goes on with it by itself."""
        return (await self._ask(_Rotate("addresses", tenant))).tenants

    async def rotate_links(self, tenant: str) -> Sequence[str]:
        """Seal links under a new key, once every node opens by it."""
        return (await self._ask(_Rotate("links", tenant))).tenants

    async def link_key_state(self) -> Sequence[LinkKeyState]:
        """Return the keys of links of every tenant."""
        return (await self._ask(_ShowLinks())).links

    async def replace_lookup(self, tenant: str, reason: str) -> int:
        """Begin another lookup key of a tenant; the server goes on with it by itself."""
        return (await self._ask(_ReplaceLookup(tenant, reason))).count

    async def lookup_state(self) -> Sequence[LookupState]:
        """Return the lookup keys of every tenant, and how many subjects stand under each."""
        return (await self._ask(_ShowLookup())).lookup

    async def _ask(self, request: _Request) -> _Answer:
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS_MAX):
                with _short(self._path) as name:
                    reader, writer = await asyncio.open_unix_connection(name, limit=LINE_BYTES_MAX)
                try:
                    writer.write(msgspec.json.encode(request) + b"\n")
                    answered = _answers.decode(await reader.readline())
                finally:
                    await _close(writer)
        except (OSError, ValueError, TimeoutError) as error:
            raise UnavailableError(
                f"the server of this database does not answer at {self._path} "
                f"({type(error).__name__})"
            ) from error
        if answered.refused is not None:
            reason = ErrorReason(answered.refused.reason)
            class_ = NotFoundError if reason is ErrorReason.TENANT_UNKNOWN else UnavailableError
            raise class_(answered.refused.message, reason=reason)
        return answered


async def is_served(path: Path) -> bool:
    """Whether a server listens at this socket."""
    try:
        async with asyncio.timeout(EXCHANGE_SECONDS_MAX):
            with _short(path) as name:
                _, writer = await asyncio.open_unix_connection(name)
    except (OSError, TimeoutError):
        return False
    await _close(writer)
    return True


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _listener(path: Path) -> socket.socket:
    """A bound socket that only this user may connect to."""
    _remove(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as name:
            listener.bind(name)
        path.chmod(0o600)  # before it listens, so that nobody else was ever let in
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def _short(path: Path) -> Generator[str]:
    """The path in as few bytes as kernels take; on Linux every path has such a name."""
    if len(os.fsencode(path)) <= PATH_BYTES_MAX:
        yield os.fspath(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _answer_to(
    line: bytes,
    keys: KeyStore,
    rotations: KeyRotations,
    on_change: Callable[[], Awaitable[None]],
) -> _Answer:
    request: _Request = _requests.decode(line)
    try:
        match request:
            case _List():
                return _Answer(keys=tuple(_on_the_line(key) for key in await keys.api_keys()))
            case _Put(key):
                await keys.put_api_key(_off_the_line(key))
                _log.info("key_created", key_id=key.key_id, name=key.name, tenant=key.tenant)
                await on_change()
                return _Answer()
            case _Revoke(key_id, at):
                try:
                    is_known = await keys.revoke_api_key(key_id, Instant(at))
                finally:
                    # Also where only the ledger of revocations failed: the key is good no more.
                    await on_change()
                _log.info("key_revoked", key_id=key_id, is_known=is_known)
                return _Answer(revoked=is_known)
            case _Show():
                return _Answer(root=tuple(await rotations.root_state()))
            case _Destroy(purposes):
                await rotations.destroy_old_root(purposes)
                _log.warning("old_root_keys_destroyed", purposes=purposes)
                return _Answer()
            case _ReplaceLookup(tenant, reason):
                newest = await rotations.replace_lookup(tenant, reason)
                _log.warning("lookup_key_replaced", tenant=tenant, key=newest)
                return _Answer(count=newest)
            case _ShowLookup():
                return _Answer(lookup=tuple(await rotations.lookup_state()))
            case _ShowLinks():
                return _Answer(links=tuple(await rotations.link_key_state()))
            case _Rotate(what, tenant):
                return await _rotated(what, tenant, rotations)
    except HeedError as error:
        return _Answer(refused=_Refused(error.reason, error.message))


async def _rotated(what: _Rotated, tenant: str, rotations: KeyRotations) -> _Answer:
    if what == "stage":
        await rotations.stage_root()
        return _Answer()
    if what == "root":
        count = await rotations.rotate_root()
        _log.info("root_keys_rotated", count=count)
        return _Answer(count=count)
    if what == "links":
        names = await rotations.rotate_links(tenant)
        _log.warning("link_keys_rotated", tenants=names)
        return _Answer(tenants=tuple(names))
    names = await rotations.rotate_addresses(tenant)
    _log.info("address_keys_rotated", tenants=names)
    return _Answer(tenants=tuple(names))


def _on_the_line(key: ApiKey) -> _Key:
    return _Key(
        key_id=key.key_id,
        secret_hash=key.secret_hash,
        name=key.name,
        rights=tuple(sorted(key.rights)),
        tenant=key.tenant,
        create_time=key.create_time,
        expire_time=key.expire_time,
        revoke_time=key.revoke_time,
    )


def _off_the_line(key: _Key) -> ApiKey:
    return ApiKey(
        key_id=key.key_id,
        secret_hash=key.secret_hash,
        name=key.name,
        rights=frozenset(key.rights),
        tenant=key.tenant,
        create_time=Instant(key.create_time),
        expire_time=None if key.expire_time is None else Instant(key.expire_time),
        revoke_time=None if key.revoke_time is None else Instant(key.revoke_time),
    )

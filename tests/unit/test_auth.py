"""Who calls: the text of keys, what of a credential is judged, and how soon a change is noticed."""

import asyncio
import socket
import stat
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.errors import (
    ErrorReason,
    NotFoundError,
    RightRequiredError,
    UnauthenticatedError,
    UnavailableError,
)
from heed.model import Instant
from heed_server.auth import credentials
from heed_server.auth.credentials import Authenticator
from heed_server.auth.key_socket import KeySocket, is_served, serve_key_socket
from heed_server.auth.keys import make_key, parse_key
from heed_server.auth.policy import OPEN, Principal, Right, require
from heed_server.secrets.states import RootState
from heed_server.store import ApiKey

NOW = Instant(1_790_000_000_000_000)
SECOND = 1_000_000


class Keys:
    """Keys in memory; `is_away` is the broken network."""

    def __init__(self) -> None:
        self.kept: dict[str, ApiKey] = {}
        self.is_away = False
        self.reads: asyncio.Queue[None] = asyncio.Queue()

    async def put_api_key(self, key: ApiKey) -> None:
        self.kept[key.key_id] = key

    async def api_keys(self) -> Sequence[ApiKey]:
        self.reads.put_nowait(None)
        if self.is_away:
            raise UnavailableError("away")
        return list(self.kept.values())

    async def api_key(self, key_id: str) -> ApiKey | None:
        return self.kept.get(key_id)

    async def revoke_api_key(self, key_id: str, at: Instant) -> bool:
        if key_id not in self.kept:
            return False
        self.kept[key_id] = replace(self.kept[key_id], revoke_time=at)
        return True


class Clock:
    """Time that stands until it is moved."""

    def __init__(self) -> None:
        self.instant = NOW
        self.boot = 100.0

    def now(self) -> Instant:
        return self.instant

    def boot_seconds(self) -> float:
        return self.boot


_seeds = count(1)


def _new_key(
    *,
    rights: Sequence[Right] = (Right.CHECK,),
    tenant: str = "",
    expire_time: Instant | None = None,
) -> tuple[str, ApiKey]:
    seed = next(_seeds)
    text, parsed = make_key(lambda size: seed.to_bytes(size, "big"))
    key = ApiKey(
        key_id=parsed.key_id,
        secret_hash=parsed.secret_hash,
        name="mailer",
        rights=frozenset(rights),
        tenant=tenant,
        create_time=NOW,
        expire_time=expire_time,
    )
    return text, key


def _bearing(text: str) -> list[tuple[str, str | bytes]]:
    return [("user-agent", "x"), ("authorization", f"Bearer {text}")]


def _authenticator(keys: Keys, clock: Clock, *, is_required: bool | None = True) -> Authenticator:
    return Authenticator(
        keys,
        is_required=is_required,
        keys_kept_seconds=60,
        now=clock.now,
        boot_seconds=clock.boot_seconds,
    )


@given(st.binary(min_size=32, max_size=32))
def test_a_key_that_was_made_can_be_read(secret: bytes) -> None:
    text, made = make_key(lambda size: secret[:size])

    assert parse_key(text) == made
    assert len(text) == len("heed_") + 12 + 1 + 43 + 1 + 6


def test_different_secrets_make_different_keys() -> None:
    made = [_new_key() for _ in range(199)]

    assert len({text for text, _ in made}) == len({key.secret_hash for _, key in made}) == 199


@given(st.data())
def test_a_key_with_one_character_changed_is_no_key(data: st.DataObject) -> None:
    text, _ = make_key(lambda size: b"\x5a" * size)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda character: character != text[at]))

    assert parse_key(text[:at] + other + text[at + 1 :]) is None


@pytest.mark.parametrize("text", ["", "heed_", "heed__", "hello", "heed_" + "a" * 4000, "é"])
def test_anything_else_is_no_key(text: str) -> None:
    assert parse_key(text) is None


def test_the_hash_of_a_key_is_in_no_repr() -> None:
    text, key = _new_key()

    shown = repr(key) + repr(parse_key(text))
    assert text.split("_")[2] not in shown
    assert key.secret_hash.hex() not in shown
    assert repr(key.secret_hash) not in shown


@pytest.mark.parametrize("right", Right)
def test_no_right_implies_another(right: Right) -> None:
    principal = Principal(name="p", rights=frozenset({right}))

    require(principal, right)
    for other in set(Right) - {right}:
        with pytest.raises(RightRequiredError) as refused:
            require(principal, other)
        assert refused.value.metadata == {"right": other.value}


async def test_a_good_key_is_its_principal() -> None:
    keys = Keys()
    text, key = _new_key(rights=(Right.CHECK, Right.WRITE), tenant="shop")
    await keys.put_api_key(key)
    authenticator = _authenticator(keys, Clock())
    await authenticator.refresh()

    principal = authenticator.principal(_bearing(text))

    assert principal == Principal(
        name="mailer", rights=frozenset({Right.CHECK, Right.WRITE}), tenant="shop"
    )
    assert authenticator.principal(_bearing(text)) is principal


async def test_every_bad_credential_gets_one_and_the_same_answer() -> None:
    keys, clock = Keys(), Clock()
    good, key = _new_key()
    unknown, _ = _new_key()
    revoked, revoked_key = _new_key()
    expired, expired_key = _new_key(expire_time=Instant(NOW))
    _, other_secret = _new_key()
    for stored in (key, replace(revoked_key, revoke_time=NOW), expired_key):
        await keys.put_api_key(stored)
    authenticator = _authenticator(keys, clock)
    await authenticator.refresh()
    stolen_id = good.split("_")
    stolen_id[2] = unknown.split("_")[2]

    bad: list[list[tuple[str, str | bytes]]] = [
        [],
        _bearing(unknown),
        _bearing(revoked),
        _bearing(expired),
        _bearing("_".join(stolen_id)),
        _bearing(good[:-1]),
        _bearing(""),
        [("authorization", good)],
        [("authorization", f"Basic {good}")],
        [("authorization", f"Bearer {good}".encode())],
        _bearing(good) + _bearing(good),
        _bearing("é" * 50),
    ]
    answers = set[tuple[str, str, str]]()
    for metadata in bad:
        with pytest.raises(UnauthenticatedError) as refused:
            authenticator.principal(metadata)
        error = refused.value
        answers.add((error.message, error.reason, repr(error.metadata)))

    assert len(answers) == 1
    assert authenticator.refused == len(bad)
    assert other_secret.key_id not in answers.pop()[0]


async def test_the_scheme_is_read_in_any_case() -> None:
    keys = Keys()
    text, key = _new_key()
    await keys.put_api_key(key)
    authenticator = _authenticator(keys, Clock())
    await authenticator.refresh()

    assert authenticator.principal([("authorization", f"bearer {text}")]).name == "mailer"


async def test_without_keys_required_a_caller_without_one_is_open_and_a_bad_one_is_refused() -> (
    None
):
    keys = Keys()
    text, _ = _new_key()
    authenticator = _authenticator(keys, Clock(), is_required=False)
    await authenticator.refresh()

    assert authenticator.principal([]) is OPEN
    with pytest.raises(UnauthenticatedError):
        authenticator.principal(_bearing(text))


async def test_the_first_key_closes_a_server_for_good() -> None:
    keys = Keys()
    text, key = _new_key()
    authenticator = _authenticator(keys, Clock(), is_required=None)
    await authenticator.refresh()
    assert authenticator.principal([]) is OPEN
    await keys.put_api_key(key)
    await authenticator.refresh()
    assert authenticator.principal(_bearing(text)).name == key.name

    for keep in (True, False):
        await keys.revoke_api_key(key.key_id, NOW)
        if not keep:
            keys.kept.clear()
        await authenticator.refresh()

        assert authenticator.is_required
        with pytest.raises(UnauthenticatedError):
            authenticator.principal([])


async def test_keys_that_are_there_at_the_start_close_a_server() -> None:
    keys = Keys()
    await keys.put_api_key(_new_key()[1])
    authenticator = _authenticator(keys, Clock(), is_required=None)

    await authenticator.refresh()

    assert authenticator.is_required


async def test_where_keys_are_never_required_the_first_one_closes_nothing() -> None:
    keys = Keys()
    await keys.put_api_key(_new_key()[1])
    authenticator = _authenticator(keys, Clock(), is_required=False)

    await authenticator.refresh()

    assert authenticator.principal([]) is OPEN


async def test_a_key_expires_between_two_calls_without_a_refresh() -> None:
    keys, clock = Keys(), Clock()
    text, key = _new_key(expire_time=Instant(NOW + SECOND))
    await keys.put_api_key(key)
    authenticator = _authenticator(keys, clock)
    await authenticator.refresh()
    authenticator.principal(_bearing(text))

    clock.instant = Instant(NOW + SECOND)

    with pytest.raises(UnauthenticatedError):
        authenticator.principal(_bearing(text))


async def test_a_revoked_key_is_refused_after_the_next_refresh() -> None:
    keys = Keys()
    text, key = _new_key()
    await keys.put_api_key(key)
    authenticator = _authenticator(keys, Clock())
    await authenticator.refresh()
    authenticator.principal(_bearing(text))

    await keys.revoke_api_key(key.key_id, NOW)
    await authenticator.refresh()

    with pytest.raises(UnauthenticatedError):
        authenticator.principal(_bearing(text))


async def test_while_the_store_is_away_known_keys_hold_for_the_bound_and_no_longer() -> None:
    keys, clock = Keys(), Clock()
    text, key = _new_key()
    await keys.put_api_key(key)
    authenticator = _authenticator(keys, clock)
    await authenticator.refresh()
    keys.is_away = True
    with pytest.raises(UnavailableError):
        await authenticator.refresh()

    clock.boot += 60
    authenticator.principal(_bearing(text))
    clock.boot += 0.1

    with pytest.raises(UnavailableError) as refused:
        authenticator.principal(_bearing(text))
    assert refused.value.reason is ErrorReason.STORE_UNAVAILABLE
    keys.is_away = False
    await authenticator.refresh()
    assert authenticator.principal(_bearing(text)).name == "mailer"


async def test_before_the_keys_were_read_no_credential_is_judged() -> None:
    text, _ = _new_key()

    with pytest.raises(UnavailableError):
        _authenticator(Keys(), Clock()).principal(_bearing(text))


async def test_the_loop_goes_on_reading_keys_after_the_store_was_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credentials, "REFRESH_SECONDS", 0)
    keys = Keys()
    keys.is_away = True
    authenticator = _authenticator(keys, Clock())
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        running = group.create_task(authenticator.run())
        for _ in range(3):
            await keys.reads.get()
        keys.is_away = False
        _, key = _new_key()
        await keys.put_api_key(key)
        for _ in range(2):
            await keys.reads.get()
        running.cancel()

    assert authenticator.key_count == 1


async def test_so_many_tokens_are_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "VERIFIED_TOKENS_MAX", 2)
    keys = Keys()
    made = [_new_key() for _ in range(5)]
    for _, key in made:
        await keys.put_api_key(key)
    authenticator = _authenticator(keys, Clock())
    await authenticator.refresh()

    for text, _ in made:
        authenticator.principal(_bearing(text))

    assert len(authenticator._verified) <= 2


async def test_a_right_of_a_later_version_gives_nothing() -> None:
    keys = Keys()
    text, key = _new_key()
    await keys.put_api_key(replace(key, rights=frozenset({"check", "teleport"})))
    authenticator = _authenticator(keys, Clock())
    await authenticator.refresh()

    assert authenticator.principal(_bearing(text)).rights == {Right.CHECK}


class Asked:
    """Rotations that note what they were asked for."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def stage_root(self) -> None:
        self.asked.append("stage")

    async def rotate_root(self) -> int:
        self.asked.append("root")
        return 3

    async def destroy_old_root(self, purposes: Collection[str]) -> None:
        self.asked.append(tuple(purposes))

    async def root_state(self) -> Sequence[RootState]:
        return [RootState(purpose="secrets", key_ids=(1, 7), primary_id=7, wrapped={1: 2, 7: 3})]

    async def rotate_addresses(self, tenant: str) -> Sequence[str]:
        if tenant == "nowhere":
            raise NotFoundError("there is no tenant 'nowhere'")
        self.asked.append(tenant)
        return ["shop"]


async def test_rotations_are_asked_for_through_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "heed.db.keys"
    rotations = Asked()

    async def changed() -> None: ...

    async with serve_key_socket(path, Keys(), rotations, on_change=changed):
        client = KeySocket(path)
        await client.stage_root()
        count = await client.rotate_root()
        await client.destroy_old_root(["addresses"])
        names = await client.rotate_addresses("shop")
        states = await client.root_state()
        with pytest.raises(NotFoundError):
            await client.rotate_addresses("nowhere")

    assert rotations.asked == ["stage", "root", ("addresses",), "shop"]
    assert (count, list(names)) == (3, ["shop"])
    assert list(states) == list(await rotations.root_state())


async def test_keys_are_managed_through_the_socket_of_the_server_that_runs(tmp_path: Path) -> None:
    keys = Keys()
    path = tmp_path / "heed.db.keys"
    changes: list[int] = []

    async def changed() -> None:
        changes.append(len(keys.kept))

    _, key = _new_key(rights=(Right.WRITE, Right.CHECK), tenant="shop", expire_time=NOW)
    async with serve_key_socket(path, keys, Asked(), on_change=changed):
        client = KeySocket(path)
        await client.put_api_key(key)
        listed = await client.api_keys()
        is_revoked = await client.revoke_api_key(key.key_id, NOW)
        is_unknown_revoked = await client.revoke_api_key("nosuchkey000", NOW)
        found = await client.api_key(key.key_id)
        mode = stat.S_IMODE(path.stat().st_mode)

    assert listed == [key]
    assert (is_revoked, is_unknown_revoked) == (True, False)
    assert found == replace(key, revoke_time=NOW)
    assert mode == 0o600
    assert changes == [1, 1, 1]
    assert not path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux names every path in few bytes")
async def test_the_socket_may_lie_deeper_than_a_sockets_path_may_be_long(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 40)
    folder.mkdir()
    path = folder / "heed.db.keys"

    async def changed() -> None: ...

    assert not await is_served(path)
    async with serve_key_socket(path, Keys(), Asked(), on_change=changed):
        assert await is_served(path)
        assert await KeySocket(path).api_keys() == []
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_socket_that_a_crash_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "heed.db.keys"

    async def changed() -> None: ...

    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert not await is_served(path)

    async with serve_key_socket(path, Keys(), Asked(), on_change=changed):
        assert await is_served(path)

    assert not await is_served(path)


async def test_an_error_of_the_store_comes_back_through_the_socket(tmp_path: Path) -> None:
    keys = Keys()
    keys.is_away = True
    path = tmp_path / "heed.db.keys"

    async def changed() -> None: ...

    async with serve_key_socket(path, keys, Asked(), on_change=changed):
        with pytest.raises(UnavailableError) as refused:
            await KeySocket(path).api_keys()

    assert refused.value.reason is ErrorReason.STORE_UNAVAILABLE


async def test_a_key_that_the_store_refuses_is_refused_through_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "heed.db.keys"

    class Refusing(Keys):
        async def put_api_key(self, key: ApiKey) -> None:
            raise NotFoundError(f"there is no tenant {key.tenant!r}")

    async def changed() -> None: ...

    async with serve_key_socket(path, Refusing(), Asked(), on_change=changed):
        with pytest.raises(NotFoundError) as refused:
            await KeySocket(path).put_api_key(_new_key()[1])

    assert refused.value.reason is ErrorReason.TENANT_UNKNOWN


@pytest.mark.parametrize("line", [b"\n", b"nonsense\n", b'{"ask":"list"', b'{"ask":"drop"}\n'])
async def test_nonsense_on_the_socket_ends_that_connection_alone(
    tmp_path: Path, line: bytes
) -> None:
    path = tmp_path / "heed.db.keys"

    async def changed() -> None: ...

    async with serve_key_socket(path, Keys(), Asked(), on_change=changed):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(line)
        writer.write_eof()
        answered = await reader.read()
        writer.close()
        await writer.wait_closed()

        assert answered == b""
        assert await is_served(path)

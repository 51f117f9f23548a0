"""The socket by which a command manages the keys of the server that runs."""

import asyncio
import socket
import stat
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from heed.errors import ErrorReason, NotFoundError, UnavailableError
from heed_server.auth.key_socket import KeySocket, is_served, serve_key_socket
from heed_server.auth.policy import Right
from heed_server.key_store import ApiKey
from heed_server.secrets.states import LinkKeyState, LookupState, RootState
from tests.support.kept_keys import NOW, KeptKeys, new_key


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

    async def replace_lookup(self, tenant: str, reason: str) -> int:
        self.asked.append(f"replace {tenant} {reason}")
        return 2

    async def lookup_state(self) -> Sequence[LookupState]:
        return [LookupState(tenant="shop", key_id=2, is_newest=True, readable=3, erased=1)]

    async def rotate_links(self, tenant: str) -> Sequence[str]:
        self.asked.append(f"links {tenant}")
        return ["shop"]

    async def link_key_state(self) -> Sequence[LinkKeyState]:
        return [LinkKeyState(tenant="shop", key_ids=(3, 9), primary_id=9)]

    async def rotate_addresses(self, tenant: str) -> Sequence[str]:
        if tenant == "nowhere":
            raise NotFoundError("there is no tenant 'nowhere'")
        self.asked.append(tenant)
        return ["shop"]


async def test_rotations_are_asked_for_through_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "heed.db.keys"
    rotations = Asked()

    async def changed() -> None: ...

    async with serve_key_socket(path, KeptKeys(), rotations, on_change=changed):
        client = KeySocket(path)
        await client.stage_root()
        count = await client.rotate_root()
        await client.destroy_old_root(["addresses"])
        names = await client.rotate_addresses("shop")
        key_id = await client.replace_lookup("shop", "laptop stolen")
        lookup = await client.lookup_state()
        linked = await client.rotate_links("shop")
        links = await client.link_key_state()
        states = await client.root_state()
        with pytest.raises(NotFoundError):
            await client.rotate_addresses("nowhere")

    assert rotations.asked == [
        "stage",
        "root",
        ("addresses",),
        "shop",
        "replace shop laptop stolen",
        "links shop",
    ]
    assert list(linked) == ["shop"]
    assert list(links) == list(await rotations.link_key_state())
    assert (count, list(names), key_id) == (3, ["shop"], 2)
    assert list(lookup) == list(await rotations.lookup_state())
    assert list(states) == list(await rotations.root_state())


async def test_keys_are_managed_through_the_socket_of_the_server_that_runs(tmp_path: Path) -> None:
    keys = KeptKeys()
    path = tmp_path / "heed.db.keys"
    changes: list[int] = []

    async def changed() -> None:
        changes.append(len(keys.kept))

    _, key = new_key(rights=(Right.WRITE, Right.CHECK), tenant="shop", expire_time=NOW)
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
    async with serve_key_socket(path, KeptKeys(), Asked(), on_change=changed):
        assert await is_served(path)
        assert await KeySocket(path).api_keys() == []
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_socket_that_a_crash_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "heed.db.keys"

    async def changed() -> None: ...

    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert not await is_served(path)

    async with serve_key_socket(path, KeptKeys(), Asked(), on_change=changed):
        assert await is_served(path)

    assert not await is_served(path)


async def test_an_error_of_the_store_comes_back_through_the_socket(tmp_path: Path) -> None:
    keys = KeptKeys()
    keys.is_away = True
    path = tmp_path / "heed.db.keys"

    async def changed() -> None: ...

    async with serve_key_socket(path, keys, Asked(), on_change=changed):
        with pytest.raises(UnavailableError) as refused:
            await KeySocket(path).api_keys()

    assert refused.value.reason is ErrorReason.STORE_UNAVAILABLE


async def test_a_key_that_the_store_refuses_is_refused_through_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "heed.db.keys"

    class Refusing(KeptKeys):
        async def put_api_key(self, key: ApiKey) -> None:
            raise NotFoundError(f"there is no tenant {key.tenant!r}")

    async def changed() -> None: ...

    async with serve_key_socket(path, Refusing(), Asked(), on_change=changed):
        with pytest.raises(NotFoundError) as refused:
            await KeySocket(path).put_api_key(new_key()[1])

    assert refused.value.reason is ErrorReason.TENANT_UNKNOWN


@pytest.mark.parametrize("line", [b"\n", b"nonsense\n", b'{"ask":"list"', b'{"ask":"drop"}\n'])
async def test_nonsense_on_the_socket_ends_that_connection_alone(
    tmp_path: Path, line: bytes
) -> None:
    path = tmp_path / "heed.db.keys"

    async def changed() -> None: ...

    async with serve_key_socket(path, KeptKeys(), Asked(), on_change=changed):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(line)
        writer.write_eof()
        answered = await reader.read()
        writer.close()
        await writer.wait_closed()

        assert answered == b""
        assert await is_served(path)

"""Whom an agent lets check: by what its upstream said, for how long, and without a credential."""

import asyncio
from collections.abc import Coroutine

import grpc
import pytest
from grpc import aio

from heed.errors import UnauthenticatedError
from heed.model import Instant
from heed_server.agent.callers import Callers
from heed_server.auth.credentials import HANDED_ON
from tests.support.identities import JwtIssuer

GOOD = (("authorization", "Bearer good"),)
BAD = (("authorization", "Bearer bad"),)


class Upstream:
    """Takes the credentials that the test says, and counts how often it was asked."""

    def __init__(self) -> None:
        self.takes: set[str | bytes] = {"Bearer good"}
        self.is_silent = False
        self.asked: list[tuple[str | bytes, float]] = []
        self.told: list[dict[str, str | bytes]] = []

    async def __call__(
        self, request: bytes, *, timeout: float, metadata: tuple[tuple[str, str | bytes], ...]
    ) -> bytes:
        self.told.append(dict(metadata))
        given = self.told[-1].get("authorization", "")
        self.asked.append((given, timeout))
        await asyncio.sleep(0)
        if self.is_silent:
            raise error(grpc.StatusCode.UNAVAILABLE)
        if given not in self.takes:
            raise error(grpc.StatusCode.UNAUTHENTICATED)
        return b""


def error(code: grpc.StatusCode) -> aio.AioRpcError:
    return aio.AioRpcError(code, aio.Metadata(), aio.Metadata(), "")


class World:
    """Callers, with a clock and an upstream of the test."""

    def __init__(self, *, is_required: bool = False, trusts_sockets: bool = False) -> None:
        self.upstream = Upstream()
        self.seconds = 1_000.0
        self.tasks: set[asyncio.Task[None]] = set()
        self.callers = Callers(
            self.upstream,
            is_required=is_required,
            trusts_sockets=trusts_sockets,
            credential_seconds=15,
            kept_seconds=900,
            credentials_max=3,
            ask_seconds_max=1,
            boot_seconds=lambda: self.seconds,
            now=lambda: Instant(round(self.seconds * 1_000_000)),
            start=self._start,
        )

    def _start(self, _name: str, loop: Coroutine[None, None, None]) -> None:
        self.tasks.add(asyncio.get_running_loop().create_task(loop))

    async def may_check(
        self, metadata: tuple[tuple[str, str], ...] = (), left: float | None = 10
    ) -> bool:
        given = self.callers.credential(metadata)
        return await self.callers.may_check(given, "t", lambda: left)

    async def settle(self) -> None:
        """Wait for what is done behind answers."""
        while self.tasks:
            await self.tasks.pop()


async def test_a_key_is_asked_about_once_and_then_taken_for_a_while() -> None:
    world = World()

    assert [await world.may_check(GOOD) for _ in range(3)] == [True] * 3
    assert len(world.upstream.asked) == 1


async def test_a_key_that_the_upstream_refuses_is_never_let_in() -> None:
    world = World()

    assert [await world.may_check(BAD) for _ in range(3)] == [False] * 3
    assert len(world.upstream.asked) == 3
    assert world.callers.known == 0


async def test_a_revoked_key_is_let_in_no_more_once_it_was_asked_about_again() -> None:
    world = World()
    await world.may_check(GOOD)
    world.upstream.takes.clear()

    world.seconds += 15
    assert await world.may_check(GOOD)  # still within the time
    world.seconds += 0.1
    assert await world.may_check(GOOD)  # answered, and asked about behind that
    await world.settle()

    assert not await world.may_check(GOOD)


async def test_while_the_upstream_is_silent_a_key_is_good_for_so_long_and_no_longer() -> None:
    world = World()
    await world.may_check(GOOD)
    world.upstream.is_silent = True

    world.seconds += 900
    assert await world.may_check(GOOD)
    await world.settle()
    world.seconds += 0.1
    assert not await world.may_check(GOOD)
    assert not await world.may_check(BAD)


async def test_asking_never_takes_more_than_half_of_what_a_call_has_left() -> None:
    world = World()

    await world.may_check(GOOD, left=0.05)
    await world.may_check(BAD, left=None)

    assert [patience for _, patience in world.upstream.asked] == [0.025, 1]


async def test_many_answers_ask_about_one_key_once_at_a_time() -> None:
    world = World()
    await world.may_check(GOOD)
    world.seconds += 16

    assert all([await world.may_check(GOOD) for _ in range(10)])
    await world.settle()

    assert len(world.upstream.asked) == 2


async def test_of_more_keys_than_are_remembered_all_are_asked_about_again() -> None:
    world = World()
    keys = [(("authorization", f"Bearer {at}"),) for at in range(4)]
    world.upstream.takes = {f"Bearer {at}" for at in range(4)}

    assert [await world.may_check(key) for key in keys] == [True] * 4
    assert world.callers.known == 1


async def test_without_a_key_a_caller_is_judged_like_any_other() -> None:
    world = World()

    assert not await world.may_check()
    world.upstream.takes.add("")
    assert await world.may_check()
    assert [given for given, _ in world.upstream.asked] == ["", ""]


async def test_whoever_may_open_the_socket_may_check_and_a_key_is_judged_all_the_same() -> None:
    world = World(trusts_sockets=True)

    assert await world.may_check()
    assert world.upstream.asked == []
    assert not await world.may_check(BAD)


async def test_where_keys_are_required_no_call_goes_without_one() -> None:
    world = World(is_required=True)
    world.upstream.takes.add("")

    for metadata in ((), (("authorization", ""),), (("x", "y"),)):
        with pytest.raises(UnauthenticatedError):
            await world.may_check(metadata)
    assert world.upstream.asked == []
    assert await world.may_check(GOOD)
    assert world.callers.refused == 3


async def test_a_stream_ends_with_the_key_that_opened_it() -> None:
    world = World()
    assert await world.may_check(GOOD)
    ((_, key),) = GOOD
    world.callers.require_still(key, "t")
    world.upstream.takes.clear()

    world.seconds += 16
    world.callers.require_still(key, "t")  # asked about behind this answer
    await world.settle()

    with pytest.raises(UnauthenticatedError):
        world.callers.require_still(key, "t")


async def test_a_stream_of_a_silent_upstream_ends_when_the_key_is_too_old() -> None:
    world = World()
    assert await world.may_check(GOOD)
    ((_, key),) = GOOD
    world.upstream.is_silent = True

    world.seconds += 900
    world.callers.require_still(key, "t")
    await world.settle()
    world.seconds += 0.1

    with pytest.raises(UnauthenticatedError):
        world.callers.require_still(key, "t")


async def test_a_stream_through_a_trusted_socket_goes_on() -> None:
    world = World(trusts_sockets=True)

    world.callers.require_still("", "t")

    assert world.callers.refused == 0


async def test_a_jwt_is_good_until_its_own_end_whatever_the_upstream_does_not_say() -> None:
    world = World()
    text = JwtIssuer().jwt(exp=world.seconds + 60)
    jwt = (("authorization", f"Bearer {text}"),)
    world.upstream.takes = {f"Bearer {text}"}
    assert await world.may_check(jwt)
    world.callers.require_still(f"Bearer {text}", "t")
    world.upstream.is_silent = True

    world.seconds += 59
    assert await world.may_check(jwt)
    await world.settle()
    world.seconds += 1

    assert not await world.may_check(jwt)
    with pytest.raises(UnauthenticatedError):
        world.callers.require_still(f"Bearer {text}", "t")


async def test_what_the_agent_asks_for_a_caller_is_never_asked_for_itself() -> None:
    """So that a certificate of the agent's connection lets nobody else in."""
    world = World()

    await world.may_check(GOOD)
    await world.may_check()

    assert all(metadata[HANDED_ON] for metadata in world.upstream.told)

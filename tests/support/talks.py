"""A caller of StreamCheckSuppression, as any client is one."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeAlias

from grpc import aio

from heed_proto.v1 import preference_service_pb2 as preference
from heed_server.rpc import CheckStreamLimits
from tests.support import requests as ask
from tests.support.servers import Running, new_channel

PATH = "/heed.v1.PreferenceService/StreamCheckSuppression"
Ask: TypeAlias = preference.StreamCheckSuppressionRequest
Told: TypeAlias = preference.StreamCheckSuppressionResponse
WAIT_SECONDS = 10
FOREVER = CheckStreamLimits(check_stream_seconds_max=600)


class Talk:
    """One stream, as a client has it."""

    def __init__(self, channel: aio.Channel, *, key: str = "") -> None:
        method: aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(PATH)
        metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self.call = method(metadata=metadata, timeout=60)

    async def send(self, request: Ask | bytes) -> None:
        data = request if isinstance(request, bytes) else request.SerializeToString()
        await self.call.write(data)

    async def next(self) -> Told | None:
        """The next response; None: the stream ended well."""
        async with asyncio.timeout(WAIT_SECONDS):
            read: object = await self.call.read()
        return Told.FromString(read) if isinstance(read, bytes) else None

    async def ask(self, request: Ask | bytes) -> Told:
        await self.send(request)
        told = await self.next()
        assert told is not None
        return told

    async def refusal(self) -> aio.AioRpcError:
        """How the stream is refused, which it is."""
        try:
            while await self.next() is not None:
                pass
        except aio.AioRpcError as error:
            return error
        raise AssertionError("it ended well")


@asynccontextmanager
async def talk(server: Running, *, key: str = "") -> AsyncGenerator[Talk]:
    """A stream on a connection of its own."""
    async with new_channel(server.address) as channel:
        talking = Talk(channel, key=key)
        try:
            yield talking
        finally:
            talking.call.cancel()


def asked(*emails: str, sequence: int = 0, token: str = "", topic: str = "news") -> Ask:
    return Ask(
        queries=[ask.query(email, topic) for email in emails], sequence=sequence, token=token
    )


def kinds(told: Told) -> list[str | None]:
    return [one.WhichOneof("answer") for one in told.answers]


def verdicts(told: Told) -> list[int]:
    return [one.decision.verdict for one in told.answers]

"""grpc.health.v1 and grpc.reflection, with the manners of our own methods.

Their libraries' handlers answer bytes that are no message with INTERNAL. These take the bytes
themselves and answer INVALID_ARGUMENT.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message
from grpc import aio
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection, reflection_pb2

from heed.errors import InvalidArgumentError
from heed.task_group import TaskGroup
from heed.wire.parse import message
from heed_server.rpc.status import abort

M = TypeVar("M", bound=Message)

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

HEALTH_NAME: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


def add_health(
    server: aio.Server, servicer: health_aio.HealthServicer, watches_ended: asyncio.Event
) -> None:
    """Serve grpc.health.v1; watches of it end when `watches_ended` is set."""

    async def check(data: bytes, context: Any) -> health_pb2.HealthCheckResponse:
        asked = await _read(health_pb2.HealthCheckRequest, data, context)
        return await servicer.Check(asked, context)

    async def watch(data: bytes, context: Any) -> None:
        asked = await _read(health_pb2.HealthCheckRequest, data, context)
        async with TaskGroup() as group:
            watching = group.create_task(servicer.Watch(asked, context))
            await watches_ended.wait()
            watching.cancel()

    to_bytes = health_pb2.HealthCheckResponse.SerializeToString
    handlers: dict[str, _Handler] = {
        "Check": grpc.unary_unary_rpc_method_handler(check, response_serializer=to_bytes),
        "Watch": grpc.unary_stream_rpc_method_handler(watch, response_serializer=to_bytes),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(HEALTH_NAME, handlers),))


def add_reflection(server: aio.Server, service_names: Sequence[str]) -> None:
    """Describe these services, and reflection itself, to any caller."""
    servicer = reflection.aio.ReflectionServicer([*service_names, reflection.SERVICE_NAME])

    async def describe(
        requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        asked = _read_all(reflection_pb2.ServerReflectionRequest, requests, context)
        # The stubs call it a coroutine; it is an asynchronous generator.
        told: Any = servicer.ServerReflectionInfo(asked, context)
        async for described in told:
            yield described

    handler: _Handler = grpc.stream_stream_rpc_method_handler(
        describe,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                reflection.SERVICE_NAME, {"ServerReflectionInfo": handler}
            ),
        )
    )


async def _read_all(
    class_: type[M], requests: AsyncIterator[bytes], context: Any
) -> AsyncIterator[M]:
    async for data in requests:
        yield await _read(class_, data, context)


async def _read(class_: type[M], data: bytes, context: Any) -> M:
    try:
        return message(class_, data)
    except InvalidArgumentError as error:
        await abort(context, error)

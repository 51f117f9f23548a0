"""A span for each call but Checks and health, joined to the caller's trace.

Laws:
- It stands in a server's way only when traces are asked for: an interceptor costs every call.
- A span names the method and the status code, never anything of a request.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from grpc import aio
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_LEFT_OUT = (
    "/heed.v1.PreferenceService/CheckSuppression",
    "/heed.v1.PreferenceService/StreamCheckSuppression",
    "/grpc.health.v1.Health/",
    "/grpc.reflection.",
)

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"  # no generic when it runs


class TracingInterceptor(aio.ServerInterceptor):
    """Wraps unary handlers in a span; streams and Checks pass untouched."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """Return the method's own handler, or one that records a span around it."""
        handler: _Handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_LEFT_OUT):
            return handler
        behaviour: Callable[[Any, Any], Awaitable[Any]] | None = handler.unary_unary
        if behaviour is None:
            return handler
        carrier = {
            name: value
            for name, value in handler_call_details.invocation_metadata or ()
            if isinstance(value, str)
        }
        caller = self._propagator.extract(carrier)
        service, _, name = method.removeprefix("/").partition("/")

        async def traced(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
            with self._tracer.start_as_current_span(
                f"{service}/{name}",
                context=caller,
                kind=SpanKind.SERVER,
                attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
                record_exception=False,  # its text may hold what was asked
                set_status_on_exception=False,
            ) as span:
                try:
                    return await behaviour(request, context)
                except BaseException:
                    span.set_status(Status(StatusCode.ERROR))
                    raise
                finally:
                    span.set_attribute("rpc.grpc.status_code", _code_number(context))

        return grpc.unary_unary_rpc_method_handler(
            traced,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _code_number(context: aio.ServicerContext[Any, Any]) -> int:
    """The status code's number; a call that set none ended OK."""
    code: grpc.StatusCode | int = context.code()
    return int(code.value[0]) if isinstance(code, grpc.StatusCode) else code

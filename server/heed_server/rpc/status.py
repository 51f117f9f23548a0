"""How a call ends badly: the one place where errors become statuses.

Laws:
- What heed refuses keeps its reason, its metadata and its violations (`heed.wire.status`).
- What nobody foresaw is logged with its stack, without the values of the call, and answered so
  that the caller does the safe thing: UNAVAILABLE, never INTERNAL or UNKNOWN. A read was not
  answered (STORE_UNAVAILABLE: suppress, or ask another node); a write may or may not have happened
  (OUTCOME_UNKNOWN: the same call with the same key tells).
- A cancelled call is nobody's error and passes through; a caller that is gone has cancelled it.
"""

import asyncio
from typing import NoReturn

import grpc
import structlog
from grpc import aio

from heed.errors import HeedError, OutcomeUnknownError, UnavailableError
from heed.wire.status import DETAILS_METADATA_KEY, to_status

Context = grpc.aio.ServicerContext[bytes, bytes]

STATUS_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
"""gRPC's codes by their numbers."""

_log = structlog.stdlib.get_logger("heed_server.rpc")


async def abort(context: Context, error: HeedError) -> NoReturn:
    """End a call with an error."""
    status = to_status(error)
    await context.abort(
        STATUS_CODES[status.code],
        status.message,
        ((DETAILS_METADATA_KEY, status.SerializeToString()),),
    )


async def send(context: Context, message: bytes) -> None:
    """Send one message of a stream; returns once the transport has taken it.

    Raises:
        asyncio.CancelledError: the caller is gone. Where gRPC learns of it while it writes, it
            says so by an error of its own, and cancels nothing.
    """
    try:
        await context.write(message)
    except aio.InternalError:
        raise asyncio.CancelledError from None


def unforeseen(method: str, error: Exception, *, is_write: bool) -> HeedError:
    """Log a mistake of ours, and return what its caller is told."""
    _log.error("call_failed", method=method, error=type(error).__name__, at=_frames(error))
    if is_write:
        return OutcomeUnknownError(
            "this node failed at the call, which may or may not have been written; "
            "send the same call with the same key again"
        )
    return UnavailableError("this node failed to answer; ask another node, or do not send")


def _frames(error: Exception) -> list[str]:
    """Where it happened, innermost last. No message and no source line: either may hold a value."""
    frames: list[str] = []
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append(f"{code.co_qualname} ({code.co_filename}:{traceback.tb_lineno})")
        traceback = traceback.tb_next
    return frames

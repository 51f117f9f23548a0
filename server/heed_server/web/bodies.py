"""What the bodies of an edge's requests hold at a time, bounded in all.

Law: the first `BODY_BYTES_FREE` of each are always taken, so that what is small gets through
whatever others hold.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heed.errors import ErrorReason, ExhaustedError
from heed_server.web.limits import BODIES_BYTES_MAX, BODY_BYTES_FREE


class BoundedBodies:
    """An application whose requests together hold no more than so much.

    What is told of a body is held until its request is answered. One that goes beyond ends with an
    `ExhaustedError`, OVERLOADED, out of what it waits for; others are as they were.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        size = counted = 0

        async def within_bound() -> Message:
            nonlocal size, counted
            message = await receive()
            size += len(message.get("body", b""))
            more = max(0, size - BODY_BYTES_FREE) - counted
            if more and self._held + more > BODIES_BYTES_MAX:
                raise ExhaustedError(
                    "the requests that are read now hold as much as may be; wait and try again",
                    reason=ErrorReason.OVERLOADED,
                    metadata={"limit": "BODIES_BYTES_MAX"},
                )
            counted += more
            self._held += more
            return message

        try:
            await self._app(scope, within_bound, send)
        finally:
            self._held -= counted

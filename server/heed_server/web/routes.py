"""Which path is answered by what, of an HTTP edge.

Law: no answer redirects. A mailbox provider follows none, a provider takes one for a failure, and
where it would lead is said by whoever asks, in `Host`.
"""

from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute


def routed(
    routes: Sequence[BaseRoute], unknown: Callable[[Request, Exception], Awaitable[Response]]
) -> Starlette:
    """Return what answers each path by its route, and every other one by `unknown`."""
    app = Starlette(routes=routes, exception_handlers={HTTPException: unknown})
    app.router.redirect_slashes = False
    return app

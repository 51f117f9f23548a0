"""What REST answers: an ASGI application over the service.

Laws:
- Who calls is known, and has a place, before a body is read: strangers fill no memory.
- A write is answered 2xx only once it is committed; one whose outcome nobody knows is 503, and the
  same request with the same key tells.
- A body is JSON and is answered in JSON. No cookie is set or read, and no origin is allowed by
  CORS: a sender's credential has no business in a browser.
- A lookup that names a person is a POST: no identifier stands in a URL.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus

from starlette.types import Receive, Scope, Send

from heed_server.auth.credentials import Authenticator
from heed_server.rpc import Observe
from heed_server.service import Service
from heed_server.web.limits import RestLimits
from heed_server.web.measures import EdgeMetrics
from heed_server.web.rest import changes, docs, openapi
from heed_server.web.rest.calls import Serving, run_operation
from heed_server.web.rest.changes import run_changes
from heed_server.web.rest.exchange import JSON, Exchange
from heed_server.web.rest.openapi import encoded_document
from heed_server.web.rest.operations import OPERATIONS
from heed_server.web.rest.problems import RefusedError

_Answer = Callable[[Exchange], Awaitable[None]]


class RestApp:
    """Answers requests. One serves a listener."""

    def __init__(
        self,
        service: Service,
        authenticator: Authenticator | None,
        metrics: EdgeMetrics,
        limits: RestLimits,
        observe: Observe,
        *,
        observes_checks: bool = False,
        with_docs: bool = True,
    ) -> None:
        """`observe` is told of every call but Checks, and of those with `observes_checks`."""
        self._metrics = metrics
        serving = Serving(
            service=service,
            authenticator=authenticator,
            limits=limits,
            observe=observe,
            observes_checks=observes_checks,
        )
        self._resources: dict[str, Mapping[str, _Answer]] = {
            one.path: {"POST": partial(run_operation, serving, one)} for one in OPERATIONS
        }
        self._resources[changes.PATH] = {"GET": partial(run_changes, serving)}
        if with_docs:
            self._resources[openapi.PATH] = _shown(encoded_document(), JSON, {})
            self._resources[docs.PATH] = _shown(docs.page(), docs.HTML, docs.HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(scope, receive, send, self._metrics)
        resource = self._resources.get(scope["path"])
        if resource is None:
            said = "there is nothing here; /v1/docs says what is"
            await exchange.refuse(RefusedError(HTTPStatus.NOT_FOUND, said))
            return
        answer = resource.get(exchange.method)
        if answer is not None:
            await answer(exchange)
            return
        allowed = {"Allow": ", ".join((*resource, "OPTIONS"))}
        if exchange.method == "OPTIONS":
            await exchange.answer(HTTPStatus.NO_CONTENT, headers=allowed)
            return
        said = f"it takes {' and '.join(resource)}"
        await exchange.refuse(RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, said, allowed))


def _shown(body: bytes, media_type: str, headers: Mapping[str, str]) -> Mapping[str, _Answer]:
    """What anybody may read, which is the same for all."""

    async def show(exchange: Exchange) -> None:
        await exchange.answer(HTTPStatus.OK, body, headers, media_type)

    return {"GET": show, "HEAD": show}

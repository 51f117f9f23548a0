"""What the inbound edge answers: a provider reports, and 2xx means that it is recorded.

Laws:
- Nothing is recorded that was not verified, and nothing verified is refused for its rate. What
  cannot be verified has a rate, by address.
- 200 is said only of a notification all of whose stops are committed. What is not known to be is
  503 with Retry-After: providers come again, and what was recorded is found recorded.
- What is verified and can never be taken is 422 or 413, logged and counted: it is a stop that is
  lost. What was readable beside it is recorded all the same.
- A notification only ever stops. Its source acts as a principal with the rights to suppress and to
  record opt-outs in its tenant, and without the right to record an opt-in.
- No address of a person is logged, nor any part of a body.

Source: ADR 0050.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from heed.errors import ConflictError, ErrorReason, ExhaustedError, HeedError
from heed.model import Instant
from heed_server.auth.policy import Principal, Right
from heed_server.rates import Rate
from heed_server.service import Service
from heed_server.web.inbound.measures import NO_SOURCE, InboundMetrics
from heed_server.web.inbound.notification import (
    Notification,
    NotReadableError,
    NotVerifiableError,
    NotVerifiedError,
    Subscription,
    Why,
)
from heed_server.web.inbound.opening import OpenSource, Sources
from heed_server.web.inbound.provider import computed
from heed_server.web.inbound.recording import ACTS_AS, Recording, recording_of
from heed_server.web.inbound.sns import is_subscribe_url
from heed_server.web.inbound.sns_certificates import SigningCertificates
from heed_server.web.inbound.sources import Provider, Reading
from heed_server.web.limits import (
    INVALID_BURST_SECONDS,
    RETRY_AFTER_SECONDS,
    InboundLimits,
)
from heed_server.web.measures import EdgeMetrics
from heed_server.web.routes import routed
from heed_server.web.strangers import body_of, network_of

PATH: Final = "/inbound/"
"""What stands before the name of a source."""
RECORD_SECONDS_MAX: Final = 10.0
"""How long a notification may take to be committed; then it is 503, and the next finds it done.
Higher: SNS, which waits for 15 s, gives up sooner than heed. Lower: a slow database costs more of
them."""
UNREADABLE_LOGGED_MAX: Final = 10
"""Malformed events of one notification that are logged one by one."""
LOG_SECONDS: Final = 60.0
"""How long a reason of a source is not logged again: nobody fills the log by calling."""

_TEXT: Final = "text/plain; charset=utf-8"
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_CLOSE: Final = {"Connection": "close"}
_RETRY: Final = {"Retry-After": str(RETRY_AFTER_SECONDS)}
_ASK_PASSWORD: Final = {"WWW-Authenticate": 'Basic realm="heed", charset="UTF-8"'}
_RIGHTS: Final = frozenset({Right.SUPPRESS, Right.WRITE})

_log = structlog.stdlib.get_logger("heed_server.web")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """What the edge is made of."""

    service: Service
    sources: Sources
    certificates: SigningCertificates
    metrics: EdgeMetrics
    counted: InboundMetrics
    limits: InboundLimits
    now: Callable[[], Instant]
    behind_proxy: bool


def build_app(inbound: Inbound) -> Starlette:
    """Return what answers requests."""
    notifications = _Notifications(inbound)

    async def unknown(request: Request, _error: Exception) -> Response:
        return notifications.ended(request, _answer(404, "there is nothing here"))

    return routed([Route(PATH + "{name}", notifications)], unknown)


class _Notifications:
    """Notifications, an ASGI application."""

    def __init__(self, inbound: Inbound) -> None:
        self._parts = inbound
        self._counted = inbound.counted
        self._remarks = _Remarks()
        self._invalid = Rate(
            "invalid_per_second_max",
            inbound.limits.invalid_per_second_max,
            INVALID_BURST_SECONDS,
            time.monotonic,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception:  # noqa: BLE001 - the root of a request
            # What was not foreseen may have come after a commit: the retry tells.
            _log.exception("request_failed")
            response = _not_done()
        await self.ended(request, response)(scope, receive, send)

    def ended(self, request: Request, response: Response) -> Response:
        """Count an answer and return it."""
        self._parts.metrics.answered(request.method, response.status_code)
        return response

    async def _respond(self, request: Request) -> Response:
        found = self._parts.sources.find(request.path_params["name"])
        if found is None:
            self._counted.ended(NO_SOURCE, "not_verified")
            return self._limited(request, 404, "there is no source of this name")
        if request.method != "POST":
            return _answer(405, "a provider posts here", {"Allow": "POST"})
        name = found.source.name
        try:
            return await self._take(request, found)
        except NotVerifiedError as error:
            self._counted.not_verified(name, error.why)
            self._remarks.note(name, error.why)
            return self._refuse(request, found, error.why)
        except NotVerifiableError as error:
            self._counted.ended(name, "failed")
            _log.error("notification_not_verifiable", source=name, why=str(error))
            return _not_done()
        except NotReadableError as error:
            self._counted.ended(name, "unreadable")
            _log.error(
                "notification_unreadable", source=name, field=error.field, why=error.description
            )
            return _answer(422, f"{error.field}: {error.description}")
        except ExhaustedError as error:  # leave was not given
            return _too_many(error)

    async def _take(self, request: Request, found: OpenSource) -> Response:
        found.opener.admit(request.headers)
        try:
            body = await body_of(request, self._parts.limits.body_bytes_max)
        except ExhaustedError as error:  # not 429: SNS would not come again
            return self._failed(found, error.reason.value)
        if body is None:
            self._counted.ended(found.source.name, "too_large")
            _log.error("notification_too_large", source=found.source.name)
            return _answer(413, "it is too large; see inbound.body_bytes_max", _CLOSE)
        began = time.perf_counter()
        reading = Reading(source=found.source, now=self._parts.now())
        said = await found.opener.open(
            request.headers, body, reading, leave=lambda: self._take_invalid(request)
        )
        if isinstance(said, Subscription):
            return await self._subscribed(said, found)
        recording = await computed(len(body), lambda: recording_of(said, found.source))
        return await self._record(said, recording, found, began)

    async def _record(
        self, notification: Notification, recording: Recording, found: OpenSource, began: float
    ) -> Response:
        source = found.source
        principal = Principal(name=ACTS_AS + source.name, rights=_RIGHTS, tenant=source.tenant)
        try:
            async with asyncio.timeout(RECORD_SECONDS_MAX):
                for call in recording.calls:
                    await self._parts.service.record_report(principal, call)
        except ConflictError as error:
            if error.reason is not ErrorReason.IDEMPOTENCY_KEY_REUSED:
                return self._failed(found, error.reason.value)
            raise NotVerifiedError(Why.REUSED) from None
        except HeedError as error:
            return self._failed(found, error.reason.value)
        except TimeoutError:
            return self._failed(found, "TIMEOUT")
        for event, became in zip(notification.events, recording.became, strict=True):
            self._counted.became(source.name, event.word, became)
        wrong = _unreadable(notification, source.name)
        if wrong:
            self._counted.ended(source.name, "unreadable")
            return _answer(422, f"{wrong} of {len(notification.events)} events are malformed")
        self._counted.took(time.perf_counter() - began)
        self._counted.ended(source.name, "taken" if recording.calls else "nothing")
        return _answer(200, "taken")

    def _failed(self, found: OpenSource, reason: str) -> Response:
        name = found.source.name
        self._counted.ended(name, "failed")
        _log.warning("notification_not_recorded", source=name, reason=reason)
        return _not_done()

    async def _subscribed(self, said: Subscription, found: OpenSource) -> Response:
        """Have a subscription confirmed, or tell the operator of it."""
        source = found.source
        if said.has_ended:
            self._counted.ended(source.name, "subscription_ended")
            _log.error("subscription_ended", source=source.name, topic_arn=said.topic_arn)
            return _answer(200, "taken")
        if not is_subscribe_url(said.url, said.topic_arn):
            raise NotVerifiedError(Why.CERTIFICATE)
        if not source.confirm:
            self._counted.ended(source.name, "subscription_waits")
            _log.warning(
                "subscription_waits",
                source=source.name,
                topic_arn=said.topic_arn,
                visit=said.url,
            )
            return _answer(200, "taken")
        await self._parts.certificates.confirm(said.url)
        self._counted.ended(source.name, "subscription_confirmed")
        _log.info("subscription_confirmed", source=source.name, topic_arn=said.topic_arn)
        return _answer(200, "confirmed")

    def _refuse(self, request: Request, found: OpenSource, why: Why) -> Response:
        # SNS, and nobody else, does not come again for 4xx; of 401 it asks its password.
        asks = bool(found.source.user) and why in {Why.ABSENT, Why.MALFORMED, Why.PASSWORD}
        if found.source.provider is Provider.SES and not asks:
            return self._limited(request, 403, "it is not verified")
        return self._limited(request, 401, "it is not verified", _ASK_PASSWORD if asks else None)

    def _limited(
        self, request: Request, code: int, said: str, headers: dict[str, str] | None = None
    ) -> Response:
        """Answer what is not verified, less often than it is tried."""
        try:
            self._take_invalid(request)
        except ExhaustedError as error:
            return _too_many(error)
        return _answer(code, said, {**_CLOSE, **(headers or {})})

    def _take_invalid(self, request: Request) -> None:
        network = network_of(request, behind_proxy=self._parts.behind_proxy)
        self._invalid.take(Principal(name=network, rights=frozenset()))


class _Remarks:
    """Logs what is not verified, each source and reason at most once in `LOG_SECONDS`."""

    def __init__(self) -> None:
        self._noted: dict[tuple[str, Why], tuple[float, int]] = {}
        """When it was logged, and how often it came since."""

    def note(self, source: str, why: Why) -> None:
        """Take note of one."""
        now = time.monotonic()
        logged_at, times = self._noted.get((source, why), (-math.inf, 0))
        if now - logged_at < LOG_SECONDS:
            self._noted[source, why] = logged_at, times + 1
            return
        self._noted[source, why] = now, 0
        _log.warning("notification_not_verified", source=source, why=why.value, times=times + 1)


def _unreadable(notification: Notification, source: str) -> int:
    """Log the events that are malformed, and return how many there are."""
    wrong = [(one.word, said) for one in notification.events if (said := one.unreadable)]
    for word, said in wrong[:UNREADABLE_LOGGED_MAX]:
        _log.error(
            "event_unreadable", source=source, said=word, field=said.field, why=said.description
        )
    return len(wrong)


def _not_done() -> Response:
    return _answer(503, "it is not recorded yet; send it again", _RETRY)


def _too_many(error: ExhaustedError) -> Response:
    seconds = 1 + int(error.metadata["retry_ms"]) // 1_000
    return _answer(429, "too many that are not verified", {"Retry-After": str(seconds), **_CLOSE})


def _answer(code: int, said: str, headers: dict[str, str] | None = None) -> Response:
    return Response(said + "\n", code, {**_HEADERS, **(headers or {})}, _TEXT)

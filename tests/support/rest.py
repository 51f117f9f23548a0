"""Asks REST: its application in this process, or a server's over a socket."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from heed_server.auth.credentials import Authenticator
from heed_server.rpc.server import unheard
from heed_server.service import Service
from heed_server.web.limits import RestLimits
from heed_server.web.measures import WebMetrics
from heed_server.web.rest.app import RestApp
from heed_server.web.rest.exchange import JSON
from tests.support.web import Answered, ask

ADA = "ada@example.com"
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Told:
    """What was answered, its body read."""

    code: int
    headers: Mapping[str, str]
    body: Any

    @property
    def reason(self) -> str:
        """The reason of a problem; empty: it has none."""
        assert self.headers["content-type"] == PROBLEM
        return str(self.body.get("reason", ""))

    @property
    def pointers(self) -> list[str]:
        """The places that a problem names."""
        return [one["pointer"] for one in self.body["violations"]]


class Rest:
    """REST of a server in this process."""

    def __init__(
        self,
        service: Service,
        authenticator: Authenticator | None = None,
        limits: RestLimits | None = None,
    ) -> None:
        self.app = RestApp(
            service,
            authenticator,
            WebMetrics(CollectorRegistry()).of("rest"),
            limits or RestLimits(),
            unheard,
        )

    async def post(
        self,
        path: str,
        body: object,
        headers: Mapping[str, str] | None = None,
        *,
        key: str = "",
        state: Mapping[str, object] | None = None,
    ) -> Told:
        """Post a body; `key` is an API key, and `state` what a listener says of the connection."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        said = {"content-type": JSON, **(headers or {})}
        return await self.ask("POST", path, sent, said, key=key, state=state)

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        key: str = "",
        state: Mapping[str, object] | None = None,
    ) -> Told:
        """Ask anything."""
        said = {**(headers or {}), **({"authorization": f"Bearer {key}"} if key else {})}
        return told(await ask(self.app, method, path, body, headers=said, state=state))


def told(answered: Answered) -> Told:
    """Return an answer with its body read."""
    body = json.loads(answered.body) if answered.body else None
    return Told(answered.code, answered.headers, body)


def a_check(email: str = ADA, **said: object) -> dict[str, object]:
    """Return a check's body."""
    return {"subjects": [{"email": email}], "channel": "email", "topic": "marketing.weekly", **said}

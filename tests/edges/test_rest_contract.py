"""REST held against its own OpenAPI by schemathesis: every check it has, and no failure."""

import json
import os
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema
from schemathesis.hooks import unregister

from heed.zones import zone_names
from heed_server.web.rest import openapi
from tests.support.rest_served import RestServed

RIGHTS = ("check", "write", "consent", "watch")
TOKEN = "AQAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAA"
EARLIER = "2026-03-01T12:00:00Z"
LATEST = "9999-12-31T23:59:59Z"
FORMATS = {
    "phone": st.from_regex(r"\A\+[1-9](?:[ ./-]?[0-9]){6,14}\Z"),
    "heed-token": st.just(TOKEN),
    "heed-time-zone": st.sampled_from(zone_names()),
    "heed-network": st.sampled_from(["", "192.0.2.0/24", "2001:db8::/48"]),
}
"""What JSON Schema has no words for."""
LIKE_OTHERS = (
    "/v1/checks/batch", "/v1/opt-ins", "/v1/pauses", "/v1/pauses/end", "/v1/quiet-hours/end",
)  # fmt: skip
"""What is made of the same parts as what is asked systematically; these are asked by chance."""
EXAMPLES = int(os.environ.get("HEED_TEST_REST_EXAMPLES", "0"))
"""`make soak` asks each so often."""


@pytest.fixture(autouse=True)
def hooks() -> Any:
    for name, strategy in FORMATS.items():
        schemathesis.openapi.format(name, strategy)
    schemathesis.hook(before_call)
    yield
    unregister(before_call)


def before_call(_context: object, case: Any, _kwargs: object) -> None:
    """See to what no schema can say of a request, where it is right as far as one can.

    A key names one request for ever, what was decided is not ahead, what ends is after that, and a
    scope is the same whether its defaults are said. And nobody waits for subscribers that do not report.
    """
    key = case.headers and case.headers.get("Idempotency-Key")
    if isinstance(key, str) and _KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = str(uuid4())
    if not isinstance(case.body, dict):
        return
    if _is_number(case.body.get("wait_propagated_seconds")):
        case.body["wait_propagated_seconds"] = 0
    if _is_time(case.body, "no_ask_until"):
        case.body["no_ask_until"] = LATEST
    if _is_time(case.body, "end_time"):
        case.body["end_time"] = LATEST
    origin = case.body.get("origin")
    if isinstance(origin, dict) and _is_time(origin, "decided_time"):
        origin["decided_time"] = EARLIER
    if isinstance(case.body.get("scopes"), list):
        scopes = {json.dumps(_whole(one), sort_keys=True): one for one in case.body["scopes"]}
        case.body["scopes"] = list(scopes.values())


def _is_time(body: dict[str, object], name: str) -> bool:
    value = body.get(name)
    return isinstance(value, str) and _TIME.fullmatch(value) is not None


def _whole(scope: object) -> object:
    return {"channel": "any", "topic": "", **scope} if isinstance(scope, dict) else scope


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 30


_KEY = re.compile(r"[!#-~]([ -~]{0,126}[!-~])?")
_TIME = re.compile(r"[12][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-9:]{8}(\.[0-9]{1,9})?(Z|[+-][0-9:]{5})")


def run(served: RestServed, **said: Any) -> tuple[int, list[str]]:
    """Ask everything; return how much was asked, and what failed."""
    config = SchemathesisConfig.from_dict(
        {
            "base-url": served.url,
            "auth": {"openapi": {"bearer": {"bearer": served.key}}},
            "max-stream-events": 3,
            "continue-on-failure": True,
            "cache": {"enabled": False},
            **said,
        }
    )
    schema = schemathesis.openapi.from_dict(openapi.document(), config=config)
    asked, failures = 0, []
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished():
                recorder = event.recorder
                asked += len(recorder.checks)
                failures += [
                    _told(event.label, check, recorder.interactions[case_id])
                    for case_id, checks in recorder.checks.items()
                    for check in checks
                    if check.status is Status.FAILURE
                ]
            case events.NonFatalError():
                failures.append(f"{event.label}: {event.info}")
            case events.FatalError():
                raise event.exception
            case _:
                pass
    return asked, failures


def _told(label: str | None, check: Any, done: Any) -> str:
    """What failed, and by which request and answer."""
    request, response = done.request, done.response
    answer = "" if response is None else f"{response.status_code} {response.content[:300]!r}"
    return (
        f"{label} {check.name}: {check.failure_info.failure}\n"
        f"  {request.method} {request.uri} {request.headers} {request.body!r}\n  {answer}"
    )


def test_whatever_is_asked_is_answered_as_the_openapi_says(tmp_path: Path) -> None:
    """Bounded, and the same in each run; `make soak` asks all of it, and other things each time."""
    said: dict[str, Any] = {
        "seed": 1,
        "generation": {"max-examples": 4, "deterministic": True, "database": "none"},
        "operations": [{"include-path": path, "phases": _UNCOVERED} for path in LIKE_OTHERS],
    }
    if EXAMPLES:
        said = {"generation": {"max-examples": EXAMPLES, "database": "none"}}

    with RestServed(tmp_path, *RIGHTS) as served:
        asked, failures = run(served, **said)

    assert failures == [], "\n".join(failures)
    assert asked > 500


_UNCOVERED = {"coverage": {"enabled": False}}

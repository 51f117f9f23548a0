"""The matrix of who may call what, over REST: nobody is let through whom gRPC keeps out.

The cells, and what each has to be answered, are those of test_rights_matrix; the credentials too.
A cell is let through when its request is refused by none of the reasons of who calls.
"""

import random
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from heed_server.auth.credentials import Authenticator
from heed_server.service.admission import Admission
from heed_server.web.connections import CERTIFICATE
from heed_server.web.rest.operations import OPERATIONS
from tests.edges.test_rights_matrix import (
    EVERY_RIGHT,
    OF_WHO_CALLS,
    OTHER,
    UNLIMITED,
    Callers,
    Cell,
    Given,
    _Later,
    callers,
    cells,
)
from tests.support.rest import ADA, Rest, a_check
from tests.support.rest_followed import following
from tests.support.servers import Running, running_server

__all__ = ["callers"]

SUBJECTS: Final = [{"email": ADA}]
ORIGIN: Final = {"source": "crm", "method": "web_form", "decided_time": "2026-03-01T12:00:00Z"}
EVIDENCE: Final = {"notice": "n", "notice_version": "1", "act": "pressed", "language": "en"}
BODIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "/v1/checks": a_check(),
    "/v1/checks/batch": {"queries": [a_check()]},
    "/v1/preferences/lookup": {"subjects": SUBJECTS},
    "/v1/opt-outs": {"subjects": SUBJECTS, "origin": ORIGIN},
    "/v1/opt-ins": {"subjects": SUBJECTS, "origin": ORIGIN, "evidence": EVIDENCE},
    "/v1/pauses": {"subjects": SUBJECTS, "origin": ORIGIN, "end_time": "2099-01-01T00:00:00Z"},
    "/v1/pauses/end": {"subjects": SUBJECTS, "origin": ORIGIN},
    "/v1/quiet-hours": {
        "subjects": SUBJECTS,
        "origin": ORIGIN,
        "time_zone": "Europe/Vienna",
        "periods": [{"start": "22:00", "end": "08:00"}],
    },
    "/v1/quiet-hours/end": {"subjects": SUBJECTS, "origin": ORIGIN},
    "/v1/changes/applied": {"stream_id": "none", "applied_revision": 0, "probe": 1},
}
BESIDES: Final = {"/v1/opt-ins": frozenset({"consent"})}
"""What a path needs besides the right of its method."""
AMPLE: Final = EVERY_RIGHT - {"export"}
SAMPLE: Final = 300


@pytest.fixture
async def guarded(tmp_path: Path, callers: Callers) -> AsyncIterator[tuple[Running, Rest]]:
    """A server with two tenants, and REST of it; both ask one authenticator."""
    made: list[_Later] = []

    def authenticator(store: Any) -> Authenticator:
        made.append(_Later(store))
        return made[0]

    async with running_server(
        tmp_path, authenticator=authenticator, admission=Admission(rates=UNLIMITED)
    ) as running:
        await running.store.create_tenant(OTHER, bytes(32))
        await running.tenants.learn(await running.store.tenants())
        known = await callers.authenticator(running.store)
        await known.refresh()
        made[0].become(known)
        yield running, Rest(running.service, known)


def method_of(path: str) -> str:
    return next(one.method.name for one in OPERATIONS if one.path == path)


def cells_of(path: str) -> list[Cell]:
    """The cells of its method, and some that have all that any path needs."""
    method = method_of(path)
    amply = [replace(one, role=replace(one.role, rights=AMPLE)) for one in cells([method])]
    return list(dict.fromkeys([*cells([method]), *amply]))


def is_allowed(path: str, cell: Cell) -> bool:
    return cell.is_allowed and cell.role.rights >= BESIDES.get(path, frozenset())


async def reason_of(rest: Rest, path: str, cell: Cell, given: Given) -> str:
    """By what reason a cell is refused; empty: it is not."""
    headers = {name: str(value) for name, value in given.metadata}
    state = {} if given.certificate is None else {CERTIFICATE: given.certificate}
    body = {**BODIES[path], "tenant": cell.named}
    told = await rest.post(path, body, {**headers, "idempotency-key": "key-1"}, state=state)
    return "" if told.code < 300 else told.reason


@pytest.mark.parametrize("path", BODIES)
async def test_no_cell_is_let_through_that_should_not_be_and_none_is_kept_out(
    guarded: tuple[Running, Rest],
    callers: Callers,
    path: str,
) -> None:
    running, rest = guarded
    draw = random.Random(path)
    every = cells_of(path)
    to_refuse = [cell for cell in every if not is_allowed(path, cell)]
    to_allow = [cell for cell in every if is_allowed(path, cell)]

    async def odd(chosen: Iterable[Cell]) -> list[tuple[Cell, str]]:
        reasons = [(cell, await reason_of(rest, path, cell, callers.of(cell))) for cell in chosen]
        return [
            (cell, reason)
            for cell, reason in reasons
            if (reason not in OF_WHO_CALLS) != is_allowed(path, cell)
        ]

    let_through = await odd(draw.sample(to_refuse, SAMPLE))
    heads = await running.heads()
    kept_out = await odd(to_allow)

    assert (let_through, kept_out) == ([], [])
    assert set(heads.values()) == {0}
    assert to_allow


async def test_the_stream_of_changes_is_kept_from_whom_it_should_be(
    guarded: tuple[Running, Rest],
    callers: Callers,
) -> None:
    _, rest = guarded
    draw = random.Random(5)
    keyed = [cell for cell in cells(["WatchChanges"]) if cell.kind == "key"]
    odd: list[Cell] = []
    for cell in [*draw.sample(keyed, 60), *(cell for cell in keyed if cell.is_allowed)]:
        said = dict(callers.of(cell).metadata)["authorization"]
        key = str(said).removeprefix("Bearer ")
        query = f"subscriber=mailer-1&tenant={cell.named}"
        async with following(rest, query, key=key) as stream:
            is_told = await stream.has_begun()
        if is_told != cell.is_allowed:
            odd.append(cell)

    assert odd == []


def test_every_path_has_a_body_here() -> None:
    assert set(BODIES) == {one.path for one in OPERATIONS}

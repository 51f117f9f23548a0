"""What a caller without the right may not learn, the time of an answer does not tell either.

In process and in one order mixed by a seed, so that what else the host does falls on both alike. A
share of 0.5 says that of a known and an unknown address each is the slower as often.
"""

import random
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import pytest
from google.protobuf.message import Message

from heed.errors import ErrorReason
from heed.keys import Keyer, LookupKeys
from heed.model import Revision, TenantId
from heed.tokens import encode_token
from heed_server.rates import RateLimits
from heed_server.service.admission import Admission
from tests.support import requests as ask
from tests.support.api_keys import Keys
from tests.support.identities import bearing
from tests.support.in_process import Edge, Ended
from tests.support.rights import rights_of_methods
from tests.support.servers import TENANT, Running, running_server

PEOPLE = 100
PAIRS = 6_000
SHARE_MAX = 0.55
"""The most that an observer may tell apart."""
OTHER = "other"
NEEDED = rights_of_methods()
UNLIMITED = RateLimits(
    writes_per_second_max=0,
    reads_per_second_max=0,
    streams_per_second_max=0,
)
ABOUT_PEOPLE = ("CheckSuppression", "GetPreferences", "GetHistory", "Explain", "ExportSubject")


def about(name: str, address: str) -> Any:
    """The valid request of a method, about a person."""
    asked: Any = ask.VALID[name]()
    subjects = asked.query.subjects if hasattr(asked, "query") else asked.subjects
    subjects[0].email = address
    return asked


class Guarded:
    """A server whose callers need a key, that knows so many people."""

    def __init__(self, running: Running, keys: Keys) -> None:
        assert keys.authenticator is not None
        self.running = running
        self.keys = keys
        self.edge = Edge(running.service, keys.authenticator)
        (self.tenant_id,) = (one.tenant_id for one in running.tenants.all() if one.name == TENANT)

    async def call(self, name: str, asked: Message, key: str) -> Ended:
        return await self.edge.call(name, asked.SerializeToString(), bearing(key))


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    keys = Keys()
    async with running_server(
        tmp_path, authenticator=keys, admission=Admission(rates=UNLIMITED)
    ) as running:
        await running.store.create_tenant(OTHER, bytes(32))
        await running.tenants.learn(await running.store.tenants())
        made = Guarded(running, keys)
        writer = await keys.of("write", tenant=TENANT)
        for number in range(PEOPLE):
            asked = ask.set_preference(email=known(number), key=f"key-{number:08}")
            ended = await made.call("SetPreference", asked, writer)
            assert ended.error is None, ended.error
        yield made


def known(number: int) -> str:
    return f"known{number:04}@example.com"


def unknown(number: int) -> str:
    return f"other{number:04}@example.com"


@pytest.mark.parametrize("name", ABOUT_PEOPLE)
@pytest.mark.parametrize("tenant", [TENANT, OTHER], ids=["no right", "no tenant"])
async def test_a_call_that_is_refused_looks_nobody_up(
    guarded: Guarded, name: str, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So there is nothing that its time could tell."""
    right = NEEDED[name]
    rights = {right} if tenant == OTHER else {"check", "write", "audit", "export"} - {right}
    key = await guarded.keys.of(*rights, tenant=tenant)
    needed = await guarded.keys.of(right, tenant=TENANT)
    looked_up: list[str] = []
    for method in ("key", "key_of"):
        monkeypatch.setattr(Keyer, method, noting(getattr(Keyer, method), looked_up))
    for one in guarded.running.tenants.all():
        one.lookup = LookupKeys(one.tenant.lookup_keys)
    asked: Any = about(name, known(1))
    asked.tenant = TENANT

    refused = await guarded.call(name, asked, key)
    by_then = list(looked_up)
    control = await guarded.call(name, asked, needed)

    assert refused.error is not None
    assert refused.error.reason in {ErrorReason.RIGHT_REQUIRED, ErrorReason.TENANT_UNKNOWN}
    assert by_then == []
    assert control.error is None
    assert looked_up != []


@pytest.mark.parametrize("name", ["CheckSuppression", "GetPreferences"])
async def test_the_time_of_a_refusal_does_not_tell_who_is_known(
    guarded: Guarded, name: str
) -> None:
    key = await guarded.keys.of("watch", tenant=TENANT)

    share = await share_slower(guarded, name, key)

    assert 1 - SHARE_MAX <= share <= SHARE_MAX


async def test_the_measure_tells_where_the_answer_may(guarded: Guarded) -> None:
    """The control: who has the right is told who is known, and sooner or later one can see it."""
    key = await guarded.keys.of("check", tenant=TENANT)

    assert abs(await share_slower(guarded, "CheckSuppression", key) - 0.5) > 0.1


async def test_a_token_of_another_tenant_tells_nothing_of_it(guarded: Guarded) -> None:
    """Neither how far that one is, nor by a wait whether its revision is there yet."""
    key = await guarded.keys.of("check", tenant=OTHER)
    head = await guarded.running.store.head(guarded.tenant_id)
    tokens = [
        encode_token(
            epoch=head.epoch,
            tenant_id=head_of,
            revision=Revision(revision),
            running_hash=running_hash,
        )
        for head_of in (guarded.tenant_id, TenantId(guarded.tenant_id + 99))
        for revision, running_hash in (
            (head.revision, head.running_hash),
            (head.revision, bytes(32)),
            (head.revision + 1_000, bytes(32)),
        )
    ]

    told = [
        (await guarded.call("CheckSuppression", ask.check(token=one), key)).error for one in tokens
    ]

    assert {None if one is None else one.reason for one in told} == {ErrorReason.STORE_MISMATCH}


def noting(method: Callable[..., Any], looked_up: list[str]) -> Callable[..., Any]:
    """A method that says that it was called."""

    def noted(*said: Any) -> Any:
        looked_up.append(method.__name__)
        return method(*said)

    return noted


async def share_slower(guarded: Guarded, name: str, key: str) -> float:
    """How often an answer about a known address takes longer than one about an unknown one."""
    chosen = random.Random(7)
    metadata = bearing(key)
    order = [is_known for is_known in (True, False) for _ in range(PAIRS)]
    chosen.shuffle(order)
    taken: dict[bool, list[int]] = {True: [], False: []}
    for is_known in order:
        address = (known if is_known else unknown)(chosen.randrange(PEOPLE))
        asked = about(name, address).SerializeToString()
        begun = perf_counter_ns()
        await guarded.edge.call(name, asked, metadata)
        taken[is_known].append(perf_counter_ns() - begun)
    return auc(taken[True], taken[False])


def auc(these: Sequence[int], others: Sequence[int]) -> float:
    """The area under the curve: the chance that one of these is more than one of the others."""
    ranked = sorted(others)
    more = sum(bisect_left(ranked, one) + bisect_right(ranked, one) for one in these) / 2
    return more / (len(these) * len(others))

"""What happens now: samples of what was counted, of so many tenants."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from heed.model import Instant, Revision, Rule, TenantId
from heed_server.service import activity
from heed_server.service.activity import SAMPLES_KEPT_MAX, Activity
from heed_server.service.tally import Tally
from heed_server.service.tenants import TenantContext, Tenants


class Server:
    """Tenants with counts, of this process and of its workers, and a clock."""

    def __init__(self, count: int = 1) -> None:
        self.contexts = [
            SimpleNamespace(
                tenant_id=TenantId(number),
                tally=Tally(),
                follower=SimpleNamespace(head_revision=Revision(0)),
            )
            for number in range(1, count + 1)
        ]
        self.of_workers: dict[TenantId, Tally] = {}
        self.seconds = 0
        self.activity = Activity(
            cast("Tenants", SimpleNamespace(all=lambda: self.contexts)),
            lambda: self.of_workers,
            lambda: Instant(self.seconds * 1_000_000),
        )

    def tenant(self, number: int) -> TenantContext:
        return cast("TenantContext", self.contexts[number - 1])


def answered(times: int) -> Tally:
    tally = Tally()
    tally.by_rule[Rule.OPT_OUT] = times
    return tally


def test_a_sample_counts_what_workers_answered_too() -> None:
    server = Server()
    server.tenant(1).tally.by_rule[Rule.DEFAULT] = 3
    server.of_workers = {TenantId(1): answered(2)}

    (now,) = server.activity.samples(server.tenant(1))

    assert (now.answers, now.by_rule[Rule.OPT_OUT], now.by_rule[Rule.DEFAULT]) == (5, 2, 3)


def test_samples_are_kept_the_oldest_first_with_one_of_now_at_the_end() -> None:
    server = Server()
    for _ in range(SAMPLES_KEPT_MAX + 5):
        server.activity.sample()
        server.seconds += 2

    samples = server.activity.samples(server.tenant(1))

    assert len(samples) == SAMPLES_KEPT_MAX + 1
    assert [one.time for one in samples] == sorted(one.time for one in samples)
    assert samples[0].time == 5 * 2 * 1_000_000
    assert samples[-1].time == server.seconds * 1_000_000


def test_of_very_many_tenants_those_are_sampled_that_were_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(activity, "SAMPLED_TENANTS_MAX", 3)
    server = Server(6)
    for number in (4, 6):
        server.activity.samples(server.tenant(number))

    server.activity.sample()

    sampled = [len(server.activity.samples(server.tenant(number))) - 1 for number in range(1, 7)]
    assert sampled == [1, 0, 0, 1, 0, 1]


def test_a_tenant_that_is_looked_at_takes_the_place_of_the_one_looked_at_longest_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(activity, "SAMPLED_TENANTS_MAX", 2)
    server = Server(3)
    for number in (1, 2, 3):
        server.activity.samples(server.tenant(number))

    server.activity.sample()

    kept: dict[TenantId, Any] = server.activity._samples
    assert set(kept) == {2, 3}

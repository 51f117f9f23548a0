"""Token buckets: what one principal may ask for in a second."""

import pytest

from heed.errors import ErrorReason, ExhaustedError
from heed_server import rates as module
from heed_server.auth.policy import Principal
from heed_server.rates import RateKind, RateLimits, Rates

ADA = Principal(name="ada", rights=frozenset())
BOB = Principal(name="bob", rights=frozenset())


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def rates_of(clock: Clock) -> Rates:
    """Ten reads a second, for two seconds' worth at once."""
    return Rates(RateLimits(reads_per_second_max=10, burst_seconds=2), seconds=clock)


def passed(rates: Rates, principal: Principal = ADA, *, tries: int = 100) -> int:
    """How many reads pass, one after the other, before one is refused."""
    for count in range(tries):
        try:
            rates.take(RateKind.READS, principal)
        except ExhaustedError:
            return count
    return tries


def test_who_was_silent_may_ask_for_a_burst_and_then_as_the_rate_gives(clock: Clock) -> None:
    rates = rates_of(clock)

    assert passed(rates) == 20
    clock.seconds += 0.5
    assert passed(rates) == 5
    clock.seconds += 3_600
    assert passed(rates) == 20


def test_one_caller_takes_nothing_from_another(clock: Clock) -> None:
    rates = rates_of(clock)

    passed(rates, ADA)

    assert passed(rates, BOB) == 20


def test_the_same_name_in_another_tenant_is_another_caller(clock: Clock) -> None:
    rates = rates_of(clock)

    passed(rates, Principal(name="ada", rights=frozenset(), tenant="acme"))

    assert passed(rates, ADA) == 20


def test_a_refusal_says_when_the_next_call_passes(clock: Clock) -> None:
    rates = rates_of(clock)
    rates.take(RateKind.READS, ADA, 25)

    with pytest.raises(ExhaustedError) as refused:
        rates.take(RateKind.READS, ADA)

    assert refused.value.reason is ErrorReason.RATE_LIMITED
    assert refused.value.metadata == {"limit": "reads_per_second_max", "retry_ms": "600"}
    clock.seconds += 0.599
    assert passed(rates) == 0
    clock.seconds += 0.002
    assert passed(rates) == 1


def test_no_call_is_too_large_ever_to_pass_and_it_is_paid_for_afterwards(clock: Clock) -> None:
    rates = rates_of(clock)

    rates.take(RateKind.READS, ADA, 1_000)

    clock.seconds += 97.9
    assert passed(rates) == 0
    clock.seconds += 0.25
    assert passed(rates) == 1


def test_what_is_refused_costs_nothing(clock: Clock) -> None:
    rates = rates_of(clock)
    passed(rates)

    for _ in range(1_000):
        with pytest.raises(ExhaustedError):
            rates.take(RateKind.READS, ADA)

    clock.seconds += 0.125
    assert passed(rates) == 1
    assert rates.refused()["reads_per_second_max"] == 1_002


def test_a_kind_without_a_rate_is_never_refused(clock: Clock) -> None:
    rates = Rates(RateLimits(), seconds=clock)

    assert rates.checks is None
    rates.take(RateKind.CHECKS, ADA, 10**12)
    rates.take(RateKind.CHECKS, ADA)


def test_the_default_lets_two_thousand_caches_of_one_caller_begin_at_once(clock: Clock) -> None:
    rates = Rates(seconds=clock)

    for _ in range(2_000):
        rates.take(RateKind.STREAMS, ADA)

    assert set(rates.refused().values()) == {0}


def test_buckets_that_are_full_again_are_forgotten_and_no_others(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUCKETS_MAX", 3)
    rates = rates_of(clock)
    passed(rates, ADA)
    for name in ("b", "c", "d", "e"):
        clock.seconds += 0.125
        rates.take(RateKind.READS, Principal(name=name, rights=frozenset()))

    assert passed(rates, ADA) == 5


def test_where_none_is_full_the_oldest_is_forgotten(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUCKETS_MAX", 2)
    rates = rates_of(clock)
    for name in ("a", "b", "c"):
        passed(rates, Principal(name=name, rights=frozenset()))

    assert passed(rates, Principal(name="b", rights=frozenset())) == 0
    assert passed(rates, Principal(name="c", rights=frozenset())) == 0

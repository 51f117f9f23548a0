"""How soon a target is tried again: longer and longer, one at a time while it is away."""

import pytest

from heed.model import Instant
from heed_server.webhooks.limits import WebhookLimits
from heed_server.webhooks.pace import AWAY_AFTER_FAILURES, Pace

SECOND = 1_000_000
NOW = Instant(1_000 * SECOND)
LIMITS = WebhookLimits(retry_seconds_min=2, retry_seconds_max=60, concurrency_max=8)


def pace(chance: float = 1.0) -> Pace:
    return Pace(LIMITS, lambda: chance)


def failing(of: Pace, times: int, now: Instant = NOW) -> Instant:
    for _ in range(times):
        now = max(now, of.quiet_until)
        of.failed(now, 0)
    return now


def test_each_attempt_waits_twice_as_long_up_to_the_bound() -> None:
    waits = [(pace().next_time(NOW, attempts) - NOW) / SECOND for attempts in range(1, 9)]

    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)])
def test_chance_takes_up_to_half_of_a_pause_away(chance: float, seconds: float) -> None:
    assert pace(chance).next_time(NOW, 1) - NOW == seconds * SECOND


def test_a_target_that_takes_nothing_is_away_and_asked_one_at_a_time() -> None:
    one = pace()
    failing(one, AWAY_AFTER_FAILURES - 1)
    assert (one.is_away, one.in_flight_max, one.quiet_until) == (False, 8, 0)

    failing(one, 1)

    assert (one.is_away, one.in_flight_max) == (True, 1)
    assert one.quiet_until == NOW + 2 * SECOND


def test_the_pauses_of_one_that_is_away_double_and_the_first_that_it_takes_ends_them() -> None:
    one = pace()
    now = failing(one, AWAY_AFTER_FAILURES + 2)
    assert one.quiet_until - now == 8 * SECOND

    one.succeeded()

    assert (one.is_away, one.in_flight_max, one.quiet_until) == (False, 8, 0)


def test_what_was_under_way_when_the_pause_began_does_not_lengthen_it() -> None:
    one = pace()
    failing(one, AWAY_AFTER_FAILURES)
    until = one.quiet_until

    for _ in range(7):
        one.failed(NOW, 0)

    assert one.quiet_until == until


def test_a_receiver_is_left_alone_for_as_long_as_it_asks_up_to_the_bound() -> None:
    one = pace()
    one.failed(NOW, 30)
    assert one.quiet_until == NOW + 30 * SECOND

    one.succeeded()  # of what was under way: it asked all the same
    assert one.quiet_until == NOW + 30 * SECOND

    one.failed(Instant(NOW + 31 * SECOND), 86_400)
    assert one.quiet_until == NOW + (31 + 60) * SECOND

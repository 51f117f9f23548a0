"""When the library makes a call again that was refused for its rate."""

import pytest

from heed.connection.options import ATTEMPTS_MAX
from heed.connection.patience import SPREAD, seconds_until_retry
from heed.errors import ErrorReason, ExhaustedError, HeedError


def refused(
    retry_ms: str = "200", reason: ErrorReason = ErrorReason.RATE_LIMITED
) -> ExhaustedError:
    return ExhaustedError("too much", reason=reason, metadata={"retry_ms": retry_ms})


def test_it_waits_as_long_as_the_server_said_and_a_little_more() -> None:
    waits = [seconds_until_retry(refused(), attempts=1, seconds_left=10) or 0.0 for _ in range(100)]

    assert min(waits) >= 0.2
    assert max(waits) <= 0.2 * (1 + SPREAD)
    assert len(set(waits)) > 1


@pytest.mark.parametrize(
    ("error", "attempts", "seconds_left"),
    [
        (refused(), 1, 0.19),
        (refused(), ATTEMPTS_MAX, 10),
        (refused(reason=ErrorReason.OVERLOADED), 1, 10),
        (refused("soon"), 1, 10),
        (refused("9" * 10), 1, 10**9),
        (refused(""), 1, 10),
        (HeedError("something else"), 1, 10),
    ],
)
def test_it_does_not_wait(error: HeedError, attempts: int, seconds_left: float) -> None:
    assert seconds_until_retry(error, attempts=attempts, seconds_left=seconds_left) is None

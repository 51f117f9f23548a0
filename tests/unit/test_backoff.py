"""The pause before what failed is tried again."""

from heed_server.backoff import doubled_seconds


def test_a_pause_doubles_up_to_its_bound() -> None:
    pauses = [doubled_seconds(0.1, times, 1.0) for times in range(6)]

    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_what_fails_for_hours_is_tried_again_as_before() -> None:
    """A worker that could not be started a thousand times took the whole server down."""
    assert doubled_seconds(0.1, 1_000_000, 10.0) == 10.0

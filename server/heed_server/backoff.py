"""How long to wait before what failed is tried again."""

_DOUBLINGS_MAX = 64
"""Beyond it a number that a loop counts up for hours would be too large for a float."""


def doubled_seconds(seconds: float, times: int, seconds_max: float) -> float:
    """Return a pause after it was doubled so often, and no longer than `seconds_max`."""
    return min(seconds_max, seconds * 2.0 ** min(times, _DOUBLINGS_MAX))

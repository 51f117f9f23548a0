"""How long to wait before a call that was refused for its rate is made again.

Nothing was done by such a call, so it is safe to make again, whatever it is. The server says when;
the wait never outlasts the call's own deadline, and there are as many attempts as of any call.
"""

import random
from typing import Final

from heed.connection.options import ATTEMPTS_MAX
from heed.errors import HeedError
from heed.wire.status import retry_ms_of

SPREAD: Final = 0.25
"""Up to this share longer than the server said, so that those refused together come apart."""


def seconds_until_retry(error: HeedError, *, attempts: int, seconds_left: float) -> float | None:
    """Return the wait before the next attempt of a call that had so many; None: make none."""
    retry_ms = retry_ms_of(error)
    if retry_ms is None or attempts >= ATTEMPTS_MAX:
        return None
    # Not a secret: it only spreads callers out.
    seconds = retry_ms / 1_000 * (1 + SPREAD * random.random())  # noqa: S311
    return seconds if seconds < seconds_left else None

"""The clock by which age is counted: since the host started, sleep included, set by nobody."""

import hashlib
import os
import time
from pathlib import Path
from typing import Final

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Where there is no CLOCK_BOOTTIME (macOS), CLOCK_MONOTONIC counts sleep."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_TIME_NAMESPACE: Final = Path("/proc/self/ns/time")
BOOT_BYTES: Final = 16


def boot_clock() -> int:
    """Return the nanoseconds since the host started."""
    return time.clock_gettime_ns(_CLOCK)


def boot_identity() -> bytes:
    """Return 16 bytes that name the clock: two processes with the same ones read the same clock.

    Where the host does not say, they are random: what another process left is then of another
    boot, and is not trusted.
    """
    try:
        said = _BOOT_ID.read_bytes()
        if _TIME_NAMESPACE.is_symlink():
            said += str(_TIME_NAMESPACE.readlink()).encode()
    except OSError:
        said = os.urandom(BOOT_BYTES)
    return hashlib.blake2b(said, digest_size=BOOT_BYTES).digest()

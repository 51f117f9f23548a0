"""The event loop that a process serves on."""

import asyncio
import gc
from collections.abc import Callable

from heed_server.config import ListenConfig


def loop_factory(listen: ListenConfig) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the loop that the settings ask for; None: asyncio's own."""
    if listen.event_loop == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        if listen.event_loop == "uvloop":
            raise
        return None
    return uvloop.new_event_loop


def freeze_what_stays() -> None:
    """Keep what the start has made out of every later search for garbage.

    All of it stays until the end, and looking through it again and again would stop every call
    under way for some 50 ms each time.
    """
    gc.collect()
    gc.freeze()

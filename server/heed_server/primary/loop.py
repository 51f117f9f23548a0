"""The event loop that a process serves on."""

import asyncio
import gc
from collections.abc import Callable
from typing import Final

from heed_server.config import ListenConfig

GARBAGE_OBJECTS: Final = 10_000
"""After how many new objects garbage is searched for; Python's own bound is 700. Higher: a search
takes longer, and what refers to itself stays longer. Lower: what a group of 64 writes is made of,
some 5,000 objects, is searched several times before it is let go, 6 % of a write's time."""


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
    under way for some 50 ms each time. What calls make is searched less often, too.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)

"""A cache that follows a `FakeWatch`: what a test begins with, and how it asks."""

import heed
from tests.support.caches import CachedSyncClient, wait_until
from tests.support.fake_watch import FakeWatch, WatchStream

ADA = "ada@example.com"
BOB = "bob@example.com"
UNREACHABLE = heed.UnavailableError("away", reason=heed.ErrorReason.STORE_UNAVAILABLE)


def live(server: FakeWatch, client: CachedSyncClient) -> WatchStream:
    """Ada has opted out, the cache knows, and what follows is the test's to say."""
    client.opt_out(email=ADA, source="tests")
    server.publish()
    client.wait_live()
    stream = server.stream()
    server.is_obedient = False
    # What was echoed until now is before this one.
    now_us = server.service.clock.instant()
    stream.heartbeat(now_us=now_us)
    wait_until(lambda: client.cache._replica.state().source_now_us == now_us)
    server.asked.clear()
    return stream


def source_of(client: CachedSyncClient, address: str, topic: str = "news") -> tuple[bool, str]:
    answer = client.check(email=address, channel="email", topic=topic)
    return answer.allowed, answer.source.value

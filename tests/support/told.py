"""A cache that verifies, the log it is told of, and an upstream between them that may lie."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import heed
from heed.connection.target import Target
from tests.support.caches import CachedSyncClient, GoingClock, wait_until
from tests.support.lying import (
    Lie,
    LyingCalls,
)
from tests.support.served import Served

ORIGIN = heed.Origin(source="tests")
PEOPLE = [f"{at}@example.com" for at in range(12)]


def key_of_log(client: heed.SyncClient, *, other_than: str = "") -> str:
    """The verifier key, once something is signed: at first that may be of the life before."""
    found: list[str] = []

    def is_signed() -> bool:
        try:
            found.append(client.get_checkpoint().verifier_key)
        except heed.NotFoundError:
            return False
        return found[-1] != other_than

    wait_until(is_signed)
    return found[-1]


def write_everything(client: heed.SyncClient) -> None:
    """Every kind of change that a log can hold."""
    client.declare_topic("orders", topic_class="transactional", origin=ORIGIN)
    for at, address in enumerate(PEOPLE):
        client.opt_out(email=address, source="tests", topic="news" if at % 2 else "")
    opt_in(client, PEOPLE[0])
    subject = heed.email(PEOPLE[1])
    client.add_suppressions([heed.Suppression(subject=subject, cause="bounce")], origin=ORIGIN)
    client.release_suppression(
        subject=subject, cause="bounce", channel="email", reason="r", origin=ORIGIN
    )
    hold = client.place_hold(reason="stop", origin=ORIGIN, topic="held")
    client.place_hold(reason="stop", origin=ORIGIN, topic="held.too")
    client.lift_hold(hold.hold.hold_id, reason="go", origin=ORIGIN)


def opt_in(client: heed.SyncClient, address: str) -> None:
    client.opt_in(
        email=address,
        source="tests",
        channel="email",
        topic="news",
        evidence=heed.Evidence(notice="n", notice_version="1", act="pressed Save", language="en"),
        method="web_form",
        decided_time=datetime.now(UTC),
    )


class Told:
    """A cache, and the upstream between it and its server."""

    def __init__(self, server: Served, path: Path, *keys: str, lie: Lie | None = None) -> None:
        self.calls: LyingCalls

        def upstream(target: Target) -> LyingCalls:
            self.calls = LyingCalls(target)
            self.calls.lie = lie
            return self.calls

        self.client = CachedSyncClient(
            server.address, path, clock=GoingClock(), upstream=upstream, verify=keys
        )

    def __enter__(self) -> Self:
        self.client.cache  # noqa: B018 - opens it
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    @property
    def stats(self) -> heed.CacheStats:
        return self.client.cache.stats()

    def wait_proved(self, revision: int) -> None:
        wait_until(lambda: self.stats.proved_revision >= revision)

    def wait_disproved(self) -> None:
        wait_until(lambda: self.stats.disproved > 0)


def head(plain: heed.SyncClient) -> int:
    return plain.check(email="nobody@example.com", channel="email", topic="news").revision

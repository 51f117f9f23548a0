"""How far single revisions have spread: by how many applied, and after how long."""

from dataclasses import replace

from heed.model import Instant, Revision, TenantId
from heed_server.propagation.progress import Seen
from heed_server.propagation.spread import Spread, spread_of
from heed_server.propagation.trails import STEPS_KEPT_MAX, Step, Trail, Trails
from heed_server.store import Subscriber

SECOND = 1_000_000
NOW = Instant(1_800_000_000 * SECOND)
SHOP = TenantId(1)


def stream(name: str, applied: int, **changes: object) -> Seen:
    told = Subscriber(
        tenant_id=SHOP,
        name=name,
        stream_id=f"stream of {name}",
        instance=f"run of {name}",
        node="node-1",
        open_time=NOW,
        close_time=None,
        probe_time=NOW,
        max_staleness=5 * SECOND,
        applied_revision=Revision(applied),
        applied_time=NOW,
    )
    return Seen(replace(told, **changes), 0.0)  # type: ignore[arg-type] # by name


def spread(trails: Trails, *seen: Seen, revision: int = 7, at: float = 0.0) -> Spread:
    (found,) = spread_of(seen, [Revision(revision)], at, trails.at)
    return found


def steps(trails: Trails, name: str, *taken: tuple[int, int]) -> None:
    """(revision, seconds after NOW) of a reader."""
    for revision, seconds in taken:
        reader = SHOP, name, f"run of {name}"
        trails.add(reader, Revision(revision), Instant(NOW + seconds * SECOND))


def test_the_last_of_all_readers_says_when() -> None:
    trails = Trails()
    steps(trails, "a", (6, 0), (8, 3))
    steps(trails, "b", (6, 0), (7, 5), (8, 9))

    told = spread(trails, stream("a", 8), stream("b", 8))

    assert told == Spread(
        revision=Revision(7),
        counting=2,
        applied=2,
        time=Instant(NOW + 5 * SECOND),
        is_exact=True,
        waiting_for=(),
    )


def test_who_is_behind_or_missing_is_named_and_who_is_gone_is_not() -> None:
    trails = Trails()
    steps(trails, "a", (6, 0), (7, 1))
    seen = [
        stream("a", 7),
        stream("b", 6),
        stream("c", 0, stream_id=""),
        stream("d", 6, max_staleness=0),
    ]

    told = spread(trails, *seen, at=1.0)

    assert (told.applied, told.counting, told.waiting_for) == (1, 3, ("b", "c"))


def test_what_a_reader_had_before_it_was_seen_has_no_exact_time() -> None:
    trails = Trails()
    steps(trails, "a", (8, 3))

    told = spread(trails, stream("a", 8))

    assert (told.time, told.is_exact) == (NOW + 3 * SECOND, False)


def test_without_a_step_of_each_it_is_not_known_when() -> None:
    trails = Trails()
    steps(trails, "a", (6, 0), (7, 3))

    told = spread(trails, stream("a", 7), stream("b", 7))

    assert (told.applied, told.time, told.is_exact) == (2, None, False)


def test_nobody_who_counts_is_nobody_who_applied() -> None:
    told = spread(Trails())

    assert (told.applied, told.counting, told.time) == (0, 0, None)


def test_a_trail_keeps_its_last_steps_and_takes_no_step_back() -> None:
    trail = Trail()
    for revision in range(1, 10 * STEPS_KEPT_MAX):
        trail.add(Revision(revision), Instant(NOW + revision))
    trail.add(Revision(5), Instant(NOW + 99_999))
    last = 10 * STEPS_KEPT_MAX - 1

    assert trail.at(Revision(last)) == Step(Instant(NOW + last), is_exact=True)
    assert trail.at(Revision(last - STEPS_KEPT_MAX + 1)) == Step(
        Instant(NOW + last - STEPS_KEPT_MAX + 1), is_exact=True
    )
    oldest = trail.at(Revision(1))
    assert oldest is not None
    assert not oldest.is_exact
    assert trail.at(Revision(last + 1)) is None

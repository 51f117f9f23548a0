"""When a target is sent something again, though time passes between two looks."""

from dataclasses import dataclass

from heed.model import Instant, Revision
from heed.task_group import TaskGroup
from heed_server.webhook_store import Health, Lane, LateLane, Position, Standing
from heed_server.webhooks.limits import WebhookLimits
from heed_server.webhooks.order import Order
from heed_server.webhooks.pace import AWAY_AFTER_FAILURES
from heed_server.webhooks.sendings import Means, Sendings
from tests.support.memory_log import EPOCH, TENANT
from tests.support.webhooks import InProcess, target

SECOND = 1_000_000


@dataclass
class Clock:
    now: Instant = Instant(1_000 * SECOND)  # noqa: RUF009 - a number

    def __call__(self) -> Instant:
        return self.now


def order_of(*late: LateLane) -> Order:
    position = Position(EPOCH, Revision(9), bytes(32))
    standing = Standing(position=position, version=1, late=late, dead_count=0, health=Health())
    return Order(target().wanted, standing)


def sendings_of(clock: Clock) -> Sendings:
    means = Means(
        log=None,  # type: ignore[arg-type]  # notices are read from nowhere
        store=None,  # type: ignore[arg-type]
        open_sender=None,  # type: ignore[arg-type]
        now=clock,
        chance=lambda: 1.0,
        limits=WebhookLimits(),
    )
    return Sendings(target(), TENANT, means, lambda: None)


def notice(number: int, *, next_time: int = 0) -> LateLane:
    return LateLane(
        lane=Lane(b"notice-%d" % number),
        revision=Revision(1),
        next_time=Instant(next_time),
        notice='{"type":"deadline.near","timestamp":"","data":{"revision":1}}',
    )


async def test_a_pause_that_ends_between_two_looks_is_not_slept_through() -> None:
    """The look found the target to be left alone; by the time it is asked for how long, it is not.

    Before, nothing woke it any more.
    """
    clock = Clock()
    sendings, order, sender = sendings_of(clock), order_of(notice(1)), InProcess()
    for _ in range(AWAY_AFTER_FAILURES):
        sendings.pace.failed(clock.now, 0)
    async with TaskGroup() as group:
        sendings.start(group, sender, order)
        clock.now = Instant(sendings.pace.quiet_until + SECOND)

        assert sendings.next_time(order) == sendings.pace.quiet_until

        sendings.start(group, sender, order)
        assert sendings.next_time(order) is None  # what is under way will say
    assert len(sender.taken) == 1


async def test_what_is_due_later_is_waited_for() -> None:
    clock = Clock()
    due = clock.now + 5 * SECOND
    sendings, order = sendings_of(clock), order_of(notice(1, next_time=due))
    async with TaskGroup() as group:
        sendings.start(group, InProcess(), order)

        assert sendings.next_time(order) == due


async def test_half_of_what_is_under_way_is_of_late_lanes_at_most() -> None:
    clock = Clock()
    sendings, sender = sendings_of(clock), InProcess()
    order = order_of(*(notice(number) for number in range(20)))
    async with TaskGroup() as group:
        while order.late_count:
            taken = len(sender.taken)
            sendings.start(group, sender, order)
            await sender.until(lambda taken=taken: len(sender.taken) > taken)  # type: ignore[misc]

    assert sender.under_way_most == WebhookLimits().concurrency_max // 2
    assert len(sender.taken) == 20

"""What webhooks keep: how far each target was sent what, which lanes are late, and dead letters.

Law: what is noted is noted whole or not at all, by whoever opened the target last.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Select,
    Table,
    Update,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy import tuple_ as row_of

from heed.model import Instant, Revision, TenantId
from heed_server.storage.errors import unknown_cursor
from heed_server.storage.moving import Run
from heed_server.storage.schema import changes, moved_subjects
from heed_server.storage.webhook_tables import webhook_dead, webhook_late, webhook_targets
from heed_server.webhook_store import (
    Asked,
    DeadLetter,
    DeadLetterPage,
    Health,
    Lane,
    LateLane,
    Note,
    Place,
    Position,
    Standing,
    TargetStanding,
)

_TARGET = webhook_targets.c
_LATE = webhook_late.c
_DEAD = webhook_dead.c

_POSITION = (_TARGET.epoch, _TARGET.revision, _TARGET.running_hash)
_HEALTH = (_TARGET.delivered_time, _TARGET.failing_since, _TARGET.failure)
_TIME_DIGITS_MAX = 18
"""Of an instant in 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTables:
    """The three tables of one store (see `WebhookStore`)."""

    read: Run
    write: Run

    async def open_target(self, place: Place, begin: Position) -> Standing:
        """Return where a target stands, taken over from whoever had it (see `WebhookStore`)."""
        return await self.write(lambda c: _open(c, place, begin))

    async def note(self, place: Place, version: int, note: Note) -> bool:
        """Write what became of events; False: another took the target over."""
        return await self.write(lambda c: _note(c, place, version, note))

    async def asked_counts(self) -> Mapping[Place, int]:
        """Return of every target a number that rises with what others ask for."""
        return await self.read(_asked_counts)

    async def asked(self, place: Place, replays_max: int) -> Asked:
        """Return what others have asked for and was not noted to be begun."""
        return await self.read(lambda c: _asked(c, place, replays_max))

    async def add_notices(self, place: Place, notices: Sequence[LateLane], limit: int) -> int:
        """Have notices sent, and return how many were left out (see `WebhookStore`)."""
        return await self.write(lambda c: _add_notices(c, place, notices, limit))

    async def targets(self, tenant_id: TenantId) -> Sequence[TargetStanding]:
        """Return every target that a tenant has had, by name."""
        return await self.read(lambda c: _targets(c, tenant_id))

    async def dead_letters(self, place: Place, cursor: str, limit: int) -> DeadLetterPage | None:
        """Return a page of the dead letters of a target, by age (see `WebhookStore`)."""
        return await self.read(lambda c: _dead_letters(c, place, cursor, limit))

    async def replay(self, place: Place, letter_ids: Sequence[str] | None) -> int | None:
        """Have dead letters sent anew, without ids all; return how many there were."""
        return await self.write(lambda c: _replay(c, place, letter_ids))

    async def discard(self, place: Place, letter_ids: Sequence[str] | None) -> int | None:
        """Delete dead letters, without ids all; return how many."""
        return await self.write(lambda c: _discard(c, place, letter_ids))


def _open(connection: Connection, place: Place, begin: Position) -> Standing:
    # First, so that what is read is what stands once nobody else writes here any more.
    taken_over = connection.execute(
        update(webhook_targets)
        .where(_of(webhook_targets, place))
        .values(version=_TARGET.version + 1)
    )
    if not taken_over.rowcount:
        connection.execute(
            insert(webhook_targets).values(
                **place._asdict(), **begin._asdict(), version=1, asked=0, failure=""
            )
        )
    epoch, revision, running_hash, version, *health = tuple(
        connection.execute(
            select(*_POSITION, _TARGET.version, *_HEALTH).where(_of(webhook_targets, place))
        ).one()
    )
    return Standing(
        position=Position(bytes(epoch), Revision(revision), bytes(running_hash)),
        version=version,
        late=tuple(_late_lanes(connection, place)),
        dead_count=_dead_count(connection, place),
        health=Health(*health),
        dead=frozenset(_dead_changes(connection, place)),
    )


def _dead_changes(connection: Connection, place: Place) -> Iterator[Revision]:
    """The changes whose events are dead letters; a notice is of no change."""
    of_changes = select(_DEAD.revision).where(_of(webhook_dead, place), _DEAD.notice == "")
    return (Revision(one) for one in connection.execute(of_changes).scalars())


def _note(connection: Connection, place: Place, version: int, note: Note) -> bool:
    written = connection.execute(
        update(webhook_targets)
        .where(_of(webhook_targets, place), _TARGET.version == version)
        .values(version=version + 1, **note.position._asdict(), **note.health._asdict())
    )
    if not written.rowcount:
        return False
    _delete_keyed(
        connection,
        place,
        webhook_late,
        _LATE.lane,
        [*note.in_time, *(one.lane for one in note.late)],
    )
    _insert(connection, webhook_late, (_late_row(place, one) for one in note.late))
    letter_ids = [*note.replayed, *(one.letter_id for one in note.dead)]
    _delete_keyed(connection, place, webhook_dead, _DEAD.letter_id, letter_ids)
    _insert(connection, webhook_dead, (_dead_row(place, one) for one in note.dead))
    return True


def _asked_counts(connection: Connection) -> dict[Place, int]:
    rows = connection.execute(select(_TARGET.tenant_id, _TARGET.target, _TARGET.asked))
    return {Place(TenantId(tenant_id), target): asked for tenant_id, target, asked in rows}


def _asked(connection: Connection, place: Place, replays_max: int) -> Asked:
    rows = connection.execute(
        _select_dead(place, is_asked=True)
        .order_by(_DEAD.dead_time, _DEAD.letter_id)
        .limit(replays_max)
    )
    replays = tuple(_letter_of(row) for row in rows)
    lanes = {one.lane for one in replays}
    moved = {lane: _lanes_since(connection, place.tenant_id, lane) for lane in lanes}
    return Asked(
        notices=tuple(_late_lanes(connection, place, _LATE.notice != "")),
        replays=replays,
        dead_count=_dead_count(connection, place),
        moved={lane: since for lane, since in moved.items() if since},
    )


def _lanes_since(connection: Connection, tenant_id: TenantId, lane: Lane) -> tuple[Lane, ...]:
    """Return the lanes that the subject of one was in after it, by when each began."""
    moved = moved_subjects.c
    of_tenant = moved.tenant_id == tenant_id
    now = connection.execute(select(moved.subject).where(of_tenant, moved.previous == lane))
    key = now.scalar()
    if key is None:
        return ()
    earlier = select(moved.previous).where(of_tenant, moved.subject == key)
    keys = [bytes(key), *(bytes(one) for (one,) in connection.execute(earlier))]
    began = (
        select(changes.c.subject, func.min(changes.c.revision))
        .where(changes.c.tenant_id == tenant_id, changes.c.subject.in_(keys))
        .group_by(changes.c.subject)
        .order_by(func.min(changes.c.revision))
    )
    lanes = [Lane(bytes(subject)) for subject, _ in connection.execute(began)]
    return tuple(lanes[lanes.index(lane) + 1 :]) if lane in lanes else tuple(lanes)


def _add_notices(
    connection: Connection, place: Place, notices: Sequence[LateLane], limit: int
) -> int:
    waiting = select(_LATE.lane).where(_of(webhook_late, place), _LATE.notice != "")
    known = {bytes(lane) for (lane,) in connection.execute(waiting)}
    new = [one for one in notices if one.lane not in known]
    taken = new[: max(0, limit - len(known))]
    _insert(connection, webhook_late, (_late_row(place, one) for one in taken))
    if taken:
        _say_asked(connection, place)
    return len(new) - len(taken)


def _targets(connection: Connection, tenant_id: TenantId) -> list[TargetStanding]:
    counts = [
        select(func.count())
        .where(table.c.tenant_id == _TARGET.tenant_id, table.c.target == _TARGET.target)
        .scalar_subquery()
        for table in (webhook_late, webhook_dead)
    ]
    found = connection.execute(
        select(_TARGET.target, *_POSITION, *counts, *_HEALTH)
        .where(_TARGET.tenant_id == tenant_id)
        .order_by(_TARGET.target)
    )
    rows: list[tuple[Any, ...]] = [tuple(row) for row in found]
    return [
        TargetStanding(
            target=target,
            position=Position(bytes(epoch), Revision(revision), bytes(running_hash)),
            late_count=late,
            dead_count=dead,
            health=Health(*health),
        )
        for target, epoch, revision, running_hash, late, dead, *health in rows
    ]


def _dead_letters(
    connection: Connection, place: Place, cursor: str, limit: int
) -> DeadLetterPage | None:
    if not _is_known(connection, place):
        return None
    statement = _select_dead(place, is_asked=False).order_by(_DEAD.dead_time, _DEAD.letter_id)
    if cursor:
        statement = statement.where(row_of(_DEAD.dead_time, _DEAD.letter_id) > _place_of(cursor))
    rows = connection.execute(statement.limit(limit + 1)).fetchall()
    letters = tuple(_letter_of(row) for row in rows[:limit])
    has_more = len(rows) > limit
    cursor = f"{letters[-1].dead_time}/{letters[-1].letter_id}" if has_more else ""
    return DeadLetterPage(letters, cursor)


def _replay(connection: Connection, place: Place, letter_ids: Sequence[str] | None) -> int | None:
    return _change_dead(connection, place, update(webhook_dead).values(is_asked=True), letter_ids)


def _discard(connection: Connection, place: Place, letter_ids: Sequence[str] | None) -> int | None:
    return _change_dead(connection, place, delete(webhook_dead), letter_ids)


def _change_dead(
    connection: Connection,
    place: Place,
    statement: Update | Delete,
    letter_ids: Sequence[str] | None,
) -> int | None:
    """Change dead letters, and say to who delivers that they were; None: no such target."""
    if not _is_known(connection, place):
        return None
    statement = statement.where(_of(webhook_dead, place), ~_DEAD.is_asked)
    if letter_ids is not None:
        statement = statement.where(_DEAD.letter_id.in_(letter_ids))
    changed = connection.execute(statement).rowcount
    if changed:
        _say_asked(connection, place)
    return changed


def _is_known(connection: Connection, place: Place) -> bool:
    found = select(_TARGET.target).where(_of(webhook_targets, place))
    return connection.execute(found).first() is not None


def _of(table: Table, place: Place) -> ColumnElement[bool]:
    return (table.c.tenant_id == place.tenant_id) & (table.c.target == place.target)


def _say_asked(connection: Connection, place: Place) -> None:
    connection.execute(
        update(webhook_targets).where(_of(webhook_targets, place)).values(asked=_TARGET.asked + 1)
    )


def _delete_keyed(
    connection: Connection,
    place: Place,
    table: Table,
    column: ColumnElement[Any],
    keys: Sequence[object],
) -> None:
    if keys:
        connection.execute(delete(table).where(_of(table, place), column.in_(keys)))


def _insert(connection: Connection, table: Table, rows: Iterable[dict[str, object]]) -> None:
    made = list(rows)
    if made:
        connection.execute(insert(table), made)


def _late_lanes(
    connection: Connection, place: Place, *conditions: ColumnElement[bool]
) -> list[LateLane]:
    rows = connection.execute(
        select(
            _LATE.lane,
            _LATE.revision,
            _LATE.attempts,
            _LATE.first_time,
            _LATE.next_time,
            _LATE.failure,
            _LATE.replay,
            _LATE.behind,
            _LATE.notice,
        )
        .where(_of(webhook_late, place), *conditions)
        .order_by(_LATE.lane)
    )
    return [
        LateLane(
            lane=Lane(bytes(lane)),
            revision=Revision(revision),
            attempts=attempts,
            first_time=None if first_time is None else Instant(first_time),
            next_time=Instant(next_time),
            failure=failure,
            replay=replay,
            behind=None if behind is None else Lane(bytes(behind)),
            notice=notice,
        )
        for (
            lane,
            revision,
            attempts,
            first_time,
            next_time,
            failure,
            replay,
            behind,
            notice,
        ) in rows
    ]


def _late_row(place: Place, one: LateLane) -> dict[str, object]:
    return {
        "tenant_id": place.tenant_id,
        "target": place.target,
        "lane": one.lane,
        "revision": one.revision,
        "attempts": one.attempts,
        "first_time": one.first_time,
        "next_time": one.next_time,
        "failure": one.failure,
        "replay": one.replay,
        "behind": one.behind,
        "notice": one.notice,
    }


def _select_dead(place: Place, *, is_asked: bool) -> Select[*tuple[Any, ...]]:
    return select(
        _DEAD.letter_id,
        _DEAD.lane,
        _DEAD.revision,
        _DEAD.event,
        _DEAD.dead_time,
        _DEAD.first_time,
        _DEAD.attempts,
        _DEAD.failure,
        _DEAD.replay,
        _DEAD.notice,
    ).where(_of(webhook_dead, place), _DEAD.is_asked if is_asked else ~_DEAD.is_asked)


def _letter_of(row: Sequence[Any]) -> DeadLetter:
    letter_id, lane, revision, event, dead_time, first_time, attempts, failure, replay, notice = row
    return DeadLetter(
        letter_id=letter_id,
        lane=Lane(bytes(lane)),
        revision=Revision(revision),
        event=event,
        dead_time=Instant(dead_time),
        first_time=Instant(first_time),
        attempts=attempts,
        failure=failure,
        replay=replay,
        notice=notice,
    )


def _dead_row(place: Place, one: DeadLetter) -> dict[str, object]:
    return {
        "tenant_id": place.tenant_id,
        "target": place.target,
        "letter_id": one.letter_id,
        "lane": one.lane,
        "revision": one.revision,
        "event": one.event,
        "dead_time": one.dead_time,
        "first_time": one.first_time,
        "attempts": one.attempts,
        "failure": one.failure,
        "replay": one.replay,
        "notice": one.notice,
        "is_asked": False,
    }


def _dead_count(connection: Connection, place: Place) -> int:
    statement = select(func.count()).where(_of(webhook_dead, place), ~_DEAD.is_asked)
    return connection.execute(statement).scalar() or 0


def _place_of(cursor: str) -> tuple[int, str]:
    time, _, letter_id = cursor.partition("/")
    if not (time.isascii() and time.isdigit() and len(time) <= _TIME_DIGITS_MAX and letter_id):
        raise unknown_cursor()
    return int(time), letter_id

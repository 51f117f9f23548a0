"""By which rules the nodes of a database decide, while some are of an earlier release (ADR 0045).

Laws:
- What an earlier release would not know is taken only while no node of one is alive, by the rows
  that the nodes keep (`subscribers`).
- Once it is taken no earlier release opens the database, and nobody needs to ask any more.
- A node of one that began in between, or was silent for long, stops at the first change that it
  does not know: it fails, and allows nothing.
"""

from typing import Final

from sqlalchemy import Connection, func, select, update

from heed.model import RULE_VERSION, Instant
from heed_server.storage.schema import QUIET_HOURS_SINCE, compatibility, records, subscribers

CLOCKS_APART_MAX: Final = 5_000_000
"""How far the clocks of two nodes may be apart, in microseconds (`heed_server.storage.clock`)."""


def rules_of_nodes(connection: Connection, now: Instant) -> int:
    """Return the version of the rules that every node alive decides by."""
    since = connection.execute(select(compatibility.c.readable_since)).scalar() or 0
    if since >= QUIET_HOURS_SINCE:
        return RULE_VERSION
    heard = subscribers.c.probe_time + subscribers.c.max_staleness
    oldest = connection.execute(
        select(func.min(subscribers.c.rule_version)).where(
            subscribers.c.stream_id != "",
            subscribers.c.close_time.is_(None),
            heard > now - CLOCKS_APART_MAX,
        )
    ).scalar()
    return RULE_VERSION if oldest is None else min(oldest, RULE_VERSION)


def keep_out_earlier(connection: Connection, since: int = QUIET_HOURS_SINCE) -> None:
    """Let no heed open the database that knows no schema as late as this."""
    connection.execute(
        update(compatibility)
        .where(compatibility.c.readable_since < since)
        .values(readable_since=since)
    )


def has_quiet_hours(connection: Connection) -> bool:
    """Whether something is kept that an earlier heed would not know. Reads all records."""
    kept = select(records.c.tenant_id).where(
        records.c.quiet_hours.is_not(None) | records.c.no_ask_until.is_not(None)
    )
    return bool(connection.execute(select(kept.exists())).scalar())

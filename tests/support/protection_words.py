"""What the machine of all write paths says: of whom, where, when, and what may refuse it."""

from hypothesis import strategies as st

from heed.errors import ErrorReason
from heed.hours import hours_of
from heed.model import (
    Cause,
    Channel,
    Method,
    Query,
    Record,
    Scope,
    SubjectKey,
    Topic,
    TopicClass,
)
from heed_server.store import Standing
from tests.support.stores import DAY, keyed

NAMES = ("ada", "bob")
KEYS = {name: keyed(name).key for name in NAMES}
BATCHES = ("list-1", "list-2")
PAST = 1_700_000_000_000_000
FUTURE = 2_000_000_000_000_000
SCOPES = (Scope(channel=Channel.EMAIL), Scope(channel=Channel.ANY, topic="news"))
QUERIES = tuple(
    Query(channel=channel, topic=topic)
    for channel in (Channel.EMAIL, Channel.SMS)
    for topic in ("", "news", "news.weekly", "receipts")
)
SECURITY = Topic(
    name="security",
    topic_class=TopicClass.MANDATORY,
    mandatory_channels=frozenset({Channel.EMAIL}),
)
MANDATORY = Query(channel=Channel.EMAIL, topic=SECURITY.name)
REFUSALS = frozenset(
    {
        ErrorReason.CONSENT_REQUIRED,
        ErrorReason.SUPPRESSION_UNKNOWN,
        ErrorReason.HOLD_UNKNOWN,
        ErrorReason.TOPIC_UNKNOWN,
        ErrorReason.TOPIC_RETIRED,
        ErrorReason.TOPIC_WOULD_LOOSEN,
        ErrorReason.BATCH_UNKNOWN,
        ErrorReason.BATCH_REVERTED,
        ErrorReason.CLOCK_UNTRUSTED,
        ErrorReason.INVALID_FIELD,
    }
)
RESTORES_MAX = 2
"""Of one machine; each takes some hundred milliseconds."""

names = st.sampled_from(NAMES)
scopes = st.sampled_from(SCOPES)
decided_times = st.sampled_from([PAST + day * DAY for day in range(5)])
ends = st.sampled_from([None, PAST + 2 * DAY, FUTURE, FUTURE + DAY])
all_hours = st.sampled_from(
    [
        hours_of(text)
        for text in ("UTC: 00:00-00:00", "UTC: mon,tue 00:00-00:00", "Europe/Vienna: 00:00-00:00")
    ]
)
"""Whole days, so that seldom is one over while a step is made."""
methods = st.sampled_from([Method.WEB_FORM, Method.OPERATOR, Method.IMPORT, Method.REPLY])
causes = st.sampled_from([Cause.NONE, Cause.BOUNCE, Cause.MANUAL])
batches = st.sampled_from(BATCHES)


def choices_in(standing: Standing) -> list[tuple[SubjectKey, Record]]:
    """Return what people chose of what stands."""
    return [(one.key, one.record) for one in standing.records if one.record.cause is Cause.NONE]

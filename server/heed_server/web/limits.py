"""Every bound of the HTTP edges that is no setting; docs/limits.md is the table of them."""

from dataclasses import dataclass
from typing import Final

HEAD_BYTES_MAX: Final = 16 * 1024
"""Bytes of a request's line and headers. Higher: a stranger fills more memory, of each connection.
Lower: browsers with many cookies of the same domain are refused."""
BODY_BYTES_MAX: Final = 2_048
"""Bytes of a body; more is 413. A press has 26, and some 200 as multipart/form-data."""
WRITE_SECONDS_MAX: Final = 15.0
"""How long a press may take until it is committed; then it is 503, and the retry finds it done.
Higher: mailbox providers give up sooner than heed. Lower: a slow database costs more retries."""
IDLE_SECONDS_MAX: Final = 5
"""How long a connection is kept between two requests."""
RETRY_AFTER_SECONDS: Final = 5
"""What is said of when to try again."""
INVALID_BURST_SECONDS: Final = 60.0
"""For how many seconds' worth of `web.invalid_links_per_second_max` an address that was silent may
try at once, and of `pages.reads_per_second_max` a page be read. Higher: more guesses in a burst.
Lower: people with broken links behind one address are told to wait."""
BODY_BYTES_OF_ONE_MAX: Final = 256 * 1024
"""Bytes of a body of REST about one person or one message, who may be taken on when all else is
full; more is 413. Fifty opt-ins, each with its evidence, have some 150 KiB."""

BODY_BYTES_FREE: Final = 64 * 1024
"""So much of each body is always taken; what goes beyond counts towards `BODIES_BYTES_MAX`. Higher:
each connection may hold that much. Lower: what is small waits for what is large."""
BODIES_BYTES_MAX: Final = 64 * 1024 * 1024
"""What the bodies of an edge's requests hold beyond it, all together, until they are answered.
Higher: who may call, or nobody is known to be yet, fills more memory. Lower: large ones are refused
while others are read, and come again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerLimits:
    """What connections to one edge may take, as its settings say."""

    connections_max: int = 1_000
    """Connections; one more is closed."""
    request_seconds_max: float = 10.0
    """How long a request may take to arrive, an answer to be read, and TLS to shake hands."""
    idle_seconds_max: float = IDLE_SECONDS_MAX
    """How long a connection is kept between two requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLimits:
    """What one person may take of the public edge by their page links, as the settings say."""

    reads_per_second_max: float = 2.0
    """How often their page is read, from the database."""
    choices_per_minute_max: float = 10.0
    """What they choose but for stops, which are never refused for their rate."""
    opt_ins_per_hour_max: float = 20.0
    """Opt-ins; those of everybody are under the cap of who had the page links made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLimits:
    """What strangers may take of the public edge, as the settings say."""

    invalid_links_per_second_max: float = 1.0
    """Invalid links that one address may try; a valid one is never refused for its rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestLimits:
    """What callers may take of REST, as the settings say."""

    answer_seconds_max: float = 30.0
    """How long an answer may take."""
    body_bytes_max: int = 8 * 1024 * 1024
    """Bytes of a body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundLimits:
    """What strangers may take of the inbound edge, as the settings say."""

    body_bytes_max: int = 1 << 20
    """Bytes of one notification."""
    invalid_per_second_max: float = 1.0
    """Notifications that cannot be verified which one address may send."""

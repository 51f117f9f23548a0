"""The way out: every change of the log, published to NATS JetStream for systems that are not ours.

`messages` (pure) says what a message looks like and where a stream stands by its last one;
`jetstream` is the one module that speaks NATS; a `Publisher` brings one tenant's stream in step
with its log, and the `Outbox` runs them on the node that has the lease. docs/outbox.md is for who
reads the streams.
"""

from heed_server.outbox.jetstream import JetStream, Target, connect, require_library
from heed_server.outbox.limits import OutboxLimits
from heed_server.outbox.outbox import Outbox
from heed_server.outbox.publisher import Publisher

__all__ = [
    "JetStream",
    "Outbox",
    "OutboxLimits",
    "Publisher",
    "Target",
    "connect",
    "require_library",
]

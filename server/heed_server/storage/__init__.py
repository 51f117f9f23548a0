"""The store on a database: SQLite when nothing is configured, PostgreSQL when nodes share it.

`open_store` opens either; `migrate` brings a PostgreSQL database's schema up to date. All that is
common to both is written once (`group`, `writer`, `log_reads`, `lists`, `admin`); what differs is
in `sqlite` and `postgres`.
"""

from heed_server.storage.backend import StorageLimits
from heed_server.storage.clock import Clock, SystemClock
from heed_server.storage.errors import SchemaError
from heed_server.storage.opening import (
    forget_addresses,
    migrate,
    open_store,
    open_wake_ups,
    root_path,
)
from heed_server.storage.sql_store import SqlStore

__all__ = [
    "Clock",
    "SchemaError",
    "SqlStore",
    "StorageLimits",
    "SystemClock",
    "forget_addresses",
    "migrate",
    "open_store",
    "open_wake_ups",
    "root_path",
]

"""listmonk: the export of subscribers.

Bounces and wishes are mixed in its blocklist, so that it becomes neither, but a manual suppression.

Source: knadh/listmonk, cmd/subscribers.go; times are Go's `time.String()`.
"""

from typing import Final

from heed.formats import cells
from heed.formats.format import Format, has_exactly, need
from heed.formats.protections import email_suppression
from heed.formats.rows import Became, Convert, Nothing, Options, Record
from heed.formats.sample import Sample
from heed.model import Cause

_OTHERS: Final = {word: Nothing(word) for word in ("enabled", "disabled")}
_OTHER = Nothing("other")
_BLOCKLISTED: Final = frozenset({"blocklisted", "blacklisted"})
"""It was spelled the second way before its version 2."""


def _bind(sample: Sample, _options: Options) -> Convert:
    need(sample, "listmonk", "email", "status")
    return _convert


def _convert(record: Record) -> Became:
    status = cells.text(record, "status")
    if status not in _BLOCKLISTED:
        return _OTHERS.get(status, _OTHER)
    return email_suppression(
        cells.email(record, "email"), Cause.MANUAL, cells.time(record, "updated_at")
    )


FORMATS: Final = (
    Format(
        name="listmonk",
        vendor="listmonk",
        file="Export of subscribers, CSV",
        becomes="`blocklisted` manual suppression; others nothing",
        fits=has_exactly(
            "uuid", "email", "name", "attributes", "status", "created_at", "updated_at"
        ),
        bind=_bind,
    ),
)

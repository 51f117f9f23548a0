"""Mailgun: bounces, unsubscribes, complaints and the allowlist, CSV or the JSON of the API.

Source: documentation.mailgun.com, the pages of those lists. The columns of complaints are by
analogy, no vendor page has them.
"""

import re
from collections.abc import Callable
from typing import Final

from heed.formats import cells
from heed.formats.format import Format, has_exactly, need
from heed.formats.protections import (
    TEMPORARY_FAILURE_DAYS,
    email_opt_out,
    email_suppression,
    end_of_temporary,
)
from heed.formats.rows import Became, Convert, ImportedRow, Nothing, Options, Record
from heed.formats.sample import Sample
from heed.model import Cause, Instant, Reach

_ALLOWED = Nothing("allowed")
_EVERY_TAG: Final = "*"
_TAG_SEPARATORS = re.compile(r"[,;]")
_TIMES: Final = ("created_at", "createdat", "createdAt")
"""Its pages spell the time so, and so in one sample."""


def _when(record: Record) -> Instant | None:
    for key in _TIMES:
        if key in record:
            return cells.time(record, key)
    return None


def _bind_bounces(sample: Sample, options: Options) -> Convert:
    need(sample, "mailgun-bounces", "address")
    return lambda record: _bounce(record, options)


def _bounce(record: Record, options: Options) -> ImportedRow:
    """Become a bounce unless the code says that the failure was temporary (RFC 5321, 4.2.1)."""
    address = cells.email(record, "address")
    seen = _when(record)
    code, error = cells.text(record, "code"), cells.text(record, "error")
    reason = cells.reason(
        error if not code or error.startswith(code) else f"{code} {error}", address
    )
    if not code.startswith("4"):
        return email_suppression(address, Cause.BOUNCE, seen, reason=reason)
    return email_suppression(
        address,
        Cause.TEMPORARY_FAILURE,
        seen,
        reason=reason,
        end_time=end_of_temporary(seen, options),
    )


def _bind_unsubscribes(sample: Sample, options: Options) -> Convert:
    need(sample, "mailgun-unsubscribes", "address")
    return lambda record: _unsubscribed(record, options)


def _unsubscribed(record: Record, options: Options) -> Became:
    address = cells.email(record, "address")
    when = _when(record)
    tags = _tags(record)
    if not tags or _EVERY_TAG in tags:
        return email_opt_out(address, when, options, reach=Reach.TRANSACTIONAL)
    topics = dict.fromkeys(options.topics.get(tag, options.topic) for tag in tags)
    return tuple(email_opt_out(address, when, options, topic=topic) for topic in topics)


def _tags(record: Record) -> list[str]:
    value = record.get("tags", record.get("tag"))
    if isinstance(value, list):
        written = [tag for tag in value if isinstance(tag, str)]
    else:
        key = "tags" if "tags" in record else "tag"
        written = _TAG_SEPARATORS.split(cells.text(record, key).strip("[]"))
    return [tag for one in written if (tag := one.strip().strip("\"'"))]


def _bind_complaints(sample: Sample, _options: Options) -> Convert:
    need(sample, "mailgun-complaints", "address")
    return lambda record: email_suppression(
        cells.email(record, "address"), Cause.COMPLAINT, _when(record)
    )


def _bind_allowlist(_sample: Sample, _options: Options) -> Convert:
    return lambda _record: _ALLOWED


def _has_with_time(*columns: tuple[str, ...]) -> Callable[[Sample], bool]:
    """Return the test whether a file has one of these sets of columns, and a time beside it."""
    sets = frozenset(frozenset(names) | {time} for names in columns for time in _TIMES)
    return lambda sample: sample.keys in sets


def _fits_allowlist(sample: Sample) -> bool:
    return has_exactly("address", "domain")(sample) or has_exactly(
        "value", "reason", "type", "createdAt"
    )(sample)


FORMATS: Final = (
    Format(
        name="mailgun-bounces",
        vendor="mailgun",
        file="Bounces, CSV or API",
        becomes=(
            f"code 4xx temporary failure that ends {TEMPORARY_FAILURE_DAYS} days after its date; "
            "every other bounce"
        ),
        fits=_has_with_time(
            ("address", "code", "error"), ("address", "code", "error", "MessageHash")
        ),
        bind=_bind_bounces,
        depends_on_day=True,
    ),
    Format(
        name="mailgun-unsubscribes",
        vendor="mailgun",
        file="Unsubscribes, CSV or API",
        becomes=(
            "`*` opt-out, reach transactional; a tag opt-out at the mapped topic (`--map`), else "
            "at the root, reach promotional"
        ),
        fits=_has_with_time(("address", "tags"), ("address", "tag")),
        bind=_bind_unsubscribes,
    ),
    Format(
        name="mailgun-complaints",
        vendor="mailgun",
        file="Complaints, CSV or API",
        becomes="complaint",
        fits=_has_with_time(("address",), ("address", "count")),
        bind=_bind_complaints,
    ),
    Format(
        name="mailgun-allowlist",
        vendor="mailgun",
        file="Allowlist, CSV or API",
        becomes="nothing: what is allowed protects nobody",
        fits=_fits_allowlist,
        bind=_bind_allowlist,
    ),
)

"""Postmark: the suppressions dump of a message stream.

Source: postmarkapp.com/developer/api/suppressions-api.
"""

from typing import Final

from heed.formats import cells
from heed.formats.format import Format, has_all, need
from heed.formats.protections import email_opt_out, email_suppression
from heed.formats.rows import Convert, ImportedRow, Options, Record, RowRejectedError
from heed.formats.sample import Sample
from heed.model import Cause

_CAUSES: Final = {"HardBounce": Cause.BOUNCE, "SpamComplaint": Cause.COMPLAINT}


def _bind(sample: Sample, options: Options) -> Convert:
    need(sample, "postmark", "EmailAddress", "SuppressionReason")
    return lambda record: _convert(record, options)


def _convert(record: Record, options: Options) -> ImportedRow:
    address = cells.email(record, "EmailAddress")
    when = cells.time(record, "CreatedAt")
    reason = cells.text(record, "SuppressionReason")
    if reason == "ManualSuppression":
        if cells.text(record, "Origin") == "Recipient":
            return email_opt_out(address, when, options)
        return email_suppression(address, Cause.MANUAL, when)
    cause = _CAUSES.get(reason)
    if cause is None:
        raise RowRejectedError(
            "SuppressionReason", "is none of HardBounce, SpamComplaint, ManualSuppression"
        )
    return email_suppression(address, cause, when)


FORMATS: Final = (
    Format(
        name="postmark",
        vendor="postmark",
        file="Suppressions dump of a message stream, JSON",
        becomes=(
            "`HardBounce` bounce; `SpamComplaint` complaint; `ManualSuppression` of `Recipient` "
            "opt-out, of `Customer` or `Admin` manual suppression"
        ),
        fits=has_all("EmailAddress", "SuppressionReason"),
        bind=_bind,
    ),
)

"""Telnyx: opt-outs from text messages, and the export of email suppressions.

Source: developers.telnyx.com, "List opt-outs" (`to` is the person's number, `from` the sender's)
and "Export suppressions as CSV".
"""

from typing import Final

from heed.formats import cells
from heed.formats.format import Format, has_all, need
from heed.formats.protections import email_opt_out, email_suppression, sms_stop
from heed.formats.rows import Became, Convert, Nothing, Options, Record, RowRejectedError
from heed.formats.sample import Sample
from heed.model import Cause, Reach

_REMOVED = Nothing("removed")
_CAUSES: Final = {
    "hard_bounce": Cause.BOUNCE,
    "spam_complaint": Cause.COMPLAINT,
    "invalid": Cause.INVALID,
    "manual_block": Cause.MANUAL,
}


def _bind_sms(sample: Sample, options: Options) -> Convert:
    need(sample, "telnyx-sms", "to")
    return lambda record: sms_stop(
        cells.phone(record, "to"), cells.time(record, "created_at"), options
    )


def _bind_email(sample: Sample, options: Options) -> Convert:
    need(sample, "telnyx-email", "to", "reason")
    return lambda record: _convert_email(record, options)


def _convert_email(record: Record, options: Options) -> Became:
    if cells.text(record, "status") == "removed":
        return _REMOVED
    address = cells.email(record, "to")
    when = cells.time(record, "created_at")
    reason = cells.text(record, "reason")
    if reason == "unsubscribe":
        group = cells.text(record, "group_id")
        if not group:
            return email_opt_out(address, when, options, reach=Reach.TRANSACTIONAL)
        return email_opt_out(address, when, options, topic=options.topics.get(group, options.topic))
    cause = _CAUSES.get(reason)
    if cause is None:
        raise RowRejectedError("reason", f"is none of {', '.join((*_CAUSES, 'unsubscribe'))}")
    return email_suppression(address, cause, when, end_time=cells.time(record, "expires_at"))


FORMATS: Final = (
    Format(
        name="telnyx-sms",
        vendor="telnyx",
        file='Answers of "List opt-outs", one or more pages of JSON',
        becomes="opt-out on sms, reach all: what STOP means there",
        fits=has_all("from", "to", "messaging_profile_id", "keyword"),
        bind=_bind_sms,
    ),
    Format(
        name="telnyx-email",
        vendor="telnyx",
        file="Export of email suppressions, CSV",
        becomes=(
            "`hard_bounce` bounce; `spam_complaint` complaint; `invalid` invalid; `manual_block` "
            "manual suppression with its end; `unsubscribe` opt-out, reach transactional, or of a "
            "group opt-out at the mapped topic (`--map`), else at the root, reach promotional; "
            "removed ones nothing"
        ),
        fits=has_all("to", "reason", "source", "scope", "status", "expires_at", "group_id"),
        bind=_bind_email,
    ),
)

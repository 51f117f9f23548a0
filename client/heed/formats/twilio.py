"""Twilio: the items of bulk consents.

Source: twilio.com/docs/messaging/features/bulk-upsert-consents-api, which is for SMS only.
"""

from typing import Final

from heed.formats import cells
from heed.formats.format import Format, has_all, need
from heed.formats.protections import sms_stop
from heed.formats.rows import Became, Convert, Nothing, Options, Record, RowRejectedError
from heed.formats.sample import Sample

_OPTED_IN = Nothing("opt-in")


def _bind(sample: Sample, options: Options) -> Convert:
    need(sample, "twilio-consents", "contact_id", "status")
    return lambda record: _convert(record, options)


def _convert(record: Record, options: Options) -> Became:
    status = cells.text(record, "status").lower()
    if status in {"opt-in", "re-opt-in"}:
        return _OPTED_IN
    if status != "opt-out":
        raise RowRejectedError("status", "is neither opt-in nor opt-out")
    return sms_stop(
        cells.phone(record, "contact_id"), cells.time(record, "date_of_consent"), options
    )


FORMATS: Final = (
    Format(
        name="twilio-consents",
        vendor="twilio",
        file="Items of bulk consents, JSON or CSV",
        becomes="`opt-out` opt-out on sms, reach all: what STOP means there; `opt-in` nothing",
        fits=has_all("contact_id", "status", "sender_id"),
        bind=_bind,
    ),
)

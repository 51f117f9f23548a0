"""Cloudflare Email Service: the files that its suppressions are imported from.

A scope of one sending domain is not ours to know: the suppression is of the address.

Source: developers.cloudflare.com/email-service/configuration/suppressions.
"""

from typing import Final

from heed.formats import cells
from heed.formats.format import Format, has_json
from heed.formats.protections import email_suppression
from heed.formats.rows import Convert, ImportedRow, Options, Record, UnusableInputError
from heed.formats.sample import Sample
from heed.formats.times import instant
from heed.model import Cause


def _fits(sample: Sample) -> bool:
    if sample.is_list_of_addresses or has_json("email", "expires_at", other=frozenset({"scope"}))(
        sample
    ):
        return True
    second = sample.second_cell()
    try:
        return "T" in second.upper() and instant(second) is not None
    except ValueError:
        return False


def _bind(sample: Sample, _options: Options) -> Convert:
    if sample.header is not None:
        raise UnusableInputError("cloudflare files have no header; this one does")
    return _convert


def _convert(record: Record) -> ImportedRow:
    return email_suppression(
        cells.email(record, "email"),
        Cause.MANUAL,
        None,
        end_time=cells.time(record, "expires_at"),
    )


FORMATS: Final = (
    Format(
        name="cloudflare",
        vendor="cloudflare",
        file=(
            "Import file of suppressions: `EMAIL`, `EMAIL,EXPIRY` or `EMAIL,EXPIRY,SCOPE` a line "
            "(`--as` needed for bare addresses), or JSON"
        ),
        becomes="manual suppression, with its end",
        fits=_fits,
        bind=_bind,
        columns=("email", "expires_at", "scope"),
    ),
)

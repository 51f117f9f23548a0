"""Mailchimp: the three tables of an audience's export, in their archive or one by one.

Merge fields come first and are named in the language of the account, so that a table is told by
the columns behind them, whose names are fixed. Old exports repeat some of those, and have the
columns of unsubscribed members in the table of all.

Source: buttondown/roadmap#2276, knadh/listmonk#688, public fixtures.
"""

from typing import Final

from heed.formats import cells
from heed.formats.format import Format
from heed.formats.protections import email_opt_out, email_suppression
from heed.formats.rows import (
    Became,
    Convert,
    ImportedRow,
    Nothing,
    Options,
    Record,
    UnusableInputError,
)
from heed.formats.sample import Sample, Shape
from heed.model import Cause

_SUBSCRIBED = Nothing("subscribed")
_FIXED: Final = frozenset({"leid", "euid"})
_UNSUBSCRIBED: Final = "unsub_time"
_CLEANED: Final = "clean_time"
_CHANGED: Final = "last_changed"
"""A column of subscribed members; with it beside `unsub_time` a table is of all members."""
_UNSUBSCRIBED_CELLS: Final = (
    _UNSUBSCRIBED,
    "unsub_campaign_title",
    "unsub_campaign_id",
    "unsub_reason",
    "unsub_reason_other",
)


def _is_table(sample: Sample) -> bool:
    return sample.shape is Shape.TABLE and sample.keys >= _FIXED


def _address_column(sample: Sample) -> str:
    """Return the column of the address: by its English name, else the first that holds any."""
    if "email address" in sample.keys:
        return "email address"
    for position, name in enumerate(sample.names):
        filled = [row[position] for row in sample.rows if len(row) > position and row[position]]
        if filled and all("@" in cell for cell in filled):
            return name
    if not sample.rows:
        return sample.names[0] if sample.names else ""
    raise UnusableInputError("no column of the file holds an email address in each of its rows")


def _bind_unsubscribed(sample: Sample, options: Options) -> Convert:
    column = _address_column(sample)
    has_all_members = _CHANGED in sample.keys

    def convert(record: Record) -> Became:
        if has_all_members and not any(cells.text(record, key) for key in _UNSUBSCRIBED_CELLS):
            return _SUBSCRIBED
        return email_opt_out(
            cells.email(record, column), cells.time(record, _UNSUBSCRIBED), options
        )

    return convert


def _bind_cleaned(sample: Sample, _options: Options) -> Convert:
    column = _address_column(sample)

    def convert(record: Record) -> ImportedRow:
        return email_suppression(
            cells.email(record, column), Cause.BOUNCE, cells.time(record, _CLEANED)
        )

    return convert


def _bind_subscribed(_sample: Sample, _options: Options) -> Convert:
    return lambda _record: _SUBSCRIBED


FORMATS: Final = (
    Format(
        name="mailchimp-unsubscribed",
        vendor="mailchimp",
        file="Unsubscribed members, CSV, alone or in the ZIP of an export",
        becomes="opt-out",
        fits=lambda sample: _is_table(sample) and _UNSUBSCRIBED in sample.keys,
        bind=_bind_unsubscribed,
    ),
    Format(
        name="mailchimp-cleaned",
        vendor="mailchimp",
        file="Cleaned members, CSV, alone or in the ZIP of an export",
        becomes="bounce",
        fits=lambda sample: (
            _is_table(sample) and _CLEANED in sample.keys and _UNSUBSCRIBED not in sample.keys
        ),
        bind=_bind_cleaned,
    ),
    Format(
        name="mailchimp-subscribed",
        vendor="mailchimp",
        file="Subscribed members, CSV, alone or in the ZIP of an export",
        becomes="nothing",
        fits=lambda sample: _is_table(sample) and sample.keys.isdisjoint({_CLEANED, _UNSUBSCRIBED}),
        bind=_bind_subscribed,
    ),
)

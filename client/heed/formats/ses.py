"""Amazon SES: suppression lists (bulk files and API answers) and contact lists.

Source: awsdocs/amazon-ses-developer-guide, sending-email-suppression-list.md; SESv2 API reference,
ListSuppressedDestinations and ListContacts.
"""

from typing import Final

from heed.formats import cells
from heed.formats.format import Format, has_json, need
from heed.formats.protections import email_opt_out, email_suppression
from heed.formats.rows import (
    Became,
    Convert,
    ImportedRow,
    Nothing,
    Options,
    Record,
    RowRejectedError,
)
from heed.formats.sample import Sample
from heed.model import Cause

_CAUSES: Final = {"BOUNCE": Cause.BOUNCE, "COMPLAINT": Cause.COMPLAINT}
_REMOVED = Nothing("removed")
_SUBSCRIBED = Nothing("subscribed")


def _fits_bulk(sample: Sample) -> bool:
    return sample.second_cell().upper() in _CAUSES or has_json("emailAddress", "reason")(sample)


def _bind_bulk(sample: Sample, _options: Options) -> Convert:
    if sample.keys:
        need(sample, "ses", "emailAddress", "reason")
    return lambda record: _suppressed(record, "emailAddress", "reason", "")


def _bind_list(sample: Sample, _options: Options) -> Convert:
    need(sample, "ses-list", "EmailAddress", "Reason")
    return lambda record: _suppressed(record, "EmailAddress", "Reason", "LastUpdateTime")


def _suppressed(record: Record, address: str, reason: str, seen: str) -> ImportedRow:
    cause = _CAUSES.get(cells.text(record, reason).upper())
    if cause is None:
        raise RowRejectedError(reason, "is neither BOUNCE nor COMPLAINT")
    return email_suppression(
        cells.email(record, address), cause, cells.time(record, seen) if seen else None
    )


def _fits_delete(sample: Sample) -> bool:
    return sample.is_list_of_addresses or has_json("emailAddress")(sample)


def _bind_delete(_sample: Sample, _options: Options) -> Convert:
    return lambda _record: _REMOVED


def _bind_contacts(sample: Sample, options: Options) -> Convert:
    need(sample, "ses-contacts", "EmailAddress")
    return lambda record: _contact(record, options)


def _contact(record: Record, options: Options) -> Became:
    """Become what `UnsubscribeAll` says, which overrides all, else the topics opted out of."""
    address = cells.email(record, "EmailAddress")
    when = cells.time(record, "LastUpdatedTimestamp")
    if record.get("UnsubscribeAll") is True:
        return email_opt_out(address, when, options)
    preferences = record.get("TopicPreferences")
    topics: list[str] = []
    for preference in preferences if isinstance(preferences, list) else ():
        if not isinstance(preference, dict):
            raise RowRejectedError("TopicPreferences", "is no list of objects")
        if preference.get("SubscriptionStatus") != "OPT_OUT":
            continue
        topic = options.topics.get(cells.text(preference, "TopicName"), options.topic)
        if topic not in topics:
            topics.append(topic)
    if not topics:
        return _SUBSCRIBED
    return tuple(email_opt_out(address, when, options, topic=topic) for topic in topics)


FORMATS: Final = (
    Format(
        name="ses",
        vendor="ses",
        file="Bulk file for the suppression list: CSV without a header, or JSON lines",
        becomes="`BOUNCE` bounce, `COMPLAINT` complaint",
        fits=_fits_bulk,
        bind=_bind_bulk,
        columns=("emailAddress", "reason"),
    ),
    Format(
        name="ses-list",
        vendor="ses",
        file="Answers of `ListSuppressedDestinations`, one or more pages of JSON",
        becomes="`BOUNCE` bounce, `COMPLAINT` complaint",
        fits=has_json("EmailAddress", "Reason", other=frozenset({"LastUpdateTime"})),
        bind=_bind_list,
    ),
    Format(
        name="ses-delete",
        vendor="ses",
        file="Bulk file of addresses to take off the suppression list",
        becomes="nothing: an import never lifts a protection",
        fits=_fits_delete,
        bind=_bind_delete,
        columns=("emailAddress",),
    ),
    Format(
        name="ses-contacts",
        vendor="ses",
        file="Answers of `ListContacts`, one or more pages of JSON",
        becomes=(
            "`UnsubscribeAll` opt-out; a topic with `OPT_OUT` opt-out at the mapped topic "
            "(`--map`), else as `UnsubscribeAll`; other contacts nothing"
        ),
        fits=has_json(
            "EmailAddress",
            "TopicPreferences",
            other=frozenset(
                {
                    "TopicDefaultPreferences",
                    "UnsubscribeAll",
                    "LastUpdatedTimestamp",
                    "CreatedTimestamp",
                    "AttributesData",
                    "ContactListName",
                }
            ),
        ),
        bind=_bind_contacts,
    ),
)

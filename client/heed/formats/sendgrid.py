"""SendGrid: bounces, blocks, spam reports, invalid addresses, global and group unsubscribes.

The CSV of the dashboard and the JSON of the API have the same columns. Those of bounces and blocks
are the same, and by some parsers of it the CSV of spam reports has them too: `--as` says which.

Source: docs.sendgrid.com/api-reference, suppressions; several public parsers of the CSV.
"""

from typing import Final

from heed.formats import cells
from heed.formats.format import Format, has_exactly, need
from heed.formats.protections import email_opt_out, email_suppression
from heed.formats.rows import (
    Convert,
    ImportedRow,
    Nothing,
    Options,
    Record,
    RowRejectedError,
    UnusableInputError,
)
from heed.formats.sample import Sample, Shape
from heed.model import Cause, Reach

_BLOCKED = Nothing("blocked")
_BOUNCE_COLUMNS: Final = ("status", "reason", "email", "created")
_GROUP_KEYS: Final = ("email", "group_id")
_GROUP_LIST: Final = "recipient_emails"
"""What names the addresses of one group, in what the API takes and answers."""
_GROUP_LIST_KEYS: Final = frozenset({_GROUP_LIST})


def _suppressing(name: str, cause: Cause) -> Format:
    fits, file, becomes = _OF_CAUSE[cause]

    def bind(sample: Sample, _options: Options) -> Convert:
        need(sample, name, "email")

        def convert(record: Record) -> ImportedRow:
            address = cells.email(record, "email")
            return email_suppression(
                address,
                cause,
                cells.time(record, "created"),
                reason=cells.reason(_why(record), address),
            )

        return convert

    return Format(name=name, vendor="sendgrid", file=file, becomes=becomes, fits=fits, bind=bind)


def _why(record: Record) -> str:
    """Return status and reason, unless the reason has the status already."""
    status, reason = cells.text(record, "status"), cells.text(record, "reason")
    return reason if not status or status in reason else f"{status} {reason}"


def _fits_spam(sample: Sample) -> bool:
    return has_exactly("email", "created", "ip")(sample) or (
        sample.shape is Shape.TABLE and has_exactly(*_BOUNCE_COLUMNS)(sample)
    )


_OF_CAUSE: Final = {
    Cause.BOUNCE: (
        has_exactly(*_BOUNCE_COLUMNS),
        "Bounces, CSV or API; `--as` needed",
        "bounce",
    ),
    Cause.COMPLAINT: (
        _fits_spam,
        "Spam reports, CSV or API; `--as` needed for a CSV with the columns of bounces",
        "complaint",
    ),
    Cause.INVALID: (
        has_exactly("email", "created", "reason"),
        "Invalid addresses, CSV or API",
        "invalid",
    ),
}


def _bind_blocks(sample: Sample, _options: Options) -> Convert:
    need(sample, "sendgrid-blocks", "email")
    return lambda _record: _BLOCKED


def _bind_unsubscribes(sample: Sample, options: Options) -> Convert:
    need(sample, "sendgrid-unsubscribes", "email")
    return lambda record: email_opt_out(
        cells.email(record, "email"),
        cells.time(record, "created"),
        options,
        reach=Reach.TRANSACTIONAL,
    )


def _fits_groups(sample: Sample) -> bool:
    wanted = frozenset(_GROUP_KEYS)
    return (
        wanted <= sample.keys <= wanted | {"group_name", "created_at"}
        or sample.keys == _GROUP_LIST_KEYS
        or sample.is_list_of_addresses
    )


def _bind_groups(sample: Sample, options: Options) -> Convert:
    key = _GROUP_LIST if sample.keys == _GROUP_LIST_KEYS else "email"
    if not sample.is_bare:
        need(sample, "sendgrid-groups", key)
    if "group_id" in sample.keys:
        return lambda record: _group_opt_out(record, options)
    if not options.topic:
        raise UnusableInputError(
            "the file does not say which group it is of; say which topic the group is: "
            "--topic TOPIC"
        )
    return lambda record: email_opt_out(
        cells.email(record, key), cells.time(record, "created_at"), options
    )


def _group_opt_out(record: Record, options: Options) -> ImportedRow:
    group_id, group_name = cells.text(record, "group_id"), cells.text(record, "group_name")
    topic = options.topics.get(group_id) or options.topics.get(group_name) or options.topic
    if not topic:
        raise RowRejectedError(
            "group_id", f"is of no mapped group; say --map {group_id[:40] or 'GROUP'}=TOPIC"
        )
    return email_opt_out(
        cells.email(record, "email"), cells.time(record, "created_at"), options, topic=topic
    )


FORMATS: Final = (
    _suppressing("sendgrid-bounces", Cause.BOUNCE),
    Format(
        name="sendgrid-blocks",
        vendor="sendgrid",
        file="Blocks, CSV or API; `--as` needed",
        becomes="nothing: blocks are temporary, and no suppressions there",
        fits=has_exactly(*_BOUNCE_COLUMNS),
        bind=_bind_blocks,
    ),
    _suppressing("sendgrid-spam", Cause.COMPLAINT),
    _suppressing("sendgrid-invalid", Cause.INVALID),
    Format(
        name="sendgrid-unsubscribes",
        vendor="sendgrid",
        file="Global unsubscribes, CSV or API",
        becomes="opt-out, reach transactional: it stops everything but bypassed mail there",
        fits=has_exactly("email", "created"),
        bind=_bind_unsubscribes,
    ),
    Format(
        name="sendgrid-groups",
        vendor="sendgrid",
        file=(
            "Group unsubscribes, API: with `group_id`, or the bare addresses of one group "
            "(`--as`, `--topic`)"
        ),
        becomes="opt-out at the topic that the group is mapped to (`--map ID=TOPIC`, or the name)",
        fits=_fits_groups,
        bind=_bind_groups,
        columns=("email",),
    ),
)

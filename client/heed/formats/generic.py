"""Any other list: a CSV with a header, JSON lines or a JSON array, with columns that heed names.

heed's own export (CSV) can be read back so. A record that protects from nothing for good (an
opt-in, a pause) is nothing here: an import only adds protection.
"""

from collections.abc import Mapping
from typing import Final, TypeVar

from heed.formats import cells
from heed.formats.format import Format
from heed.formats.protections import end_of_temporary
from heed.formats.rows import (
    Became,
    Convert,
    ImportedRow,
    Nothing,
    Options,
    Record,
    RowRejectedError,
    UnusableInputError,
)
from heed.formats.sample import Sample
from heed.model import (
    REACH_OF_CAUSE,
    TOPIC_ROOT,
    Cause,
    Channel,
    Reach,
    SubjectType,
)

T = TypeVar("T")

COLUMNS: Final = (
    "address",
    "type",
    "channel",
    "topic",
    "kind",
    "cause",
    "reach",
    "decided_time",
    "end_time",
    "reason",
)
"""What it reads. Only the address is required."""
_UNREAD: Final = frozenset({"active", "source", "revision"})
"""What else stands in heed's own export."""

_CAUSES: Final = {"opt_out": Cause.NONE} | {
    cause.name.lower(): cause for cause in Cause if cause is not Cause.NONE
}
_CHOICES: Final = frozenset({"opt_out", "opt_in", "pause"})
"""The kinds of record that have no cause."""
_NO_STOPS: Final = {word: Nothing(word) for word in ("opt_in", "pause")}
_CHANNELS: Final = {channel.name.lower(): channel for channel in Channel}
_REACHES: Final = {reach.name.lower(): reach for reach in Reach}
_TYPES: Final = {one.name.lower(): one for one in SubjectType}
_TYPE_OF_CHANNEL: Final = {Channel.PUSH: SubjectType.DEVICE, Channel.IN_APP: SubjectType.USER}


def _fits(sample: Sample) -> bool:
    return sample.is_list_of_addresses or (
        "address" in sample.keys and sample.keys <= _UNREAD.union(COLUMNS)
    )


def _bind(sample: Sample, options: Options) -> Convert:
    unknown = options.columns.keys() - set(COLUMNS)
    if unknown:
        raise UnusableInputError(
            f"--column has no {', '.join(sorted(unknown))}; it has {', '.join(COLUMNS)}"
        )
    names = {name: options.columns.get(name, name) for name in COLUMNS}
    if sample.header is not None:
        names = {name: written.strip().casefold() for name, written in names.items()}
    if not sample.is_bare and not sample.is_empty:
        _check_columns(sample, names, options)
    default = _CAUSES.get(_word(options.cause)) if options.cause else None
    if options.cause and default is None:
        raise UnusableInputError(f"--cause is none of {', '.join(_CAUSES)}")
    says_why = names["cause"] in sample.keys or names["kind"] in sample.keys
    if default is None and not says_why and not sample.is_empty:
        raise UnusableInputError(
            f"nothing says why these addresses are listed; say it: --cause {'|'.join(_CAUSES)}"
        )
    return lambda record: _convert(record, names, default, options)


def _check_columns(sample: Sample, names: dict[str, str], options: Options) -> None:
    wanted = ["address", *options.columns]
    missing = [names[one] for one in dict.fromkeys(wanted) if names[one] not in sample.keys]
    if missing:
        has = ", ".join(sorted(sample.keys)[:20]) or "none"
        raise UnusableInputError(
            f"there is no column {', '.join(missing)}; the file has {has}. "
            "Say which column is which: --column address=NAME"
        )


def _convert(
    record: Record, names: dict[str, str], default: Cause | None, options: Options
) -> Became:
    kind = _word(cells.text(record, names["kind"]))
    word = kind if kind in _CHOICES else _word(cells.text(record, names["cause"]))
    if word in _NO_STOPS:
        return _NO_STOPS[word]
    cause = _CAUSES.get(word) if word else default
    if cause is None:
        raise RowRejectedError(names["cause"], f"is none of {', '.join(_CAUSES)}")
    channel = _named(record, names["channel"], _CHANNELS)
    reach = _named(record, names["reach"], _REACHES)
    subject_type, address = _subject(record, names, channel)
    decided_time = cells.time(record, names["decided_time"])
    topic = cells.text(record, names["topic"])
    if cause is Cause.NONE:
        return ImportedRow(
            subject_type,
            address,
            cause,
            reach,
            channel or options.channel,
            options.topics.get(topic, topic) or options.topic,
            decided_time,
        )
    end_time = cells.time(record, names["end_time"])
    if end_time is None and cause is Cause.TEMPORARY_FAILURE:
        end_time = end_of_temporary(decided_time, options)
    return ImportedRow(
        subject_type,
        address,
        cause,
        _reach_of(cause, reach, names["reach"]),
        channel,
        topic or TOPIC_ROOT,
        decided_time,
        end_time,
        cells.reason(cells.text(record, names["reason"]), address),
    )


def _subject(
    record: Record, names: dict[str, str], channel: Channel | None
) -> tuple[SubjectType, str]:
    """Return whose it is: of the type said, else of the channel's, else by its form."""
    key = names["address"]
    subject_type = _named(record, names["type"], _TYPES)
    if subject_type is None and channel is not None:
        subject_type = _TYPE_OF_CHANNEL.get(channel)
    if subject_type is None:
        is_email = "@" in cells.text(record, key)
        subject_type = SubjectType.EMAIL if is_email else SubjectType.PHONE
    if subject_type is SubjectType.EMAIL:
        return subject_type, cells.email(record, key)
    address = cells.phone(record, key)
    if subject_type is SubjectType.PHONE and not address.startswith("+"):
        raise RowRejectedError(
            key, "is neither name@domain nor a number with + and country code; say its type"
        )
    return subject_type, address


def _reach_of(cause: Cause, reach: Reach | None, key: str) -> Reach | None:
    """Return the reach to ask for: only a legal suppression's can be narrower than its cause's."""
    if reach is None or reach is REACH_OF_CAUSE[cause]:
        return None
    if reach > REACH_OF_CAUSE[cause]:
        raise RowRejectedError(
            key, f"is wider than a {cause.name.lower()} reaches; import a legal suppression"
        )
    return reach if cause is Cause.LEGAL and reach is Reach.PROMOTIONAL else None


def _named(record: Record, key: str, words: Mapping[str, T]) -> T | None:
    word = _word(cells.text(record, key))
    if not word:
        return None
    member = words.get(word)
    if member is None:
        raise RowRejectedError(key, f"is none of {', '.join(words)}")
    return member


def _word(written: str) -> str:
    return written.strip().lower().replace("-", "_").replace(" ", "_")


FORMATS: Final = (
    Format(
        name="generic",
        vendor="file",
        file=(
            "Any CSV with a header, JSON lines or JSON array; the columns are named as below, or "
            "by `--column`; or bare addresses (`--as`)"
        ),
        becomes="what `cause` says, or `--cause`; `opt_in` and `pause` nothing",
        fits=_fits,
        bind=_bind,
        depends_on_day=True,
        columns=("address",),
    ),
)

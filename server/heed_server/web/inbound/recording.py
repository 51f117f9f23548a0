"""From what events stop to the calls that record it.

Laws:
- As few calls as the service's limits allow, in the order of the events.
- The key of a call is made of all that it says: the same notification is recorded once however
  often it comes, and one that is read differently since is recorded as it is read now. Of a
  provider that signs a token and no more, the token is the key.
- Of an address that the normaliser refuses nothing is recorded: no Check can be about it either.

Pure.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from heed import keys
from heed.errors import InvalidArgumentError
from heed.formats import ImportedRow
from heed.model import (
    CHANNELS_OF_SUBJECT_TYPE,
    REACH_OF_CAUSE,
    Cause,
    Method,
    Origin,
    Reach,
    Scope,
    Subject,
)
from heed.wire.asked import ProtectionAsked, WriteCall
from heed.wire.limits import SUPPRESSIONS_MAX
from heed_server.service.reports import ReportAsked
from heed_server.web.inbound.notification import Notification
from heed_server.web.inbound.sources import Source

ACTS_AS: Final = "inbound/"
"""What stands before the name of a source where it is a principal, and an origin's source."""
_KEY_HEX_DIGITS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a notification has recorded."""

    calls: tuple[ReportAsked, ...]
    became: tuple[str, ...]
    """Of each event of the notification, one word: `nothing`, `unreadable`, `unaddressable`,
    `opt_out`, or the cause of a suppression."""


def recording_of(notification: Notification, source: Source) -> Recording:
    """Return what is to be called for a notification."""
    protections: list[ProtectionAsked] = []
    became: list[str] = []
    for event in notification.events:
        words: list[str] = []
        for row in event.rows:
            read = _protections(row, len(protections))
            protections += read
            words.append(row.word if read else "unaddressable")
        if event.unreadable is not None:
            words.append("unreadable")
        became.append(words[0] if words else "nothing")
    origin = Origin(
        source=ACTS_AS + source.name,
        method=Method.API,
        jurisdiction=source.jurisdiction,
        reference=notification.reference,
    )
    parts = (
        protections[at : at + SUPPRESSIONS_MAX]
        for at in range(0, len(protections), SUPPRESSIONS_MAX)
    )
    calls = tuple(_calls(source, notification, origin, parts))
    return Recording(calls=calls, became=tuple(became))


def _calls(
    source: Source,
    notification: Notification,
    origin: Origin,
    parts: Iterator[Sequence[ProtectionAsked]],
) -> Iterator[ReportAsked]:
    for number, part in enumerate(parts):
        said = hashlib.sha256(repr([source.name, *map(_said, part)]).encode()).digest()
        key = said.hex()[:_KEY_HEX_DIGITS]
        if notification.once is not None:
            said, key = notification.once.said, f"{number}:{notification.once.token}"
        call = WriteCall(
            tenant=source.tenant, idempotency_key=f"{source.name}:{key}", payload_hash=said
        )
        yield ReportAsked(call=call, protections=tuple(part), origin=origin)


def _said(one: ProtectionAsked) -> tuple[object, ...]:
    return (
        one.subject.value,
        int(one.cause),
        int(one.reach),
        int(one.scope.channel),
        one.scope.topic,
        one.decided_time,
        one.end_time,
        one.reason,
    )


def _protections(row: ImportedRow, position: int) -> list[ProtectionAsked]:
    """Return what a row adds; nothing where its address is none."""
    try:
        subject = keys.normalise(Subject(type=row.subject_type, value=row.address))
    except InvalidArgumentError:
        return []
    channels = CHANNELS_OF_SUBJECT_TYPE[row.subject_type] if row.channel is None else (row.channel,)
    reach = _reach(row)
    return [
        ProtectionAsked(
            subject=subject,
            cause=row.cause,
            reach=reach,
            scope=Scope(channel=channel, topic=row.topic),
            decided_time=row.decided_time,
            end_time=row.end_time,
            reason=row.reason,
            row=position,
        )
        for channel in channels
    ]


def _reach(row: ImportedRow) -> Reach:
    if row.cause is not Cause.NONE:
        return REACH_OF_CAUSE[row.cause]
    return Reach.PROMOTIONAL if row.reach is None else row.reach

"""From what events stop to the calls that record it.

Laws:
- As few calls as the service's limits allow, in the order of the events.
- A call is known by all that it says: the same notification is recorded once however often it
  comes, and one that is read differently since is recorded as it is read now. Of a provider that
  signs a token and no more, it is known by the token.
- Of an address that the normaliser refuses nothing is recorded: no Check can be about it either.

Pure.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from heed import keys
from heed.errors import InvalidArgumentError
from heed.formats import ImportedRow
from heed.model import (
    REACH_OF_CAUSE,
    Cause,
    Channel,
    Method,
    Origin,
    Reach,
    Scope,
    Subject,
)
from heed.wire.asked import ProtectionAsked
from heed.wire.limits import SUPPRESSIONS_MAX
from heed_server.service.reports import ReportAsked
from heed_server.web.inbound.notification import Notification
from heed_server.web.inbound.sources import Source

ACTS_AS: Final = "inbound/"
"""What stands before the name of a source where it is a principal, and an origin's source."""


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
        word = "nothing" if event.unreadable is None else "unreadable"
        if event.row is not None:
            protection = _protection(event.row, len(protections))
            word = "unaddressable"
            if protection is not None:
                protections.append(protection)
                word = event.row.word
        became.append(word)
    parts = [
        tuple(protections[at : at + SUPPRESSIONS_MAX])
        for at in range(0, len(protections), SUPPRESSIONS_MAX)
    ]
    calls = tuple(_call(part, number, notification, source) for number, part in enumerate(parts))
    return Recording(calls=calls, became=tuple(became))


def _call(
    part: tuple[ProtectionAsked, ...], number: int, notification: Notification, source: Source
) -> ReportAsked:
    once = notification.once
    if once is None:
        name, said = "", hashlib.sha256(repr([*map(_said, part)]).encode()).digest()
    else:
        name, said = f"{number}:{once.token}", once.said
    origin = Origin(
        source=ACTS_AS + source.name,
        method=Method.API,
        jurisdiction=source.jurisdiction,
        reference=notification.reference,
    )
    return ReportAsked(
        tenant=source.tenant, name=name, payload_hash=said, protections=part, origin=origin
    )


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


def _protection(row: ImportedRow, position: int) -> ProtectionAsked | None:
    """Return what a row adds; None where its address is none."""
    try:
        subject = keys.normalise(Subject(type=row.subject_type, value=row.address))
    except InvalidArgumentError:
        return None
    channel = Channel.EMAIL if row.channel is None else row.channel
    return ProtectionAsked(
        subject=subject,
        cause=row.cause,
        reach=_reach(row),
        scope=Scope(channel=channel, topic=row.topic),
        decided_time=row.decided_time,
        end_time=row.end_time,
        reason=row.reason,
        row=position,
    )


def _reach(row: ImportedRow) -> Reach:
    if row.cause is not Cause.NONE:
        return REACH_OF_CAUSE[row.cause]
    return Reach.PROMOTIONAL if row.reach is None else row.reach

"""Postmark: bounces, spam complaints and changes of subscriptions, one a request.

It signs nothing: whoever has the password of the source is believed.
An address that Postmark made inactive is stopped whatever the type of the bounce is.

Source: postmarkapp.com/developer/webhooks, bounce, spam complaint and subscription change; the
types are those of postmarkapp.com/developer/api/bounce-api.
"""

from collections.abc import Callable, Sequence
from typing import Final

from heed.formats import ImportedRow
from heed_server.web.inbound.becoming import (
    Meaning,
    Said,
    email,
    label,
    printable,
    row_of,
    seen,
    word,
)
from heed_server.web.inbound.notification import (
    OTHER,
    Event,
    Notification,
    Record,
    event_of,
    object_of,
)
from heed_server.web.inbound.passwords import require_password
from heed_server.web.inbound.provider import Headers
from heed_server.web.inbound.sources import Reading, Source

_TYPES: Final = {
    "HardBounce": Meaning.BOUNCE,
    "BadEmailAddress": Meaning.INVALID,
    "SpamComplaint": Meaning.COMPLAINT,
    "ManuallyDeactivated": Meaning.MANUAL,
    "Unsubscribe": Meaning.OPT_OUT,
    "SoftBounce": Meaning.TEMPORARY,
    "Blocked": Meaning.TEMPORARY,
    "SpamNotification": Meaning.TEMPORARY,
    "DnsError": Meaning.TEMPORARY,
    "Unknown": Meaning.TEMPORARY,
    "Transient": Meaning.DEFERRAL,
    "AddressChange": Meaning.NOTHING,
    "AutoResponder": Meaning.NOTHING,
    "ChallengeVerification": Meaning.NOTHING,
    "DMARCPolicy": Meaning.NOTHING,
    "InboundError": Meaning.NOTHING,
    "OpenRelayTest": Meaning.NOTHING,
    "SMTPApiError": Meaning.NOTHING,
    "Subscribe": Meaning.NOTHING,
    "TemplateRenderingFailed": Meaning.NOTHING,
    "Unconfirmed": Meaning.NOTHING,
    "VirusNotification": Meaning.NOTHING,
}
_STOPPED_BY_POSTMARK: Final = frozenset({Meaning.NOTHING, Meaning.DEFERRAL, Meaning.TEMPORARY})
"""What is a bounce all the same where the address was made inactive for it."""
_REASONS: Final = {"HardBounce": Meaning.BOUNCE, "SpamComplaint": Meaning.COMPLAINT}
_PASSED_OVER: Final = frozenset({"Delivery", "Open", "Click", "Inbound", "SMTPApiError"})


class Postmark:
    """One source of Postmark."""

    def __init__(self, source: Source, passwords: Sequence[bytes]) -> None:
        self._user = source.user
        self._passwords = passwords

    def admit(self, headers: Headers) -> None:
        """Ask for the password."""
        require_password(headers.get("authorization", ""), self._user, self._passwords)

    async def open(
        self, _headers: Headers, body: bytes, reading: Reading, /, *, leave: Callable[[], None]
    ) -> Notification:
        """Return what a webhook reports."""
        del leave
        return read_postmark(object_of(body), reading)


def read_postmark(record: Record, reading: Reading) -> Notification:
    """Return what a webhook of Postmark reports."""
    reference = printable(label(record, "ID") or word(record, "MessageID"))
    return Notification(events=(_event(record, reading),), reference=reference)


def _event(record: Record, reading: Reading) -> Event:
    match word(record, "RecordType"):
        case "Bounce":
            kind = word(record, "Type")
            known = f"Bounce/{kind}" if kind in _TYPES else "Bounce/" + OTHER
            return event_of(known, lambda: _bounce(record, kind, reading))
        case "SpamComplaint":
            return event_of("SpamComplaint", lambda: _complaint(record, reading))
        case "SubscriptionChange":
            return event_of("SubscriptionChange", lambda: _change(record, reading))
        case kind:
            return Event(word=kind if kind in _PASSED_OVER else OTHER)


def _bounce(record: Record, kind: str, reading: Reading) -> ImportedRow | None:
    meaning = _TYPES.get(kind, Meaning.NOTHING)
    if record.get("Inactive") is True and meaning in _STOPPED_BY_POSTMARK:
        meaning = Meaning.BOUNCE
    why = ": ".join(part for part in (kind, word(record, "Details")) if part)
    said = Said(
        meaning=meaning,
        address=email(record, "Email"),
        seen=seen(record, "BouncedAt"),
        why=why,
        label=word(record, "MessageStream"),
    )
    return row_of(said, reading)


def _complaint(record: Record, reading: Reading) -> ImportedRow | None:
    said = Said(
        meaning=Meaning.COMPLAINT,
        address=email(record, "Email"),
        seen=seen(record, "BouncedAt"),
        why="SpamComplaint",
    )
    return row_of(said, reading)


def _change(record: Record, reading: Reading) -> ImportedRow | None:
    if record.get("SuppressSending") is not True:
        return None  # Postmark sends again; heed goes by its own releases
    reason = word(record, "SuppressionReason")
    by_recipient = word(record, "Origin") == "Recipient"
    meaning = _REASONS.get(reason, Meaning.OPT_OUT if by_recipient else Meaning.MANUAL)
    said = Said(
        meaning=meaning,
        address=email(record, "Recipient"),
        seen=seen(record, "ChangedAt"),
        why=f"SubscriptionChange: {reason}" if reason else "SubscriptionChange",
        label=word(record, "MessageStream"),
    )
    return row_of(said, reading)

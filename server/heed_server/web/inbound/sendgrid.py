"""SendGrid: the signed event webhook, batches of events.

What SendGrid drops because of its own lists is what those lists say (`dropped`).

Source: twilio.com/docs/sendgrid/for-developers/tracking-events, "Event Webhook Reference" and
"Getting Started with the Event Webhook Security Features".
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    load_der_public_key,
    load_pem_public_key,
)

from heed.formats import ImportedRow
from heed.model import Reach
from heed_server.web.inbound.becoming import Meaning, Said, email, label, row_of, seen, word
from heed_server.web.inbound.notification import (
    EVENTS_MAX,
    OTHER,
    Event,
    Notification,
    NotReadableError,
    NotVerifiedError,
    Record,
    Unreadable,
    Why,
    decoded,
    event_of,
)
from heed_server.web.inbound.provider import Headers, computed
from heed_server.web.inbound.sources import Reading

SIGNATURE_HEADER: Final = "x-twilio-email-event-webhook-signature"
TIMESTAMP_HEADER: Final = "x-twilio-email-event-webhook-timestamp"

_DROPS: Final = {
    "bounced address": Meaning.BOUNCE,
    "invalid": Meaning.INVALID,
    "spam reporting address": Meaning.COMPLAINT,
    "unsubscribed address": Meaning.OPT_OUT,
}
"""What a list of SendGrid's says; every other reason is of the message or of the account."""
_OF_THE_SENDER: Final = frozenset({"content", "frequency/volume", "reputation", "technical"})
"""Why mail is blocked that says nothing of the address (`bounce_classification`)."""
_READ: Final = frozenset(
    {"bounce", "blocked", "dropped", "deferred", "spamreport", "unsubscribe", "group_unsubscribe"}
)
_PASSED_OVER: Final = frozenset(
    {"processed", "delivered", "open", "click", "group_resubscribe", "account_status_change"}
)


class SendGrid:
    """One source of SendGrid."""

    def __init__(self, keys: Sequence[ec.EllipticCurvePublicKey]) -> None:
        self._keys = keys

    def admit(self, headers: Headers) -> None:
        """Require that there is a signature."""
        if not headers.get(SIGNATURE_HEADER) or not headers.get(TIMESTAMP_HEADER):
            raise NotVerifiedError(Why.ABSENT)

    async def open(
        self, headers: Headers, body: bytes, reading: Reading, /, *, leave: Callable[[], None]
    ) -> Notification:
        """Return what a signed batch reports.

        Its age is not judged: what is sent once more is recorded once, and counts by its own time.
        """
        del leave
        _require_signed(self._keys, headers, body)
        return await computed(len(body), lambda: read_sendgrid(body, reading))


def parse_public_key(text: bytes) -> ec.EllipticCurvePublicKey:
    """Return a verification key, as SendGrid shows it (base64 of DER) or as PEM.

    Raises:
        ValueError: it is none.
    """
    if text.lstrip().startswith(b"-----BEGIN"):
        key = load_pem_public_key(text)
    else:
        key = load_der_public_key(base64.b64decode(b"".join(text.split()), validate=True))
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("it is no key of ECDSA on P-256")  # noqa: TRY004 - it is a wrong file
    return key


def read_sendgrid(body: bytes, reading: Reading) -> Notification:
    """Return what a batch reports.

    Raises:
        NotReadableError: it is no list of events, or too long.
    """
    try:
        said = decoded(body)
    except ValueError as error:
        raise NotReadableError("body", f"is no JSON: {error}") from None
    if not isinstance(said, list):
        raise NotReadableError("body", "is no list")
    if len(said) > EVENTS_MAX:
        raise NotReadableError("body", f"has {len(said)} events, at most {EVENTS_MAX} are read")
    return Notification(events=tuple(_event(one, reading) for one in said))


def _require_signed(
    keys: Sequence[ec.EllipticCurvePublicKey], headers: Headers, body: bytes
) -> None:
    try:
        signature = base64.b64decode(headers[SIGNATURE_HEADER], validate=True)
        signed = headers[TIMESTAMP_HEADER].encode("ascii") + body
    except (binascii.Error, ValueError):
        raise NotVerifiedError(Why.MALFORMED) from None
    for key in keys:
        try:
            key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            continue
        return
    raise NotVerifiedError(Why.SIGNATURE)


def _event(record: object, reading: Reading) -> Event:
    if not isinstance(record, dict):
        return Event(word=OTHER, unreadable=Unreadable(field="event", description="is no object"))
    kind = word(record, "event")
    if kind == "bounce" and word(record, "type").lower() == "blocked":
        kind = "blocked"
    if kind not in _READ:
        return Event(word=kind if kind in _PASSED_OVER else OTHER)
    return event_of(kind, partial(_row, record, kind, reading))


def _row(record: Record, kind: str, reading: Reading) -> ImportedRow | None:
    said = Said(
        meaning=_meaning(record, kind),
        address=email(record, "email"),
        seen=seen(record, "timestamp"),
        why=_why(record, kind),
        label=label(record, "asm_group_id"),
        own_reach=Reach.PROMOTIONAL if kind == "group_unsubscribe" else Reach.TRANSACTIONAL,
    )
    return row_of(said, reading)


def _meaning(record: Record, kind: str) -> Meaning:
    match kind:
        case "bounce":
            return Meaning.BOUNCE
        case "blocked":
            is_of_the_sender = word(record, "bounce_classification").lower() in _OF_THE_SENDER
            return Meaning.NOTHING if is_of_the_sender else Meaning.TEMPORARY
        case "dropped":
            return _DROPS.get(word(record, "reason").lower(), Meaning.NOTHING)
        case "deferred":
            return Meaning.DEFERRAL
        case "spamreport":
            return Meaning.COMPLAINT
        case _:
            return Meaning.OPT_OUT


def _why(record: Record, kind: str) -> str:
    """The status and the reason, unless the reason has the status already."""
    status = word(record, "status")
    reason = word(record, "reason") or word(record, "response")
    parts = (kind, "" if status in reason else status, reason)
    return " ".join(part for part in parts if part)

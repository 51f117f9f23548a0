"""Mailgun: webhooks of one event each, with what signs them in the body.

Laws:
- What Mailgun signs is a time and a token, and not what it reports. So a token is good for one
  report: with other words it is refused, as long as idempotency keys are kept, and within
  `SIGNED_AGE_SECONDS_MAX` of its time also where nothing was recorded of it.
- Mailgun comes again for 8 hours, so what is signed is fresh for longer than that.

Source: documentation.mailgun.com, "Securing Webhooks", "Webhook payloads", "Automatic Retries" and
"Event Structure".
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from heed.formats import ImportedRow
from heed.formats.rows import RowRejectedError
from heed.model import Instant, Reach
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
    NotReadableError,
    NotVerifiedError,
    Once,
    Record,
    Why,
    decoded,
    event_of,
    member,
)
from heed_server.web.inbound.provider import Headers
from heed_server.web.inbound.sources import Reading

SIGNED_AGE_SECONDS_MAX: Final = 86_400
"""How old what Mailgun signed may be. Higher: one that leaked is of use for longer. Lower than the
8 hours in which it comes again: what comes late is lost."""
SIGNED_AHEAD_SECONDS_MAX: Final = 300
"""How far its clock may be ahead of ours."""
TOKENS_REMEMBERED_MAX: Final = 10_000
"""Tokens of a source that are remembered in memory, those of reports of which nothing was recorded
too; the oldest are forgotten. Some 2 MiB."""
MAILGUN_TOKEN_CHARACTERS_MAX: Final = 100
"""Characters of a token; Mailgun's have 50."""

_SIGNATURES: Final = ("signature", "parent-signature")
"""Of the account, and of the one that it is a subaccount of."""
_SECOND: Final = 1_000_000
_TIMESTAMP = re.compile(r"\d{1,10}", re.ASCII)

_FAILURES: Final = {
    "suppress-bounce": Meaning.BOUNCE,
    "suppress-complaint": Meaning.COMPLAINT,
    "suppress-unsubscribe": Meaning.OPT_OUT,
    "old": Meaning.TEMPORARY,
    "espblock": Meaning.TEMPORARY,
    "greylisted": Meaning.TEMPORARY,
}
"""Why Mailgun gave up, where it is not that the other side refused for good."""
_READ: Final = frozenset({"failed", "complained", "unsubscribed"})
_PASSED_OVER: Final = frozenset(
    {"accepted", "rejected", "delivered", "opened", "clicked", "stored", "list_member_uploaded"}
)


class Mailgun:
    """One source of Mailgun. Written on the event loop alone."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = keys
        self._used: dict[str, bytes] = {}
        """What each token came with, oldest first."""

    def admit(self, headers: Headers) -> None:
        """Let the body be read: what signs it is there."""

    async def open(
        self, _headers: Headers, body: bytes, reading: Reading, /, *, leave: Callable[[], None]
    ) -> Notification:
        """Return what a webhook reports."""
        del leave
        try:
            said = decoded(body)
        except ValueError:
            raise NotVerifiedError(Why.MALFORMED) from None
        if not isinstance(said, dict):
            raise NotVerifiedError(Why.MALFORMED)
        token = self._verified_token(said, reading.now)
        try:
            record = member(said, "event-data")
        except RowRejectedError as error:
            raise NotReadableError(error.field_name, error.description) from None
        once = Once(token, hashlib.sha256(msgspec.json.encode(record, order="sorted")).digest())
        self._require_unused(once)
        return Notification(
            events=(read_mailgun(record, reading),),
            reference=printable(word(record, "id")),
            once=once,
        )

    def _verified_token(self, said: Record, now: Instant) -> str:
        """Return the token that one of the keys signed."""
        given = [one for name in _SIGNATURES if isinstance(one := said.get(name), dict)]
        if not given:
            raise NotVerifiedError(Why.ABSENT)
        for one in given:
            timestamp, token = label(one, "timestamp"), word(one, "token")
            if not (
                timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= len("9999999999")
            ):
                continue
            if not token or len(token) > MAILGUN_TOKEN_CHARACTERS_MAX or not token.isascii():
                continue
            if self._is_signed(timestamp, token, word(one, "signature")):
                _require_fresh(int(timestamp), now)
                return token
        raise NotVerifiedError(Why.SIGNATURE)

    def _is_signed(self, timestamp: str, token: str, signature: str) -> bool:
        given = signature.encode("utf-8", "replace")
        signed = f"{timestamp}{token}".encode()
        # Each is compared, so that time tells nothing of which.
        matching = sum(
            hmac.compare_digest(hmac.digest(key, signed, "sha256").hex().encode(), given)
            for key in self._keys
        )
        return matching > 0

    def _require_unused(self, once: Once) -> None:
        """Return if a token comes for the first time, or with the same words again."""
        if self._used.setdefault(once.token, once.said) != once.said:
            raise NotVerifiedError(Why.REUSED)
        if len(self._used) > TOKENS_REMEMBERED_MAX:
            del self._used[next(iter(self._used))]


def read_mailgun(record: Record, reading: Reading) -> Event:
    """Return what an event says."""
    kind = word(record, "event")
    if kind not in _READ:
        return Event(word=kind if kind in _PASSED_OVER else OTHER)
    if kind == "failed":
        severity = word(record, "severity")
        known = f"failed/{severity if severity in _SEVERITIES else OTHER}"
        return event_of(known, partial(_failed, record, severity, reading))
    return event_of(kind, partial(_said_so, record, kind, reading))


_SEVERITIES: Final = frozenset({"permanent", "temporary"})


def _failed(record: Record, severity: str, reading: Reading) -> ImportedRow | None:
    reason = word(record, "reason")
    if severity == "permanent":
        meaning = _FAILURES.get(reason, Meaning.BOUNCE)
    elif reason == "old":
        meaning = Meaning.TEMPORARY  # it gave up, and still calls it temporary
    elif severity == "temporary":
        meaning = Meaning.DEFERRAL
    else:
        meaning = Meaning.TEMPORARY
    status = record.get("delivery-status")
    told = status if isinstance(status, dict) else {}
    parts = (reason, label(told, "code"), word(told, "message") or word(told, "description"))
    said = Said(
        meaning=meaning,
        address=email(record, "recipient", path="event-data."),
        seen=seen(record, "timestamp"),
        why=" ".join(part for part in parts if part),
        own_reach=Reach.TRANSACTIONAL,
    )
    return row_of(said, reading)


def _said_so(record: Record, kind: str, reading: Reading) -> ImportedRow | None:
    said = Said(
        meaning=Meaning.COMPLAINT if kind == "complained" else Meaning.OPT_OUT,
        address=email(record, "recipient", path="event-data."),
        seen=seen(record, "timestamp"),
        why=kind,
        own_reach=Reach.TRANSACTIONAL,
    )
    return row_of(said, reading)


def _require_fresh(signed_at: int, now: Instant) -> None:
    age = now // _SECOND - signed_at
    if not -SIGNED_AHEAD_SECONDS_MAX <= age <= SIGNED_AGE_SECONDS_MAX:
        raise NotVerifiedError(Why.STALE)

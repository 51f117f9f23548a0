"""SES as SNS delivers it: in a signed envelope, or raw, where the password of the source is shown.

Law: a raw message is signed by nobody. It is believed only of a source that has a password, and
then every request has to show it.
"""

from collections.abc import Callable, Sequence
from typing import Final

from cryptography import x509

from heed_server.web.inbound.becoming import printable
from heed_server.web.inbound.notification import (
    Notification,
    NotReadableError,
    NotVerifiedError,
    Subscription,
    Why,
)
from heed_server.web.inbound.passwords import require_password
from heed_server.web.inbound.provider import Headers
from heed_server.web.inbound.ses import read_ses
from heed_server.web.inbound.sns import NOTIFICATION, Envelope, read_envelope, require_signed
from heed_server.web.inbound.sns_certificates import SigningCertificates
from heed_server.web.inbound.sources import Reading, Source

_RAW: Final = "x-amz-sns-rawdelivery"


class SesOverSns:
    """One source of SES."""

    def __init__(
        self,
        source: Source,
        secrets: Sequence[bytes],
        pinned: Sequence[x509.Certificate],
        certificates: SigningCertificates,
    ) -> None:
        """`pinned` certificates are believed and no others; none: those that SNS publishes."""
        self._source = source
        self._secrets = secrets
        self._pinned = pinned
        self._certificates = certificates

    def admit(self, headers: Headers) -> None:
        """Ask for the password, if the source has one."""
        if self._secrets:
            require_password(headers.get("authorization", ""), self._source.user, self._secrets)
        elif headers.get(_RAW, "").lower() == "true":
            raise NotVerifiedError(Why.ABSENT)

    async def open(
        self, headers: Headers, body: bytes, reading: Reading, /, *, leave: Callable[[], None]
    ) -> Notification | Subscription:
        """Return what an envelope holds that SNS signed, or what came raw with the password."""
        if self._secrets and headers.get(_RAW, "").lower() == "true":
            return self._raw(headers, body, reading)
        envelope = read_envelope(body, self._source)
        require_signed(envelope, await self._certificates_of(envelope, leave))
        if envelope.kind != NOTIFICATION:
            return envelope.subscription()
        return Notification(
            events=read_ses(envelope.message, reading), reference=printable(envelope.message_id)
        )

    def _raw(self, headers: Headers, body: bytes, reading: Reading) -> Notification:
        if headers.get("x-amz-sns-topic-arn", "") not in self._source.topic_arns:
            raise NotVerifiedError(Why.TOPIC)
        try:
            message = body.decode()
        except UnicodeDecodeError:
            raise NotReadableError("body", "is not UTF-8") from None
        reference = printable(headers.get("x-amz-sns-message-id", ""))
        return Notification(events=read_ses(message, reading), reference=reference)

    async def _certificates_of(
        self, envelope: Envelope, leave: Callable[[], None]
    ) -> Sequence[x509.Certificate]:
        if self._pinned:
            return self._pinned
        return [await self._certificates.at(envelope.certificate_url, leave=leave)]

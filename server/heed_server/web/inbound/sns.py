"""Amazon SNS: the envelope of a message, and whether SNS signed it.

Laws:
- Nothing of an envelope is believed before its topic is one that the source names and its
  signature is good, but the place of the certificate; and that only if it is SNS's own.
- What is verified is what is read: both are of the same parsed members, and only a message may have
  line breaks, which are what parts them where they are signed.

Source: the SNS developer guide, "Verifying the signatures of Amazon SNS messages", "Parsing Amazon
SNS message formats" and "Amazon SNS raw message delivery".
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from heed_server.web.inbound.notification import (
    NotVerifiedError,
    Record,
    Subscription,
    Why,
    decoded,
)
from heed_server.web.inbound.sources import SignatureVersion, Source

RSA_BITS_MIN: Final = 2_048
"""Bits of the key of a certificate that is believed."""

NOTIFICATION: Final = "Notification"
CONFIRMATION: Final = "SubscriptionConfirmation"
END: Final = "UnsubscribeConfirmation"

_SIGNED: Final = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: (
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
    ),
}  # fmt: skip
_SIGNED[END] = _SIGNED[CONFIRMATION]
_OPTIONAL: Final = frozenset({"Subject"})
_MESSAGE: Final = "Message"
_VERSIONS: Final = {str(version.value): version for version in SignatureVersion}
_HASHES: Final[dict[SignatureVersion, hashes.HashAlgorithm]] = {
    # What SNS signs with unless its topic is told otherwise.
    SignatureVersion.SHA1: hashes.SHA1(),  # noqa: S303 - the same
    SignatureVersion.SHA256: hashes.SHA256(),
}
_OF_SNS: Final = r"https://sns\.[a-z]{2}(?:-[a-z]+)+-\d{1,2}\.amazonaws\.com(?:\.cn)?"
_CERTIFICATE_URL = re.compile(
    _OF_SNS + r"/SimpleNotificationService-[0-9A-Za-z]{1,64}\.pem", re.ASCII
)
_SUBSCRIBE_URL = re.compile(_OF_SNS + r"/\?[\w.~%:=&+-]{1,2000}", re.ASCII)
"""In a form that no two parsers read differently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message of SNS, not verified yet."""

    kind: str
    topic_arn: str
    message: str
    message_id: str
    certificate_url: str
    subscribe_url: str
    signed: bytes
    """The string that is signed."""
    signature: bytes
    version: SignatureVersion

    def subscription(self) -> Subscription:
        """Return what a message that is no notification says."""
        return Subscription(
            topic_arn=self.topic_arn, url=self.subscribe_url, has_ended=self.kind == END
        )


def read_envelope(body: bytes, source: Source) -> Envelope:
    """Return the envelope that a body is, if it says to be of a topic of the source's.

    Raises:
        NotVerifiedError: it is none, of another topic, or signed in a way that is not taken.
    """
    try:
        said = decoded(body)
    except ValueError:
        raise NotVerifiedError(Why.MALFORMED) from None
    if not isinstance(said, dict):
        raise NotVerifiedError(Why.MALFORMED)
    kind, version = _optional(said, "Type"), _VERSIONS.get(_optional(said, "SignatureVersion"))
    if kind not in _SIGNED or not _optional(said, "Signature"):
        raise NotVerifiedError(Why.ABSENT)
    if _optional(said, "TopicArn") not in source.topic_arns:
        raise NotVerifiedError(Why.TOPIC)
    if version is None:
        raise NotVerifiedError(Why.MALFORMED)
    if version not in source.signature_versions:
        raise NotVerifiedError(Why.VERSION)
    try:
        signature = base64.b64decode(_optional(said, "Signature"), validate=True)
    except (binascii.Error, ValueError):
        raise NotVerifiedError(Why.MALFORMED) from None
    return Envelope(
        kind=kind,
        topic_arn=_optional(said, "TopicArn"),
        message=_text(said, "Message"),
        message_id=_optional(said, "MessageId"),
        certificate_url=_optional(said, "SigningCertURL"),
        subscribe_url=_optional(said, "SubscribeURL"),
        signed=_string_to_sign(said, kind),
        signature=signature,
        version=version,
    )


def require_signed(envelope: Envelope, certificates: Sequence[x509.Certificate]) -> None:
    """Return if the key of one of these certificates signed an envelope.

    Raises:
        NotVerifiedError: none did.
    """
    for certificate in certificates:
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey) or key.key_size < RSA_BITS_MIN:
            continue
        try:
            key.verify(
                envelope.signature, envelope.signed, padding.PKCS1v15(), _HASHES[envelope.version]
            )
        except InvalidSignature:
            continue
        return
    raise NotVerifiedError(Why.SIGNATURE)


def is_certificate_url(url: str) -> bool:
    """Whether a URL is where SNS keeps a certificate."""
    return _CERTIFICATE_URL.fullmatch(url) is not None


def is_subscribe_url(url: str, topic_arn: str) -> bool:
    """Whether a URL is where SNS has the subscription of a topic confirmed."""
    if _SUBSCRIBE_URL.fullmatch(url) is None:
        return False
    said = parse_qs(urlsplit(url).query)
    return (
        said.get("Action") == ["ConfirmSubscription"]
        and said.get("TopicArn") == [topic_arn]
        and len(said.get("Token", ())) == 1
    )


def _string_to_sign(said: Record, kind: str) -> bytes:
    lines: list[str] = []
    for name in _SIGNED[kind]:
        if name in _OPTIONAL and said.get(name) is None:
            continue
        value = _text(said, name)
        if "\n" in value and name != _MESSAGE:
            raise NotVerifiedError(Why.MALFORMED)
        lines += [name, value]
    return "".join(f"{line}\n" for line in lines).encode()


def _text(said: Record, name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str):
        raise NotVerifiedError(Why.MALFORMED)
    return value


def _optional(said: Record, name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""

"""Providers of mail, as heed's inbound edge meets them: each signs as the real one does.

The keys are made here, once a process; nothing is fetched from anywhere.
"""

import base64
import functools
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from heed.model import Instant
from heed_server.auth.fetching import FetchError
from heed_server.web.inbound.app import PATH, Inbound, build_app
from heed_server.web.inbound.measures import InboundMetrics
from heed_server.web.inbound.opening import Sources
from heed_server.web.inbound.sns_certificates import SigningCertificates
from heed_server.web.limits import InboundLimits
from heed_server.web.measures import WebMetrics
from tests.support.servers import TENANT, Running
from tests.support.web import Answered, ask

TOPIC: Final = "arn:aws:sns:eu-west-1:123456789012:bounces"
CERTIFICATE_URL: Final = (
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
)
SUBSCRIBE_URL: Final = (
    "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription"
    f"&TopicArn={TOPIC}&Token=2336412f37fb687f5d51e6e2425c464de257eb"
)
USER: Final = "heed"
PASSWORD: Final = "correct horse"
SIGNING_KEY: Final = "key-of-mailgun"
CASES: Final = Path(__file__).parents[1] / "cases" / "inbound"

_OF_PROVIDER: Final[Mapping[str, dict[str, Any]]] = {
    "ses": {"topic_arns": [TOPIC]},
    "sendgrid": {"secret_files": ["sendgrid.key"]},
    "mailgun": {"secret_files": ["mailgun.key"]},
    "postmark": {"user": USER, "secret_files": ["password"]},
}
_MESSAGE = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_SUBSCRIPTION = (
    "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
)  # fmt: skip


def cases(provider: str) -> list[dict[str, Any]]:
    """What a provider sends, and what each becomes."""
    found: list[dict[str, Any]] = json.loads((CASES / f"{provider}.json").read_text("utf-8"))
    return found


@functools.cache
def rsa_key() -> rsa.RSAPrivateKey:
    """The key that SNS signs with here."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


@functools.cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    """The key that SendGrid signs with here."""
    return ec.generate_private_key(ec.SECP256R1())


def certificate_pem(
    key: rsa.RSAPrivateKey | None = None, *, begins_in_days: int = -1, days: int = 365
) -> bytes:
    """A certificate of SNS's key."""
    signer = key or rsa_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    begin = datetime.now(UTC) + timedelta(days=begins_in_days)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(signer.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .sign(signer, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM)


def sns_envelope(
    message: str,
    *,
    kind: str = "Notification",
    version: str = "2",
    key: rsa.RSAPrivateKey | None = None,
    **other: str,
) -> dict[str, Any]:
    """What SNS posts, signed."""
    said: dict[str, Any] = {
        "Type": kind,
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Message": message,
        "Timestamp": "2026-11-27T10:00:00.000Z",
        "SigningCertURL": CERTIFICATE_URL,
        **({} if kind == "Notification" else {"SubscribeURL": SUBSCRIBE_URL, "Token": "2336412f"}),
        **other,
    }
    names = _MESSAGE if kind == "Notification" else _SUBSCRIPTION
    signed = "".join(f"{name}\n{said[name]}\n" for name in names if name in said).encode()
    hash_ = hashes.SHA1() if version == "1" else hashes.SHA256()  # noqa: S303 - as SNS does
    signature = (key or rsa_key()).sign(signed, padding.PKCS1v15(), hash_)
    return {
        **said,
        "SignatureVersion": version,
        "Signature": base64.b64encode(signature).decode(),
        "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe",
    }


def sendgrid_headers(
    body: bytes, *, timestamp: str = "1795773600", key: ec.EllipticCurvePrivateKey | None = None
) -> dict[str, str]:
    """What SendGrid signs a body with."""
    signature = (key or ec_key()).sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }


def sendgrid_public_key() -> bytes:
    """The verification key, as SendGrid's settings show it."""
    der = ec_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der)


def mailgun_body(
    event: Mapping[str, Any], *, signed_at: int, token: str = "a" * 50, key: str = SIGNING_KEY
) -> bytes:
    """What Mailgun posts of an event."""
    signature = hmac.new(key.encode(), f"{signed_at}{token}".encode(), hashlib.sha256)
    return json.dumps(
        {
            "signature": {
                "timestamp": str(signed_at),
                "token": token,
                "signature": signature.hexdigest(),
            },
            "event-data": event,
        }
    ).encode()


def basic(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    """What a password in an address is sent as."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def source(provider: str, *, name: str = "", tenant: str = TENANT, **other: Any) -> str:
    """A source of a file, as an operator writes it."""
    own = _OF_PROVIDER[provider]
    said = {"name": name or provider, "provider": provider, "tenant": tenant, **own, **other}
    lines = [f"{key} = {_toml(value)}" for key, value in said.items() if value is not None]
    return "\n".join(["[[source]]", *lines, ""])


def write_sources(folder: Path, *sources: str) -> Path:
    """Write a file of sources, and every key that they may name."""
    folder.mkdir(exist_ok=True)
    (folder / "sendgrid.key").write_bytes(sendgrid_public_key() + b"\n")
    (folder / "mailgun.key").write_text(SIGNING_KEY + "\n")
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "sns.pem").write_bytes(certificate_pem())
    file = folder / "inbound.toml"
    file.write_text("\n".join(sources))
    return file


@dataclass
class FakeSns:
    """What is behind SNS's URLs."""

    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def fetch(self, url: str, *, ca_file: Path | None, seconds_max: float, bytes_max: int) -> bytes:
        """Answer as `heed_server.auth.fetching.fetch` does."""
        assert ca_file is None
        assert seconds_max > 0
        self.asked.append(url)
        found = self.pages.get(url)
        if found is None:
            raise FetchError("it is not there")
        assert len(found) <= bytes_max
        return found


@dataclass
class Edge:
    """The inbound edge of a server in this process."""

    app: Starlette
    sources: Sources
    sns: FakeSns
    registry: CollectorRegistry

    async def post(
        self,
        name: str,
        body: bytes | Mapping[str, Any] | Sequence[Any],
        headers: Mapping[str, str] | None = None,
        *,
        client: str = "192.0.2.1",
    ) -> Answered:
        """Post as a provider does."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await ask(self.app, "POST", PATH + name, sent, headers=headers, client=client)

    def counted(self, name: str, **labels: str) -> float:
        """What a counter says."""
        return self.registry.get_sample_value(name, labels) or 0.0


def edge_of(
    server: Running,
    file: Path,
    limits: InboundLimits | None = None,
    *,
    now: Instant | None = None,
    behind_proxy: bool = False,
) -> Edge:
    """Return the inbound edge of a server."""
    sns = FakeSns({CERTIFICATE_URL: certificate_pem()})
    registry = CollectorRegistry()

    def clock() -> Instant:
        return server.service.now() if now is None else now

    certificates = SigningCertificates(now=clock, fetch=sns.fetch)
    sources = Sources(file, certificates)
    counted = InboundMetrics(registry)
    counted.watch(lambda: sources.is_in_force)
    app = build_app(
        Inbound(
            service=server.service,
            sources=sources,
            certificates=certificates,
            metrics=WebMetrics(registry).of("inbound"),
            counted=counted,
            limits=limits or InboundLimits(),
            now=clock,
            behind_proxy=behind_proxy,
        )
    )
    return Edge(app=app, sources=sources, sns=sns, registry=registry)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)

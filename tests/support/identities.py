"""Who calls, made by tests: issuers of JWTs that sign whatever they are told, and grants."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import time
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from heed_server.auth.policy import Right

ISSUER = "https://id.example.com"
AUDIENCE = "heed"
SECOND = 1_000_000

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class JwtIssuer:
    """Signs JWTs with one key."""

    def __init__(self, key_id: str = "key-1", key: PrivateKey | None = None) -> None:
        self.key_id = key_id
        self.key = key or ec.generate_private_key(ec.SECP256R1())

    @property
    def algorithm(self) -> str:
        """What it signs by."""
        match self.key:
            case ec.EllipticCurvePrivateKey():
                return "ES256"
            case rsa.RSAPrivateKey():
                return "RS256"
            case _:
                return "EdDSA"

    @property
    def public_key_pem(self) -> bytes:
        """Its public key, as anybody may have it."""
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def jwk(self, **said: Any) -> dict[str, Any]:
        """Its public key as a JWK."""
        told: dict[str, Any] = {"kid": self.key_id, "use": "sig", "alg": self.algorithm}
        match self.key.public_key():
            case ec.EllipticCurvePublicKey() as public:
                numbers = public.public_numbers()
                told |= {"kty": "EC", "crv": "P-256"}
                told |= {"x": number(numbers.x, 32), "y": number(numbers.y, 32)}
            case rsa.RSAPublicKey() as public:
                of_rsa = public.public_numbers()
                told |= {"kty": "RSA", "n": number(of_rsa.n, 256), "e": number(of_rsa.e, 3)}
            case public:
                told |= {"kty": "OKP", "crv": "Ed25519", "x": encoded(public.public_bytes_raw())}
        return {name: value for name, value in (told | said).items() if value is not None}

    def jwt(self, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A JWT that holds for an hour; what is None is left out."""
        now = time()
        said: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "sub": "mailer", "exp": now + 3_600}
        told = {"alg": self.algorithm, "kid": self.key_id, "typ": "JWT", **(header or {})}
        return self.signed(_json(told), _json(said | claims))

    def signed(
        self, header: bytes, claims: bytes, *, sign: Callable[[bytes], bytes] | None = None
    ) -> str:
        """A JWT of these bytes, whatever they are."""
        content = f"{encoded(header)}.{encoded(claims)}"
        signature = (sign or self._sign)(content.encode())
        return f"{content}.{encoded(signature)}"

    def _sign(self, content: bytes) -> bytes:
        match self.key:
            case ec.EllipticCurvePrivateKey():
                r, s = decode_dss_signature(self.key.sign(content, ec.ECDSA(hashes.SHA256())))
                return r.to_bytes(32, "big") + s.to_bytes(32, "big")
            case rsa.RSAPrivateKey():
                return self.key.sign(content, padding.PKCS1v15(), hashes.SHA256())
            case _:
                return self.key.sign(content)


def jwks(*keys: Mapping[str, Any]) -> bytes:
    """A JWKS."""
    return json.dumps({"keys": list(keys)}).encode()


def by_hmac(secret: bytes) -> Callable[[bytes], bytes]:
    """Sign by HS256."""
    return lambda content: hmac.digest(secret, content, hashlib.sha256)


def encoded(content: bytes) -> str:
    """As the parts of a JWT are written."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def number(value: int, size: int) -> str:
    """As the numbers of a JWK are written."""
    return encoded(value.to_bytes(size, "big"))


def bearing(text: str) -> list[tuple[str, str | bytes]]:
    """The metadata of a call that carries a credential."""
    return [("user-agent", "x"), ("authorization", f"Bearer {text}")]


class Connection:
    """A connection whose caller showed this certificate, which gRPC has verified."""

    def __init__(self, pem: bytes | None = None) -> None:
        self._pem = pem

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return {} if self._pem is None else {"x509_pem_cert": [self._pem]}


def issuer_said(jwks_file: str = "jwks.json", **said: Any) -> str:
    """An issuer of the grants' file."""
    told = {
        "name": ISSUER,
        "audience": AUDIENCE,
        "algorithms": ["ES256"],
        "jwks_file": jwks_file,
        **said,
    }
    return _section("issuer", told)


def grant_said(**said: Any) -> str:
    """A grant of the file: `check` for `default`, unless said otherwise."""
    told: dict[str, Any] = {"name": "mailer", "rights": ["check"], "tenant": "default"}
    told |= said
    if told.get("every_tenant"):
        told["tenant"] = None
    return _section("grant", told)


def write_grants(folder: Path, *sections: str) -> Path:
    """Write the file in the place of the last one, in one step."""
    file = folder / "grants.toml"
    draft = folder / "grants.toml.new"
    draft.write_text("\n".join(sections), encoding="utf-8")
    draft.replace(file)
    return file


def write_jwks(folder: Path, *issuers: JwtIssuer, name: str = "jwks.json") -> Path:
    """Write the public keys of issuers."""
    file = folder / name
    draft = folder / f"{name}.new"
    draft.write_bytes(jwks(*(issuer.jwk() for issuer in issuers)))
    draft.replace(file)
    return file


def rights_said(rights: Iterable[Right]) -> Sequence[str]:
    """Rights as the file has them."""
    return sorted(right.value for right in rights)


def _section(kind: str, told: Mapping[str, Any]) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in told.items() if value is not None]
    return "\n".join([f"[[{kind}]]", *lines, ""])


def _json(told: Mapping[str, Any]) -> bytes:
    return json.dumps({name: value for name, value in told.items() if value is not None}).encode()

"""The public keys of an issuer: a JWKS, read so that each key verifies by its own algorithms alone.

Laws:
- Only public keys of the asymmetric kinds are taken up; what else a set holds is passed over, so a
  shared secret or a key for encryption never verifies anything.
- A set with a private key in it, or with two keys of one id and kind, is refused whole: its issuer
  has made a mistake, and the keys known before stay in force.
Source: RFC 7517; RFC 8725, 3.1 and 3.5.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from heed_server.auth.grants import Algorithm

JWKS_BYTES_MAX = 262_144
"""Bytes of a JWKS; of a larger one nothing is read."""
JWKS_KEYS_MAX = 100
"""Keys in one."""
RSA_BITS_MIN: Final = 2_048

VerifyingKey = RSAKey | ECKey | OKPKey

_RSA: Final = frozenset(
    {
        Algorithm.RS256,
        Algorithm.RS384,
        Algorithm.RS512,
        Algorithm.PS256,
        Algorithm.PS384,
        Algorithm.PS512,
    }
)
_OF_CURVE: Final = {
    "P-256": frozenset({Algorithm.ES256}),
    "P-384": frozenset({Algorithm.ES384}),
    "P-521": frozenset({Algorithm.ES512}),
    "Ed25519": frozenset({Algorithm.EDDSA, Algorithm.ED25519}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerKey:
    """One key, and what it may verify."""

    key_id: str
    """Empty: it has none."""
    algorithms: frozenset[Algorithm]
    key: VerifyingKey = field(repr=False)


class KeySet:
    """The keys of one issuer."""

    def __init__(self, keys: Sequence[IssuerKey]) -> None:
        self.keys = tuple(keys)

    def find(self, key_id: str, algorithm: Algorithm) -> IssuerKey | None:
        """Return the key of this id that verifies by this algorithm; without an id, the only one.

        None: there is none, or without an id several.
        """
        fitting = [
            key
            for key in self.keys
            if algorithm in key.algorithms and (not key_id or key.key_id == key_id)
        ]
        return fitting[0] if len(fitting) == 1 else None


def parse_key_set(content: bytes) -> KeySet:
    """Read a JWKS.

    Raises:
        ValueError: it is none, or one that is not to be trusted.
    """
    if len(content) > JWKS_BYTES_MAX:
        raise ValueError(f"it is larger than {JWKS_BYTES_MAX} bytes")
    try:
        document: object = json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > JWKS_KEYS_MAX:
        raise ValueError(f"it holds no list of at most {JWKS_KEYS_MAX} keys")
    keys = [key for one in listed if isinstance(one, dict) and (key := _key(one)) is not None]
    named = [(key.key_id, algorithm) for key in keys for algorithm in key.algorithms if key.key_id]
    if len(named) != len(set(named)):
        raise ValueError("two of its keys have one id")
    return KeySet(keys)


def _key(told: Mapping[str, Any]) -> IssuerKey | None:
    """A key that verifies; None for every other kind."""
    kind, operations = told.get("kty"), told.get("key_ops", ["verify"])
    if not isinstance(kind, str) or kind not in {"RSA", "EC", "OKP"}:
        return None
    if "d" in told:
        raise ValueError("it holds a private key")
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    if told.get("use", "sig") != "sig":
        return None
    algorithms = _algorithms(told)
    key_id = told.get("kid", "")
    if not algorithms or not isinstance(key_id, str):
        return None
    public = {name: told[name] for name in _MEMBERS if name in told}
    if not all(isinstance(value, str) for value in public.values()):
        raise ValueError("one of its keys cannot be read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of short keys, which are passed over
            key = JWKRegistry.import_key(public)
    except (JoseError, ValueError, TypeError) as error:
        raise ValueError("one of its keys cannot be read") from error
    if isinstance(key, RSAKey) and key.public_key.key_size < RSA_BITS_MIN:
        return None
    if not isinstance(key, RSAKey | ECKey | OKPKey):
        return None
    return IssuerKey(key_id=key_id, algorithms=algorithms, key=key)


_MEMBERS: Final = ("kty", "n", "e", "crv", "x", "y")
"""What a public key is; what else is said of it is judged here and not by the library."""


def _algorithms(told: Mapping[str, Any]) -> frozenset[Algorithm]:
    of_kind = _RSA
    if told["kty"] != "RSA":
        of_kind = _OF_CURVE.get(str(told.get("crv")), frozenset())
    if "alg" not in told:
        return of_kind
    return frozenset(one for one in of_kind if one.value == told["alg"])

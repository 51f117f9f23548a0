"""Judging a JWT by its issuer's keys. Pure: the time is an argument.

Laws:
- The algorithm is the operator's choice, by issuer; the token's own word only picks one of them,
  and a key verifies by the algorithms of its kind alone. `none` and HMAC are in no list.
- Nothing that is claimed counts before the signature was verified, but to refuse sooner.
Source: RFC 7515, 7519, 8725, 9068.
"""

import warnings
from collections.abc import Mapping
from typing import Final

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning

from heed.model import Instant
from heed_server.auth.grants import Algorithm, Issuer
from heed_server.auth.jwks import KeySet
from heed_server.auth.jwt import ParsedJwt, claims_of, instant_of, is_time
from heed_server.auth.refusals import NotTakenError, Why

_ALGORITHMS: Final = {algorithm.value: algorithm for algorithm in Algorithm}


class KeyNotKnownError(NotTakenError):
    """No key of this id is known of its issuer: there may be a new one."""

    def __init__(self) -> None:
        super().__init__(Why.UNKNOWN_KEY)


def verify_jwt(
    parsed: ParsedJwt, issuer: Issuer, keys: KeySet, *, now: Instant, leeway_seconds: float
) -> Instant:
    """Return when a JWT ends, leeway included, if it is its issuer's, for us, and holds now.

    Raises:
        KeyNotKnownError: it may be signed with a key that is not known yet.
        NotTakenError: it is not to be taken; the first reason found.
    """
    claims = parsed.claims
    algorithm = _ALGORITHMS.get(parsed.algorithm)
    if algorithm is None or algorithm not in issuer.algorithms:
        raise NotTakenError(Why.ALGORITHM)
    if claims.get("iss") != issuer.name:
        raise NotTakenError(Why.ISSUER)
    audience = claims.get("aud")
    if not (audience == issuer.audience or _is_among(issuer.audience, audience)):
        raise NotTakenError(Why.AUDIENCE)
    expire_time = _require_time(claims, now, leeway_seconds)
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise NotTakenError(Why.MALFORMED)
    found = keys.find(parsed.key_id, algorithm)
    if found is None:
        raise KeyNotKnownError
    try:
        with warnings.catch_warnings():
            # The library warns of EdDSA's name, which RFC 9864 makes narrower; the key says which.
            warnings.simplefilter("ignore", SecurityWarning)
            verified = jws.deserialize_compact(parsed.text, found.key, algorithms=[algorithm.value])
    except (JoseError, ValueError, TypeError) as error:
        raise NotTakenError(Why.SIGNATURE) from error
    if claims_of(verified.payload) != claims:
        raise NotTakenError(Why.SIGNATURE)
    return expire_time


def _require_time(claims: Mapping[str, object], now: Instant, leeway_seconds: float) -> Instant:
    end, begin = claims.get("exp"), claims.get("nbf", 0)
    if not is_time(end) or not is_time(begin):
        raise NotTakenError(Why.MALFORMED)
    leeway = round(leeway_seconds * 1_000_000)
    if now >= instant_of(end) + leeway:
        raise NotTakenError(Why.EXPIRED)
    if now < instant_of(begin) - leeway:
        raise NotTakenError(Why.NOT_YET_VALID)
    return Instant(instant_of(end) + leeway)


def _is_among(wanted: str, named: object) -> bool:
    return isinstance(named, list) and wanted in named

"""One JWT, taken apart; `jwt_verifying` judges it. Pure.

Laws:
- No key, and no place to get one, is ever taken from a token (`jwk`, `jku`, `x5c`, `x5u`).
- What can be read in two ways is refused: a member that is there twice, padding, a critical
  extension, a type that is not a JWT's, an end that is no number.
- A token that is bound to a key of its holder (`cnf`) is refused: this edge cannot see that proof,
  and would take a stolen one.
- Nothing that is claimed here was verified.
Source: RFC 7515, 7519, 8725, 9068.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from heed.model import Instant
from heed_server.auth.refusals import NotTakenError, Why

JWT_CHARACTERS_MAX = 7_168
"""Characters of a JWT; a longer one is refused unread. Metadata as a whole has its own bound."""

_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_TYPES: Final = {"jwt", "at+jwt", "application/jwt", "application/at+jwt"}
_SECONDS_MAX: Final = 253_402_300_799


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedJwt:
    """A well-formed JWT, of which nothing is verified."""

    text: str
    algorithm: str
    key_id: str
    claims: Mapping[str, object]

    @property
    def issuer(self) -> str:
        """Who says to have made it."""
        return str(self.claims.get("iss"))


def is_like_jwt(text: str) -> bool:
    """Whether a text has the form of a JWT."""
    return len(text) <= JWT_CHARACTERS_MAX and _FORM.fullmatch(text) is not None


def parse_jwt(text: str) -> ParsedJwt:
    """Take a JWT apart.

    Raises:
        NotTakenError: MALFORMED.
    """
    if not is_like_jwt(text):
        raise NotTakenError(Why.MALFORMED)
    header_text, claims_text, _ = text.split(".")
    header, claims = _object(header_text), _object(claims_text)
    type_, key_id = header.get("typ", "JWT"), header.get("kid", "")
    is_odd = "crit" in header or "b64" in header or "zip" in header or "enc" in header
    if is_odd or not isinstance(type_, str) or type_.lower() not in _TYPES:
        raise NotTakenError(Why.MALFORMED)
    if not isinstance(key_id, str) or not isinstance(header.get("alg"), str) or "cnf" in claims:
        raise NotTakenError(Why.MALFORMED)
    return ParsedJwt(text=text, algorithm=str(header["alg"]), key_id=key_id, claims=claims)


def expire_time_of(text: str) -> Instant | None:
    """Return when a JWT says that it ends; None for what is none. For who knows that it is good."""
    try:
        end = parse_jwt(text).claims.get("exp")
    except NotTakenError:
        return None
    return instant_of(end) if is_time(end) else None


def is_time(value: object) -> bool:
    """Whether a claim is a number of seconds since 1970. True and False are no numbers here."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= _SECONDS_MAX


def instant_of(seconds: object) -> Instant:
    """Return what a number of seconds since 1970 stands for."""
    return Instant(round(float(str(seconds)) * 1_000_000))


def claims_of(content: bytes) -> Mapping[str, object]:
    """Return the JSON object that a part of a JWT is.

    Raises:
        NotTakenError: MALFORMED, it is none, or can be read in two ways.
    """
    try:
        found: object = json.loads(
            content.decode("utf-8"), object_pairs_hook=_without_doubles, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as error:
        raise NotTakenError(Why.MALFORMED) from error
    if not isinstance(found, dict):
        raise NotTakenError(Why.MALFORMED)
    return found


def _object(encoded: str) -> Mapping[str, object]:
    """The JSON object of a part of a JWT."""
    try:
        # An alphabet that leaves nothing over: two texts never stand for the same bytes unnoticed.
        content = base64.b64decode(
            encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True
        )
        if base64.urlsafe_b64encode(content).rstrip(b"=") != encoded.encode("ascii"):
            raise NotTakenError(Why.MALFORMED)
    except binascii.Error as error:
        raise NotTakenError(Why.MALFORMED) from error
    return claims_of(content)


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")

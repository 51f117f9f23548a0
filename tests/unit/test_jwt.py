"""JWTs: what is taken, and what attackers and broken issuers send.

The hostile ones are in the spirit of Project Wycheproof's JSON Web Token vectors and of RFC 8725.
"""

import json
from collections.abc import Callable, Mapping
from time import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from heed.model import Instant
from heed_server.auth.grants import Algorithm, Issuer
from heed_server.auth.jwks import JWKS_BYTES_MAX, JWKS_KEYS_MAX, KeySet, parse_key_set
from heed_server.auth.jwt import JWT_CHARACTERS_MAX, expire_time_of, parse_jwt
from heed_server.auth.jwt_verifying import KeyNotKnownError, verify_jwt
from heed_server.auth.refusals import NotTakenError, Why
from tests.support.identities import (
    AUDIENCE,
    ISSUER,
    SECOND,
    JwtIssuer,
    by_hmac,
    encoded,
    jwks,
)

EC = JwtIssuer()
OTHER = JwtIssuer()
RSA = JwtIssuer("rsa-1", rsa.generate_private_key(65_537, 2_048))
EDWARDS = JwtIssuer("ed-1", ed25519.Ed25519PrivateKey.generate())
EVERY_ALGORITHM = tuple(Algorithm)
NONE = b""


def issuer(*algorithms: Algorithm) -> Issuer:
    return Issuer(
        name=ISSUER,
        audience=AUDIENCE,
        algorithms=algorithms or (Algorithm.ES256, Algorithm.RS256, Algorithm.EDDSA),
        jwks_file="jwks.json",
    )


def keys(*issuers: JwtIssuer) -> KeySet:
    return parse_key_set(jwks(*(one.jwk() for one in issuers or (EC, RSA, EDWARDS))))


def judged(
    text: str, *, by: Issuer | None = None, with_: KeySet | None = None, leeway_seconds: float = 30
) -> Instant:
    now = Instant(round(time() * SECOND))
    return verify_jwt(
        parse_jwt(text), by or issuer(), with_ or keys(), now=now, leeway_seconds=leeway_seconds
    )


def why_not(text: str, **said: Any) -> Why:
    with pytest.raises(NotTakenError) as refused:
        judged(text, **said)
    return refused.value.why


@pytest.mark.parametrize("signer", [EC, RSA, EDWARDS], ids=lambda one: one.algorithm)
def test_a_jwt_of_its_issuer_is_taken_until_its_end_and_the_leeway(signer: JwtIssuer) -> None:
    end = int(time()) + 100

    assert judged(signer.jwt(exp=end)) == (end + 30) * SECOND


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["other", AUDIENCE]])
def test_the_audience_may_be_a_list_that_names_us(audience: object) -> None:
    assert judged(EC.jwt(aud=audience))


@pytest.mark.parametrize("type_", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
def test_the_types_of_jwts_for_access_are_taken(type_: str | None) -> None:
    assert judged(EC.jwt(header={"typ": type_}))


def without_signature(text: str) -> str:
    return text.rpartition(".")[0] + "."


CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "mailer", "exp": int(time()) + 3_600}
CLAIMS_BYTES = json.dumps(CLAIMS).encode()
HEADER = b'{"alg":"ES256","kid":"key-1"}'


def doubled(name: str, first: object, second: object, rest: Mapping[str, object]) -> bytes:
    """An object with a member that is there twice."""
    others = "".join(f", {json.dumps(one)}: {json.dumps(value)}" for one, value in rest.items())
    told = f'"{name}": {json.dumps(first)}, "{name}": {json.dumps(second)}{others}'
    return f"{{{told}}}".encode()


def of(header: Mapping[str, Any], sign: Callable[[bytes], bytes] | None = None) -> str:
    return EC.signed(json.dumps(header).encode(), CLAIMS_BYTES, sign=sign)


HOSTILE: dict[str, tuple[str, Why]] = {
    "alg none, unsigned": (without_signature(of({"alg": "none"})), Why.MALFORMED),
    "alg none, with a signature": (of({"alg": "none", "kid": "key-1"}), Why.ALGORITHM),
    "alg None in capitals": (of({"alg": "NONE", "kid": "key-1"}), Why.ALGORITHM),
    "no alg": (of({"kid": "key-1"}), Why.MALFORMED),
    "alg is a list": (of({"alg": ["ES256"], "kid": "key-1"}), Why.MALFORMED),
    "HS256 with the public key's PEM": (
        of({"alg": "HS256", "kid": "key-1"}, by_hmac(EC.public_key_pem)),
        Why.ALGORITHM,
    ),
    "HS256 with the RSA key's PEM": (
        of({"alg": "HS256", "kid": "rsa-1"}, by_hmac(RSA.public_key_pem)),
        Why.ALGORITHM,
    ),
    "HS256 with nothing": (of({"alg": "HS256", "kid": "key-1"}, by_hmac(b"")), Why.ALGORITHM),
    "an algorithm that is not pinned": (RSA.jwt(header={"alg": "PS256"}), Why.ALGORITHM),
    "another's key under a known id": (OTHER.jwt(), Why.SIGNATURE),
    "the id of a key of another kind": (EC.jwt(header={"kid": "rsa-1"}), Why.UNKNOWN_KEY),
    "the algorithm of a key of another kind": (
        EC.jwt(header={"alg": "RS256", "kid": "key-1"}),
        Why.UNKNOWN_KEY,
    ),
    "an id that is a path": (EC.jwt(header={"kid": "../../key-1"}), Why.UNKNOWN_KEY),
    "an id that is a number": (EC.jwt(header={"kid": 1}), Why.MALFORMED),
    "a key of its own": (
        OTHER.jwt(header={"kid": "key-2", "jwk": OTHER.jwk()}),
        Why.UNKNOWN_KEY,
    ),
    "a place to get keys from": (
        OTHER.jwt(header={"kid": "key-2", "jku": "https://evil.example/jwks"}),
        Why.UNKNOWN_KEY,
    ),
    "a critical extension": (EC.jwt(header={"crit": ["exp"]}), Why.MALFORMED),
    "an unencoded payload": (EC.jwt(header={"b64": False}), Why.MALFORMED),
    "another type": (EC.jwt(header={"typ": "logout+jwt"}), Why.MALFORMED),
    "a type that is no text": (EC.jwt(header={"typ": 1}), Why.MALFORMED),
    "alg twice, none last": (
        EC.signed(doubled("alg", "ES256", "none", {"kid": "key-1"}), CLAIMS_BYTES),
        Why.MALFORMED,
    ),
    "alg twice, none first": (
        EC.signed(doubled("alg", "none", "ES256", {"kid": "key-1"}), CLAIMS_BYTES),
        Why.MALFORMED,
    ),
    "sub twice": (
        EC.signed(HEADER, doubled("sub", "nobody", "mailer", {**CLAIMS, "sub2": 1})),
        Why.MALFORMED,
    ),
    "bound to a key of its holder": (EC.jwt(cnf={"x5t#S256": "x"}), Why.MALFORMED),
    "another issuer": (EC.jwt(iss="https://id.example.com/"), Why.ISSUER),
    "no issuer": (EC.jwt(iss=None), Why.ISSUER),
    "another audience": (EC.jwt(aud="other"), Why.AUDIENCE),
    "a list without us": (EC.jwt(aud=["other", "heed2"]), Why.AUDIENCE),
    "a list within a list": (EC.jwt(aud=[["heed"]]), Why.AUDIENCE),
    "an audience that holds ours": (EC.jwt(aud="heed other"), Why.AUDIENCE),
    "an object for an audience": (EC.jwt(aud={"heed": True}), Why.AUDIENCE),
    "no audience": (EC.jwt(aud=None), Why.AUDIENCE),
    "expired": (EC.jwt(exp=time() - 31), Why.EXPIRED),
    "no end": (EC.jwt(exp=None), Why.MALFORMED),
    "an end that is text": (EC.jwt(exp="9999999999"), Why.MALFORMED),
    "an end that is true": (EC.jwt(exp=True), Why.MALFORMED),
    "an end beyond all time": (EC.jwt(exp=10**400), Why.MALFORMED),
    "an end before 1970": (EC.jwt(exp=-1), Why.MALFORMED),
    "an end that is no number of JSON's": (
        EC.signed(HEADER, CLAIMS_BYTES.replace(b'"exp": ', b'"exp": Infinity, "x": ')),
        Why.MALFORMED,
    ),
    "not yet valid": (EC.jwt(nbf=time() + 3_600), Why.NOT_YET_VALID),
    "a begin that is text": (EC.jwt(nbf="0"), Why.MALFORMED),
    "no subject": (EC.jwt(sub=None), Why.MALFORMED),
    "a subject that is a list": (EC.jwt(sub=["mailer"]), Why.MALFORMED),
    "huge": (EC.jwt(sub="x" * JWT_CHARACTERS_MAX), Why.MALFORMED),
    "two parts": (EC.jwt().rpartition(".")[0], Why.MALFORMED),
    "four parts": (EC.jwt() + ".x", Why.MALFORMED),
    "encrypted": ("a.b.c.d.e", Why.MALFORMED),
    "padded": (EC.jwt() + "==", Why.MALFORMED),
    "a header that is a list": (EC.signed(b"[]", CLAIMS_BYTES), Why.MALFORMED),
    "claims that are a text": (EC.signed(HEADER, b'"x"'), Why.MALFORMED),
    "claims that are not UTF-8": (EC.signed(HEADER, b'{"sub": "\xff"}'), Why.MALFORMED),
    "claims without an end": (EC.signed(HEADER, b'{"a":' * 20_00), Why.MALFORMED),
    "no bytes signed": (EC.signed(HEADER, CLAIMS_BYTES, sign=lambda _: b"\0" * 64), Why.SIGNATURE),
    "a short signature": (EC.signed(HEADER, CLAIMS_BYTES, sign=lambda _: b"\0"), Why.SIGNATURE),
}


@pytest.mark.parametrize(("text", "why"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_jwt_is_refused_for_the_right_reason(text: str, why: Why) -> None:
    assert why_not(text) is why


def test_the_controls_of_the_hostile_ones_are_taken() -> None:
    """What they are made from is good, so that each is refused for what was done to it."""
    assert judged(EC.signed(HEADER, CLAIMS_BYTES))
    assert judged(EC.jwt(exp=time() - 29))
    assert judged(EC.jwt(nbf=time() + 20))


@given(st.data())
def test_a_jwt_with_one_character_changed_is_not_taken(data: st.DataObject) -> None:
    text = _GOOD
    at = data.draw(st.integers(0, len(text) - 1))
    alphabet = st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=")
    other = data.draw(alphabet.filter(lambda one: one != text[at]))

    with pytest.raises(NotTakenError):
        judged(text[:at] + other + text[at + 1 :])


_GOOD = EC.jwt()


@given(st.text(max_size=200))
def test_any_text_is_refused_in_order(text: str) -> None:
    with pytest.raises(NotTakenError):
        judged(text)


@pytest.mark.parametrize("name", ["EdDSA", "Ed25519"])
def test_both_names_of_eddsa_are_taken_where_they_are_pinned(name: str) -> None:
    text = EDWARDS.jwt(header={"alg": name})
    known = parse_key_set(jwks(EDWARDS.jwk(alg=None)))

    assert judged(text, by=issuer(Algorithm(name)), with_=known)
    assert why_not(text, by=issuer(Algorithm.ES256), with_=known) is Why.ALGORITHM


@pytest.mark.parametrize("algorithm", [one for one in EVERY_ALGORITHM if one.value != "ES256"])
def test_a_key_verifies_by_the_algorithms_of_its_kind_alone(algorithm: Algorithm) -> None:
    text = EC.jwt(header={"alg": algorithm.value})

    assert why_not(text, by=issuer(*EVERY_ALGORITHM), with_=keys(EC)) is Why.UNKNOWN_KEY


def test_a_key_that_names_its_algorithm_verifies_by_no_other() -> None:
    bound = parse_key_set(jwks(RSA.jwk(alg="RS512")))

    assert why_not(RSA.jwt(), with_=bound) is Why.UNKNOWN_KEY


def test_without_an_id_the_only_key_of_the_kind_is_meant() -> None:
    text = EC.jwt(header={"kid": None})

    assert judged(text, with_=keys(EC, RSA))
    second = JwtIssuer("key-2")
    assert why_not(text, with_=keys(EC, second)) is Why.UNKNOWN_KEY


def test_an_unknown_id_is_told_from_a_bad_signature_since_there_may_be_a_new_key() -> None:
    with pytest.raises(KeyNotKnownError):
        judged(JwtIssuer("key-9").jwt())


@pytest.mark.parametrize(
    "said",
    [
        {"kty": "oct", "k": encoded(b"x" * 32)},
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"alg": "HS256"},
        {"crv": "secp256k1"},
        {"kid": 7},
    ],
)
def test_what_does_not_verify_signatures_is_passed_over(said: dict[str, Any]) -> None:
    assert parse_key_set(jwks(EC.jwk(**said), RSA.jwk())).keys[0].key_id == "rsa-1"


def test_a_short_rsa_key_is_passed_over() -> None:
    short = rsa.generate_private_key(65_537, 1_024)  # noqa: S505 - that is the point
    modulus = encoded(short.public_key().public_numbers().n.to_bytes(128, "big"))

    assert parse_key_set(jwks(RSA.jwk(n=modulus))).keys == ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"keys": {}}',
        b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "a"}]}',
        jwks(EC.jwk(d="AAAA")),
        jwks(EC.jwk(), OTHER.jwk()),
        jwks(*({"kty": "oct"} for _ in range(JWKS_KEYS_MAX + 1))),
        b" " * JWKS_BYTES_MAX + b'{"keys": []}',
    ],
)
def test_a_set_that_cannot_be_trusted_is_refused_whole(content: bytes) -> None:
    with pytest.raises(ValueError):
        parse_key_set(content)


def test_when_a_jwt_ends_is_read_by_who_knows_that_it_is_good() -> None:
    assert expire_time_of(EC.jwt(exp=1_790_000_000)) == 1_790_000_000 * SECOND
    assert expire_time_of("heed_key") is None
    assert expire_time_of(EC.jwt(exp=None)) is None


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)
MEMBERS = st.sampled_from(["kty", "kid", "use", "alg", "key_ops", "crv", "x", "y", "n", "e", "d"])


@given(st.dictionaries(MEMBERS, ANY_JSON, max_size=5), st.sampled_from([EC, RSA, EDWARDS]))
def test_a_set_with_anything_in_its_keys_is_read_or_refused(
    said: dict[str, Any], signer: JwtIssuer
) -> None:
    try:
        found = parse_key_set(json.dumps({"keys": [{**signer.jwk(), **said}]}).encode())
    except ValueError:
        return
    assert len(found.keys) <= 1


@pytest.mark.parametrize("nested", [b'{"keys": ' + b"[" * 100_000, b"[" * 200_000])
def test_a_set_that_is_nested_without_end_is_refused(nested: bytes) -> None:
    with pytest.raises(ValueError):
        parse_key_set(nested)


HEADER_MEMBERS = st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "cty"])
CLAIM_MEMBERS = st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "cnf", "jti"])


@given(
    st.dictionaries(HEADER_MEMBERS, ANY_JSON, max_size=3),
    st.dictionaries(CLAIM_MEMBERS, ANY_JSON, max_size=3),
)
def test_a_signed_jwt_with_anything_in_it_is_taken_or_refused(
    header: dict[str, Any], claims: dict[str, Any]
) -> None:
    told = json.dumps({"alg": "ES256", "kid": "key-1"} | header).encode()
    said = json.dumps(CLAIMS | claims).encode()
    try:
        judged(EC.signed(told, said))
    except NotTakenError:
        return
    assert {"iss", "aud"} & set(claims) == set() or claims.get("aud") == [AUDIENCE]
    assert "cnf" not in claims

"""The grants: which certificates and JWTs are taken, of whom, for what. A file of its own.

    [[issuer]]
    name = "https://id.example.com"            # exactly the claim `iss`
    audience = "heed"
    jwks_url = "https://id.example.com/jwks"   # or jwks_file
    algorithms = ["ES256"]

    [[grant]]
    name = "mailer"
    tenant = "default"
    rights = ["check"]
    spiffe_id = "spiffe://example.com/ns/mail/sa/mailer"

Laws:
- Denied by default: who is named by no grant may do nothing, and a grant gives its own rights in
  its own tenant. A JWT's claims may narrow what its grant gives, never widen it.
- Names are compared exactly. The first grant of the file that fits is the one that counts.
- A file with anything unknown or contradictory in it is refused whole.
Source: ADR 0025; RFC 8725 for what is asked of issuers.
"""

import enum
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from heed.errors import FieldViolation, InvalidArgumentError
from heed_server.auth.policy import EVERY_TENANT, Principal, Right
from heed_server.auth.spiffe import is_spiffe_id

GRANTS_MAX: Final = 10_000
"""Grants in the file."""
ISSUERS_MAX: Final = 20
"""Issuers in the file; each has its keys read from elsewhere."""

RIGHTS_CLAIM_PREFIX: Final = "heed:"
"""What stands before a right in a claim that names rights: `heed:check`."""

_PERSON_HEX_DIGITS: Final = 12
_DNS_CHARACTERS_MAX: Final = 253
_DNS_NAME: Final = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*", re.ASCII)


class Algorithm(enum.StrEnum):
    """How a JWT may be signed: by a private key that heed has not. So not `none`, and no HMAC."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    EDDSA = "EdDSA"
    """With Ed25519 alone; RFC 9864 names it so."""
    ED25519 = "Ed25519"


_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=2_048)]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[!-~]([ -~]{0,98}[!-~])?$")]


class Issuer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who makes JWTs, and how they are known to be theirs."""

    name: _Text
    """Exactly the claim `iss`."""
    audience: _Text
    """What the claim `aud` must name."""
    algorithms: Annotated[tuple[Algorithm, ...], msgspec.Meta(min_length=1)]
    jwks_file: str = ""
    """A JWKS; relative to the grants' folder. Read again when it changes."""
    jwks_url: str = ""
    """The same by https. Asked again at intervals."""
    jwks_ca_file: str = ""
    """PEM: whom to trust as the source. Empty: whom the system trusts."""


class Grant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one caller, or all that a claim names, may do. It has exactly one identity."""

    name: _Name
    """The principal's, for logs and counters."""
    rights: Annotated[frozenset[Right], msgspec.Meta(min_length=1)]
    tenant: str = ""
    every_tenant: bool = False
    spiffe_id: str = ""
    """Identity: the URI in a certificate."""
    dns_name: str = ""
    """Identity: a DNS name in a certificate that has no URI."""
    issuer: str = ""
    """Identity: of JWTs, with `subject`, or with `claim` and `value`."""
    subject: str = ""
    claim: str = ""
    value: str = ""
    tenant_claim: str = ""
    """The claim that says for which tenant a JWT is; it must be there, and be the grant's."""
    rights_claim: str = ""
    """The claim that says which of the grant's rights a JWT has: `heed:check heed:write`."""

    @property
    def is_of_certificates(self) -> bool:
        """Whether certificates are what it is about."""
        return bool(self.spiffe_id or self.dns_name)


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    issuer: Annotated[tuple[Issuer, ...], msgspec.Meta(max_length=ISSUERS_MAX)] = ()
    grant: Annotated[tuple[Grant, ...], msgspec.Meta(max_length=GRANTS_MAX)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What the file says."""

    issuers: Mapping[str, Issuer]
    """By name."""
    grants: tuple[Grant, ...]
    """In the order of the file."""

    @property
    def names_certificates(self) -> bool:
        """Whether any grant is about certificates."""
        return any(grant.is_of_certificates for grant in self.grants)

    def of_certificate(self, spiffe_id: str, dns_names: Iterable[str]) -> Principal | None:
        """Return the principal of a certificate with these names; None: nothing is granted."""
        names = frozenset(dns_names)
        for grant in self.grants:
            is_named = grant.spiffe_id == spiffe_id if spiffe_id else grant.dns_name in names
            if is_named and (grant.spiffe_id if spiffe_id else grant.dns_name):
                return Principal(name=grant.name, rights=grant.rights, tenant=grant.tenant)
        return None

    def of_claims(self, claims: Mapping[str, object]) -> Principal | None:
        """Return the principal of a verified JWT; None: nothing is granted."""
        for grant in self.grants:
            if grant.issuer and grant.issuer == claims.get("iss") and _is_named(grant, claims):
                return _narrowed(grant, claims)
        return None


def parse_grants(text: str, *, source: str) -> Grants:
    """Read the file, which `source` names in messages.

    Raises:
        InvalidArgumentError: anything in it is unknown, missing or contradictory.
    """
    try:
        file = msgspec.toml.decode(text, type=_File)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _refusal(source, str(error)) from None
    issuers: dict[str, Issuer] = {}
    for issuer in file.issuer:
        if issuer.name in issuers:
            raise _refusal(source, f"the issuer {issuer.name!r} is there twice")
        _require_source(issuer, source)
        issuers[issuer.name] = issuer
    seen: set[tuple[str, ...]] = set()
    for grant in file.grant:
        said = _wrong_with(grant, issuers)
        identity = _identity(grant)
        if not said and identity in seen:
            said = "names whom a grant before it names; it would never count"
        if said:
            raise _refusal(source, f"the grant {grant.name!r} {said}")
        seen.add(identity)
    return Grants(issuers=issuers, grants=file.grant)


def _require_source(issuer: Issuer, source: str) -> None:
    said = ""
    if bool(issuer.jwks_file) == bool(issuer.jwks_url):
        said = "needs jwks_file or jwks_url, one of them"
    elif issuer.jwks_url:
        parts = urlsplit(issuer.jwks_url)
        if parts.scheme != "https" or not parts.hostname or parts.username is not None:
            said = "has a jwks_url that is not https://host/path, without a user"
    elif issuer.jwks_ca_file:
        said = "has jwks_ca_file, which is for jwks_url"
    if said:
        raise _refusal(source, f"the issuer {issuer.name!r} {said}")


def _wrong_with(grant: Grant, issuers: Mapping[str, Issuer]) -> str:
    """What contradicts itself in a grant; empty: nothing."""
    of_token = bool(grant.issuer)
    kinds = (bool(grant.spiffe_id), bool(grant.dns_name), of_token)
    by_claim = bool(grant.claim and grant.value)
    if sum(kinds) != 1:
        return "needs one identity: spiffe_id, dns_name, or issuer with subject or claim and value"
    if bool(grant.tenant) == grant.every_tenant:
        return "needs tenant, or every_tenant = true, and not both"
    if grant.spiffe_id and not is_spiffe_id(grant.spiffe_id):
        return "has a spiffe_id that is none: spiffe://trust.domain/path"
    if grant.dns_name and not _is_dns_name(grant.dns_name):
        return "has a dns_name that is none: lower-case labels, no wildcard"
    if of_token and grant.issuer not in issuers:
        return f"names the issuer {grant.issuer!r}, which is not in the file"
    if of_token and (bool(grant.subject) == by_claim or bool(grant.claim) != bool(grant.value)):
        return "needs subject, or claim and value, and not both"
    if not of_token and any((grant.subject, grant.claim, grant.value)):
        return "has subject, claim or value, which are for JWTs"
    if not of_token and (grant.tenant_claim or grant.rights_claim):
        return "has tenant_claim or rights_claim, which are for JWTs"
    return ""


def _is_dns_name(text: str) -> bool:
    return len(text) <= _DNS_CHARACTERS_MAX and _DNS_NAME.fullmatch(text) is not None


def _identity(grant: Grant) -> tuple[str, ...]:
    return (
        grant.spiffe_id, grant.dns_name, grant.issuer, grant.subject, grant.claim, grant.value,
    )  # fmt: skip


def _is_named(grant: Grant, claims: Mapping[str, object]) -> bool:
    """Whether a JWT of the grant's issuer is of whom it names."""
    if grant.subject:
        return claims.get("sub") == grant.subject
    found = claims.get(grant.claim)
    return grant.value in found if isinstance(found, list) else found == grant.value


def _narrowed(grant: Grant, claims: Mapping[str, object]) -> Principal | None:
    """What is left of a grant by the claims that it says narrow it."""
    tenant, rights = grant.tenant, grant.rights
    if grant.tenant_claim:
        claimed = claims.get(grant.tenant_claim)
        if not isinstance(claimed, str) or not claimed or claimed != (tenant or claimed):
            return None
        tenant = claimed
    if grant.rights_claim:
        claimed = claims.get(grant.rights_claim)
        words = claimed.split(" ") if isinstance(claimed, str) else claimed
        if not isinstance(words, list):
            return None
        rights = frozenset(one for one in rights if RIGHTS_CLAIM_PREFIX + one.value in words)
    return Principal(name=_name(grant, claims), rights=rights, tenant=tenant or EVERY_TENANT)


def _name(grant: Grant, claims: Mapping[str, object]) -> str:
    """A grant by a claim is for several people: each is a principal of their own.

    A subject may be an address, which no log may hold, so what tells them apart is a hash.
    """
    if grant.subject:
        return grant.name
    person = f"{grant.issuer}\0{claims.get('sub')}".encode()
    return f"{grant.name}/{hashlib.sha256(person).hexdigest()[:_PERSON_HEX_DIGITS]}"


def _refusal(source: str, said: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{source}: {said}", violations=[FieldViolation("auth.grants_file", said)]
    )


def path_within(folder: Path, text: str) -> Path:
    """Return a path of the file, which is relative to the file's own folder."""
    return folder / text

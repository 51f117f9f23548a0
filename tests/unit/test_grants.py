"""Grants: what a file says, what is refused in it, and what certificates and claims get by it."""

from typing import Any

import pytest

from heed.errors import InvalidArgumentError
from heed_server.auth.grants import GRANTS_MAX, ISSUERS_MAX, Grants, parse_grants
from heed_server.auth.policy import Principal, Right
from heed_server.auth.spiffe import is_spiffe_id
from tests.support.identities import ISSUER, grant_said, issuer_said

SPIFFE_ID = "spiffe://example.org/ns/mail/sa/mailer"


def parsed(*sections: str) -> Grants:
    return parse_grants("\n".join(sections), source="grants.toml")


def refusal(*sections: str) -> str:
    with pytest.raises(InvalidArgumentError) as refused:
        parsed(*sections)
    return refused.value.message


def of_claims(*sections: str, **claims: Any) -> Principal | None:
    return parsed(issuer_said(), *sections).of_claims({"iss": ISSUER, "sub": "mailer", **claims})


def test_an_empty_file_grants_nothing() -> None:
    nothing = parsed()

    assert nothing.of_certificate(SPIFFE_ID, ()) is None
    assert nothing.of_claims({"iss": ISSUER, "sub": "mailer"}) is None


def test_a_workload_gets_what_its_grant_says_and_no_more() -> None:
    grants = parsed(grant_said(spiffe_id=SPIFFE_ID, rights=["check", "write"], tenant="shop"))

    assert grants.of_certificate(SPIFFE_ID, ()) == Principal(
        name="mailer", rights=frozenset({Right.CHECK, Right.WRITE}), tenant="shop"
    )
    assert grants.names_certificates


@pytest.mark.parametrize(
    "spiffe_id",
    [
        "spiffe://example.com/ns/mail/sa/mailer",
        "spiffe://evil.example.org/ns/mail/sa/mailer",
        "spiffe://example.org.evil.com/ns/mail/sa/mailer",
        SPIFFE_ID + "/x",
        SPIFFE_ID.replace("mailer", "Mailer"),
        "spiffe://example.org/ns/mail/sa/mailer%2f",
    ],
)
def test_another_id_gets_nothing(spiffe_id: str) -> None:
    grants = parsed(grant_said(spiffe_id=SPIFFE_ID))

    assert grants.of_certificate(spiffe_id, ()) is None


def test_a_certificate_with_an_id_gets_nothing_by_a_dns_name() -> None:
    grants = parsed(grant_said(dns_name="mail.example.org"))

    assert grants.of_certificate("", ("mail.example.org",)) is not None
    assert grants.of_certificate(SPIFFE_ID, ("mail.example.org",)) is None


@pytest.mark.parametrize(
    "dns_name", ["*.example.org", "mail.example.org.", "x.mail.example.org", "example.org", ""]
)
def test_another_dns_name_gets_nothing(dns_name: str) -> None:
    grants = parsed(
        grant_said(dns_name="mail.example.org"), grant_said(name="other", spiffe_id=SPIFFE_ID)
    )

    assert grants.of_certificate("", (dns_name,)) is None
    assert grants.of_certificate("", ()) is None


def test_the_first_grant_that_fits_counts() -> None:
    first = grant_said(name="first", issuer=ISSUER, subject="mailer", tenant="shop")
    second = grant_said(name="second", issuer=ISSUER, claim="groups", value="mailers")

    principal = of_claims(first, second, groups=["mailers"])

    assert principal is not None
    assert (principal.name, principal.tenant) == ("first", "shop")


@pytest.mark.parametrize("groups", ["mailers", ["others", "mailers"]])
def test_a_claim_may_be_one_value_or_a_list_of_them(groups: object) -> None:
    assert (
        of_claims(grant_said(issuer=ISSUER, claim="groups", value="mailers"), groups=groups)
        is not None
    )


@pytest.mark.parametrize("groups", ["mailers others", ["mailersx"], {"mailers": 1}, None, 1])
def test_a_claim_that_only_looks_alike_gets_nothing(groups: object) -> None:
    assert (
        of_claims(grant_said(issuer=ISSUER, claim="groups", value="mailers"), groups=groups) is None
    )


def test_each_of_several_people_is_a_principal_of_their_own_without_their_name() -> None:
    grant = grant_said(name="operators", issuer=ISSUER, claim="groups", value="operators")
    named = {
        person: of_claims(grant, groups="operators", sub=person)
        for person in ("ada@example.com", "bob@example.com")
    }

    names = {principal.name for principal in named.values() if principal is not None}
    assert len(names) == 2
    assert all(name.startswith("operators/") and "@" not in name for name in names)


@pytest.mark.parametrize(
    ("grant", "claims", "tenant"),
    [
        ({"tenant": "shop"}, {}, "shop"),
        ({"tenant": "shop", "tenant_claim": "t"}, {"t": "shop"}, "shop"),
        ({"tenant": "shop", "tenant_claim": "t"}, {"t": "other"}, None),
        ({"tenant": "shop", "tenant_claim": "t"}, {"t": ""}, None),
        ({"tenant": "shop", "tenant_claim": "t"}, {}, None),
        ({"every_tenant": True}, {}, ""),
        ({"every_tenant": True, "tenant_claim": "t"}, {"t": "other"}, "other"),
        ({"every_tenant": True, "tenant_claim": "t"}, {"t": ""}, None),
        ({"every_tenant": True, "tenant_claim": "t"}, {"t": ["other"]}, None),
        ({"every_tenant": True, "tenant_claim": "t"}, {}, None),
    ],
)
def test_a_claim_of_a_tenant_narrows_and_never_widens(
    grant: dict[str, Any], claims: dict[str, Any], tenant: str | None
) -> None:
    principal = of_claims(grant_said(issuer=ISSUER, subject="mailer", **grant), **claims)

    assert (None if principal is None else principal.tenant) == tenant


@pytest.mark.parametrize(
    ("claimed", "rights"),
    [
        ("heed:check", {"check"}),
        ("openid heed:check heed:write", {"check", "write"}),
        (["heed:write"], {"write"}),
        ("heed:admin heed:check", {"check"}),
        ("check write", set[str]()),
        ("", set[str]()),
        (["heed:admin"], set[str]()),
    ],
)
def test_a_claim_of_rights_narrows_and_never_widens(claimed: object, rights: set[str]) -> None:
    grant = grant_said(
        issuer=ISSUER, subject="mailer", rights=["check", "write"], rights_claim="scope"
    )

    principal = of_claims(grant, scope=claimed)

    assert principal is not None
    assert {right.value for right in principal.rights} == rights
    assert of_claims(grant) is None


def test_the_subject_of_another_issuer_gets_nothing() -> None:
    grants = parsed(issuer_said(), grant_said(issuer=ISSUER, subject="mailer"))

    assert grants.of_claims({"iss": "https://other.example.com", "sub": "mailer"}) is None


GOOD = {"issuer": ISSUER, "subject": "mailer"}


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (["nonsense"], ""),
        (["[[grants]]\n"], "grants"),
        ([grant_said(spiffe_id=SPIFFE_ID, right=["check"])], "right"),
        ([grant_said()], "one identity"),
        ([grant_said(spiffe_id=SPIFFE_ID, dns_name="a.example")], "one identity"),
        ([grant_said(spiffe_id=SPIFFE_ID, tenant=None)], "needs tenant"),
        ([grant_said(spiffe_id=SPIFFE_ID) + "every_tenant = true\n"], "not both"),
        ([grant_said(spiffe_id=SPIFFE_ID, rights=[])], "rights"),
        ([grant_said(spiffe_id=SPIFFE_ID, rights=["everything"])], "everything"),
        ([grant_said(spiffe_id=SPIFFE_ID, name="")], "name"),
        ([grant_said(spiffe_id="spiffe://example.org")], "spiffe_id"),
        ([grant_said(dns_name="*.example.org")], "no wildcard"),
        ([grant_said(dns_name="Mail.example.org")], "lower-case"),
        ([grant_said(spiffe_id=SPIFFE_ID), grant_said(spiffe_id=SPIFFE_ID)], "never count"),
        ([grant_said(spiffe_id=SPIFFE_ID, subject="x")], "for JWTs"),
        ([grant_said(spiffe_id=SPIFFE_ID, tenant_claim="x")], "for JWTs"),
        ([grant_said(**GOOD)], "not in the file"),
        ([issuer_said(), grant_said(issuer=ISSUER)], "needs subject"),
        ([issuer_said(), grant_said(**GOOD, claim="a", value="b")], "not both"),
        ([issuer_said(), grant_said(issuer=ISSUER, claim="a")], "needs subject"),
        ([issuer_said(), issuer_said()], "twice"),
        ([issuer_said(jwks_url="https://a.example/")], "one of them"),
        ([issuer_said(jwks_file="")], "one of them"),
        ([issuer_said(jwks_file="", jwks_url="http://a.example/")], "https"),
        ([issuer_said(jwks_file="", jwks_url="file:///etc/passwd")], "https"),
        ([issuer_said(jwks_file="", jwks_url="https://u:p@a.example/")], "without a user"),
        ([issuer_said(jwks_ca_file="ca.pem")], "jwks_ca_file"),
        ([issuer_said(algorithms=["none"])], "none"),
        ([issuer_said(algorithms=["HS256"])], "HS256"),
        ([issuer_said(algorithms=[])], "algorithms"),
        ([issuer_said(audience="")], "audience"),
        ([issuer_said(name=f"https://{at}.example") for at in range(ISSUERS_MAX + 1)], "issuer"),
        (
            [
                issuer_said(),
                *(grant_said(issuer=ISSUER, subject=f"s{at}") for at in range(GRANTS_MAX + 1)),
            ],
            "grant",
        ),
    ],
)
def test_a_file_with_anything_wrong_in_it_is_refused_whole(sections: list[str], said: str) -> None:
    message = refusal(*sections)

    assert message.startswith("grants.toml: ")
    assert said in message


@pytest.mark.parametrize(
    "text",
    [
        "spiffe://example.org/a",
        "spiffe://example.org/a/b.c/D_e-9",
        "spiffe://my-domain_1.example/a",
        "spiffe://example.org/..a",
    ],
)
def test_the_id_of_a_workload(text: str) -> None:
    assert is_spiffe_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spiffe://",
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe:///a",
        "spiffe://example.org/a/",
        "spiffe://example.org//a",
        "spiffe://example.org/a/../b",
        "spiffe://example.org/./a",
        "SPIFFE://example.org/a",
        "spiffe://Example.org/a",
        "spiffe://example.org:443/a",
        "spiffe://user@example.org/a",
        "spiffe://example.org/a?b",
        "spiffe://example.org/a#b",
        "spiffe://example.org/%61",
        "spiffe://example.org/a b",
        "spiffe://example.org/ä",
        "spiffe://example.org/a\n",
        "https://example.org/a",
        "spiffe://" + "a" * 256 + "/a",
        "spiffe://example.org/" + "a" * 2_048,
    ],
)
def test_what_is_no_id_of_a_workload(text: str) -> None:
    assert not is_spiffe_id(text)

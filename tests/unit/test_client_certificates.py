"""Whom a client's certificate names; the hostile ones are in the spirit of x509-limbo.

What a handshake refuses by itself (another authority, an end that has passed, a purpose) is in
tests/edges/test_identities.py, over real sockets.
"""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from heed_server.auth.client_certificates import CertificateNames, names_of
from heed_server.auth.credentials import CERTIFICATE_BYTES_MAX
from heed_server.auth.refusals import NotTakenError, Why
from tests.support.served import Authority

ID = "spiffe://example.org/mailer"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def uri(text: str = ID) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def usage(**said: bool) -> x509.KeyUsage:
    names = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    return x509.KeyUsage(**{name: said.get(name, False) for name in names})


def for_(*purposes: x509.ObjectIdentifier) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage(purposes)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def named(
    authority: Authority,
    *names: x509.GeneralName,
    is_authority: bool = False,
    extensions: tuple[x509.ExtensionType, ...] = (),
) -> CertificateNames:
    certificate, _ = authority.issue_to_client(
        "client",
        *names,
        begin=BEGIN,
        end=BEGIN + timedelta(days=1),
        is_authority=is_authority,
        extensions=[(one, True) for one in extensions],
    )
    return names_of(certificate.read_bytes())


def test_an_svid_is_its_one_uri_whatever_dns_names_stand_beside_it(authority: Authority) -> None:
    names = named(authority, uri(), x509.DNSName("mail.example.org"))

    assert (names.spiffe_id, names.dns_names) == (ID, ())
    assert names.begin_time == int(BEGIN.timestamp()) * 1_000_000
    assert names.expire_time - names.begin_time == 86_400 * 1_000_000


def test_without_a_uri_the_dns_names_are_as_they_are_written(authority: Authority) -> None:
    names = named(
        authority,
        x509.DNSName("Mail.example.org"),
        x509.DNSName("*.example.org"),
        x509.IPAddress(ip_address("192.0.2.1")),
        x509.RFC822Name("mail@example.org"),
    )

    assert (names.spiffe_id, names.dns_names) == ("", ("mail.example.org", "*.example.org"))


@pytest.mark.parametrize(
    "extension",
    [
        usage(digital_signature=True),
        usage(digital_signature=True, key_agreement=True),
        for_(ExtendedKeyUsageOID.CLIENT_AUTH),
        for_(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
        for_(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE),
    ],
)
def test_a_leaf_may_say_what_it_is_for(authority: Authority, extension: x509.ExtensionType) -> None:
    assert named(authority, uri(), extensions=(extension,)).spiffe_id == ID


@pytest.mark.parametrize(
    "names",
    [
        (uri(), uri("spiffe://example.org/other")),
        (uri(), uri()),
        (uri("spiffe://example.org"),),
        (uri("spiffe://example.org/a/../b"),),
        (uri("spiffe://Example.org/mailer"),),
        (uri("https://example.org/mailer"), x509.DNSName("mail.example.org")),
        (uri(), uri("https://example.org/mailer")),
        (),
    ],
)
def test_a_certificate_that_names_nobody_for_certain_is_not_taken(
    authority: Authority, names: tuple[x509.GeneralName, ...]
) -> None:
    with pytest.raises(NotTakenError) as refused:
        named(authority, *names)
    assert refused.value.why is Why.MALFORMED


@pytest.mark.parametrize(
    "extension",
    [
        usage(key_agreement=True),
        usage(digital_signature=True, key_cert_sign=True),
        usage(digital_signature=True, crl_sign=True),
        for_(ExtendedKeyUsageOID.SERVER_AUTH),
        for_(ExtendedKeyUsageOID.CODE_SIGNING),
    ],
)
def test_a_certificate_that_is_for_something_else_is_not_taken(
    authority: Authority, extension: x509.ExtensionType
) -> None:
    with pytest.raises(NotTakenError):
        named(authority, uri(), extensions=(extension,))


def test_the_certificate_of_an_authority_is_not_taken(authority: Authority) -> None:
    with pytest.raises(NotTakenError):
        named(authority, uri(), is_authority=True)


def test_what_is_no_certificate_is_not_taken(authority: Authority) -> None:
    certificate, _ = authority.issue_to_client("client", uri())
    good = certificate.read_bytes()

    for bad in (b"", b"nonsense", good[:200], good.replace(b"CERTIFICATE", b"PRIVATE KEY")):
        with pytest.raises(NotTakenError):
            names_of(bad)
    with pytest.raises(NotTakenError):
        names_of(good + b" " * CERTIFICATE_BYTES_MAX)
    assert names_of(good).spiffe_id == ID


def test_the_common_name_is_never_read(authority: Authority, tmp_path: Path) -> None:
    certificate, _ = authority.issue_to_client("mailer", x509.DNSName("other.example.org"))

    assert names_of(certificate.read_bytes()).dns_names == ("other.example.org",)

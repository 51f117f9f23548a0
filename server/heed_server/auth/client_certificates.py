"""Whom a client's certificate names, once gRPC has seen to it that an authority of ours signed it.

Laws:
- A certificate with a URI is an X509-SVID, or nothing: it has exactly one, and that is the SPIFFE
  ID. Only a certificate without any is known by its DNS names, each as it is written: a wildcard
  is a name that no grant has. The common name is never read.
- It is a leaf, made to sign and, where it says what for, for clients.
- Its end is judged at each call: a connection may outlive it.
Source: SPIFFE X509-SVID, sections 2 to 5; RFC 5280, 4.2.1.
"""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID

from heed.model import Instant
from heed_server.auth.credentials import CERTIFICATE_BYTES_MAX
from heed_server.auth.refusals import NotTakenError, Why
from heed_server.auth.spiffe import is_spiffe_id

_UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_FOR_CLIENTS = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateNames:
    """Whom a certificate names, and when it holds: from `begin_time`, before `expire_time`."""

    spiffe_id: str
    """Empty: it has no URI."""
    dns_names: tuple[str, ...]
    begin_time: Instant
    expire_time: Instant


def names_of(pem: bytes) -> CertificateNames:
    """Return whom a client's certificate names.

    Raises:
        NotTakenError: MALFORMED, it is not the certificate of a workload.
    """
    if len(pem) > CERTIFICATE_BYTES_MAX:
        raise NotTakenError(Why.MALFORMED)
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        extensions = certificate.extensions
        _require_leaf(extensions)
        spiffe_id, dns_names = _names(extensions)
    except _UNREADABLE as error:
        raise NotTakenError(Why.MALFORMED) from error
    return CertificateNames(
        spiffe_id=spiffe_id,
        dns_names=dns_names,
        begin_time=_instant(certificate.not_valid_before_utc),
        expire_time=_instant(certificate.not_valid_after_utc),
    )


def _require_leaf(extensions: x509.Extensions) -> None:
    """Raise ValueError for what is an authority's, or not for a client."""
    for extension in extensions:
        value = extension.value
        match value:
            case x509.BasicConstraints() if value.ca:
                raise ValueError("it is an authority's")
            case x509.KeyUsage() if (
                value.key_cert_sign or value.crl_sign or not value.digital_signature
            ):
                raise ValueError("it is made to sign others, or not to sign")
            case x509.ExtendedKeyUsage() if not _FOR_CLIENTS & set(value):
                raise ValueError("it is not for clients")
            case _:
                pass


def _names(extensions: x509.Extensions) -> tuple[str, tuple[str, ...]]:
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if not uris:
        return "", tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))
    if len(uris) > 1 or not is_spiffe_id(uris[0]):
        raise ValueError("it has several URIs, or one that is no SPIFFE ID")
    return uris[0], ()


def _instant(at: datetime) -> Instant:
    return Instant(round(at.timestamp() * 1_000_000))

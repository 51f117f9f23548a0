"""The certificate that the server shows, and whose it takes: both anew when their files change.

Laws:
- Files that do not belong together, or cannot be read, are refused at the start, and never replace
  good ones later: a rotation caught halfway costs no connection.
- A port asks every caller for a certificate, or nobody: gRPC for Python knows nothing between.
- TLS 1.2 is the oldest version spoken, which is what gRPC offers.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import cast

import grpc
import structlog

from heed.errors import invalid_field
from heed_server.config import TlsConfig

_Stamp = tuple[int, ...]

_log = structlog.stdlib.get_logger("heed_server.auth")


class Certificates:
    """A certificate and its key in files. gRPC asks at each handshake, from threads of its own."""

    def __init__(
        self, certificate_file: Path, private_key_file: Path, client_ca_file: Path | None = None
    ) -> None:
        """Read the files. `client_ca_file`: the authorities of callers' certificates.

        Raises:
            InvalidArgumentError: they cannot be read, or do not belong together.
        """
        self._certificate_file = certificate_file
        self._private_key_file = private_key_file
        self._client_ca_file = client_ca_file
        self._lock = Lock()
        # Written under the lock, by the handshake that first sees a change.
        self._stamp: _Stamp | None = None
        try:
            self._stamp = self._look()
            self.initial = self._read()
        except (OSError, ValueError) as error:
            description = f"the certificate and its key cannot be used: {error}"
            if isinstance(error, _AuthorityError):
                description = str(error)
            raise invalid_field("tls", description) from None

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the certificate if its files have changed since they were last looked at."""
        with self._lock:
            try:
                stamp = self._look()
                if stamp == self._stamp:
                    return None
                self._stamp = stamp
                renewed = self._read()
            except (OSError, ValueError) as error:
                _log.warning("certificate_not_renewed", why=type(error).__name__)
                return None
        _log.info("certificate_renewed", file=str(self._certificate_file))
        return renewed

    def _look(self) -> _Stamp:
        files = [self._certificate_file, self._private_key_file]
        if self._client_ca_file is not None:
            files.append(self._client_ca_file)
        found = [file.stat() for file in files]
        return tuple(number for one in found for number in (one.st_mtime_ns, one.st_ino))

    def _read(self) -> grpc.ServerCertificateConfiguration:
        # Fails on a key that is not the certificate's, which gRPC would only log.
        pair = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pair.load_cert_chain(self._certificate_file, self._private_key_file, password=_no_password)
        chain, key = self._certificate_file.read_bytes(), self._private_key_file.read_bytes()
        authorities = None if self._client_ca_file is None else _authorities(self._client_ca_file)
        return grpc.ssl_server_certificate_configuration([(key, chain)], authorities)


class _AuthorityError(ValueError):
    """The file of the authorities of callers' certificates cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortCredentials:
    """What secure ports need."""

    asking: grpc.ServerCredentials | None
    """Of a port where every caller must show a certificate; None: no authority is set."""
    silent: grpc.ServerCredentials
    """Of a port where nobody is asked for one."""


def server_credentials(tls: TlsConfig) -> PortCredentials | None:
    """Return what secure ports need; None when no certificate is set.

    Raises:
        InvalidArgumentError: the certificate, or the authorities of callers, cannot be used.
    """
    if tls.certificate_file is None or tls.private_key_file is None:
        return None
    asking: grpc.ServerCredentials | None = None
    if tls.client_ca_file is not None:
        asking = _port_credentials(
            Certificates(tls.certificate_file, tls.private_key_file, tls.client_ca_file),
            asks=True,
        )
    return PortCredentials(
        asking=asking,
        silent=_port_credentials(
            Certificates(tls.certificate_file, tls.private_key_file), asks=False
        ),
    )


def _port_credentials(certificates: Certificates, *, asks: bool) -> grpc.ServerCredentials:
    fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", certificates.renewed)
    # Its type leaves out None, which gRPC documents as "unchanged".
    return grpc.dynamic_ssl_server_credentials(
        certificates.initial, fetch, require_client_authentication=asks
    )


def _authorities(file: Path) -> bytes:
    """The authorities of callers' certificates; gRPC passes over what it cannot read."""
    from cryptography import x509  # loaded only where callers are asked for a certificate

    try:
        content = file.read_bytes()
        x509.load_pem_x509_certificates(content)  # fails where there is none
    except (OSError, ValueError) as error:
        raise _AuthorityError(f"the authorities of callers cannot be used: {error}") from error
    return content


def _no_password() -> bytes:
    """Without this, a key with a password would ask for it on the terminal and wait."""
    raise ValueError("the private key has a password; give one without")

"""The certificate that the server shows, taken up anew when its files change.

Laws:
- A pair of files that do not belong together, or cannot be read, is refused at the start, and
  never replaces a good one later: a rotation caught halfway costs no connection.
- TLS 1.2 is the oldest version spoken, which is what gRPC offers.
"""

import ssl
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import cast

import grpc
import structlog

from heed.errors import FieldViolation, InvalidArgumentError
from heed_server.config import TlsConfig

_Stamp = tuple[int, int, int, int]

_log = structlog.stdlib.get_logger("heed_server.auth")


class Certificates:
    """A certificate and its key in files. gRPC asks at each handshake, from threads of its own."""

    def __init__(self, certificate_file: Path, private_key_file: Path) -> None:
        """Read the files.

        Raises:
            InvalidArgumentError: they cannot be read, or do not belong together.
        """
        self._certificate_file = certificate_file
        self._private_key_file = private_key_file
        self._lock = Lock()
        # Written under the lock, by the handshake that first sees a change.
        self._stamp: _Stamp | None = None
        try:
            self._stamp = self._look()
            self.initial = self._read()
        except (OSError, ValueError) as error:
            description = f"the certificate and its key cannot be used: {error}"
            raise InvalidArgumentError(
                f"tls: {description}", violations=[FieldViolation("tls", description)]
            ) from None

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
        certificate, key = self._certificate_file.stat(), self._private_key_file.stat()
        return certificate.st_mtime_ns, certificate.st_ino, key.st_mtime_ns, key.st_ino

    def _read(self) -> grpc.ServerCertificateConfiguration:
        # Fails on a key that is not the certificate's, which gRPC would only log.
        pair = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pair.load_cert_chain(self._certificate_file, self._private_key_file, password=_no_password)
        chain, key = self._certificate_file.read_bytes(), self._private_key_file.read_bytes()
        return grpc.ssl_server_certificate_configuration([(key, chain)])


def server_credentials(tls: TlsConfig) -> grpc.ServerCredentials | None:
    """Return what a secure port needs; None when no certificate is set.

    Raises:
        InvalidArgumentError: the certificate cannot be used.
    """
    if tls.certificate_file is None or tls.private_key_file is None:
        return None
    certificates = Certificates(tls.certificate_file, tls.private_key_file)
    fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", certificates.renewed)
    # Its type leaves out None, which gRPC documents as "unchanged".
    return grpc.dynamic_ssl_server_credentials(
        certificates.initial, fetch, require_client_authentication=False
    )


def _no_password() -> bytes:
    """Without this, a key with a password would ask for it on the terminal and wait."""
    raise ValueError("the private key has a password; give one without")

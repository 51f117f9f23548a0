"""The certificate of an HTTP edge: the server's own, read anew when its files change.

Law: files that cannot be used never replace good ones.
"""

import ssl
from pathlib import Path

import structlog

from heed.errors import invalid_field

_Stamp = tuple[tuple[int, int], ...]

_log = structlog.stdlib.get_logger("heed_server.web")


class EdgeCertificate:
    """A certificate and its key in files. Used by the event loop's handshakes alone."""

    def __init__(
        self, certificate_file: Path, private_key_file: Path, client_ca_file: Path | None = None
    ) -> None:
        """Read the files. `client_ca_file`: every caller has to show a certificate of these.

        Raises:
            InvalidArgumentError: they cannot be read, or do not belong together.
        """
        self._pair = (certificate_file, private_key_file)
        self._client_ca_file = client_ca_file
        try:
            self._stamp = self._look()
            self._current = self._read()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise invalid_field(
                "tls.certificate_file", f"the certificate and its key cannot be used: {error}"
            ) from error
        self.context = self._read()
        """To listen with: each handshake goes on with the context of the files as they are."""
        self.context.sni_callback = self._take_current

    def _take_current(self, handshake: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
        try:
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                self._current = self._read()
        except (OSError, ValueError) as error:
            _log.warning("certificate_not_taken", why=str(error))
        handshake.context = self._current

    def _look(self) -> _Stamp:
        files = [*self._pair, *([] if self._client_ca_file is None else [self._client_ca_file])]
        found = (path.stat() for path in files)
        return tuple((status.st_mtime_ns, status.st_size) for status in found)

    def _read(self) -> ssl.SSLContext:
        certificate_file, private_key_file = self._pair
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate_file, private_key_file)
        if self._client_ca_file is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self._client_ca_file)
        return context

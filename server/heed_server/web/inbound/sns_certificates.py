"""The certificates that SNS signs with: got from SNS alone, kept, few at a time.

Laws:
- The chain of a certificate is SNS's word, given over TLS by its own host, whose certificate is
  verified against whom the system trusts: SNS publishes no chain. It has to be of its time.
- Who asks for a certificate that is not known has leave for it first: strangers make heed fetch no
  more than their rate.
- What cannot be had is not verified, and comes again: it is never believed meanwhile.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from cryptography import x509

from heed.model import Instant
from heed_server.auth.fetching import FetchError, fetch
from heed_server.web.inbound.notification import NotVerifiableError, NotVerifiedError, Why
from heed_server.web.inbound.sns import is_certificate_url

CERTIFICATES_KEPT_MAX: Final = 32
"""Certificates that are remembered: SNS has one or two a region at a time. Lower than the regions
that report: some are fetched again and again."""
CERTIFICATE_SECONDS_MAX: Final = 5.0
"""How long a certificate, or a subscription that is confirmed, may take. Higher than SNS waits for
an answer: what came is lost in any case."""
CERTIFICATE_BYTES_MAX: Final = 16_384
"""Bytes of a certificate, as PEM."""
FETCHES_WAITING_MAX: Final = 16
"""Notifications that wait for one to be fetched; one more comes again. Higher: a flood of unknown
ones holds more of them. Lower: what comes at once after a start is sent again."""


class Fetch(Protocol):
    """Gets what is at a URL, blocking."""

    def __call__(
        self, url: str, *, ca_file: Path | None, seconds_max: float, bytes_max: int
    ) -> bytes:
        """Return it. Raises FetchError."""
        ...


class SigningCertificates:
    """Certificates by their URLs. Written on the event loop alone."""

    def __init__(self, *, now: Callable[[], Instant], fetch: Fetch = fetch) -> None:
        self._now = now
        self._fetch = fetch
        self._kept: dict[str, x509.Certificate] = {}
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def at(self, url: str, *, leave: Callable[[], None]) -> x509.Certificate:
        """Return the certificate at a URL; `leave` is asked before it is fetched.

        Raises:
            NotVerifiedError: it is no URL of SNS's, or what is there is none or out of its time.
            NotVerifiableError: it cannot be had now.
        """
        if not is_certificate_url(url):
            raise NotVerifiedError(Why.CERTIFICATE)
        known = self._kept.get(url)
        if known is None:
            leave()
            known = await self._fetched(url)
        if not _is_of_its_time(known, self._now()):
            self._kept.pop(url, None)
            raise NotVerifiedError(Why.CERTIFICATE)
        return known

    async def confirm(self, url: str) -> None:
        """Visit the URL of a subscription, which has been checked to be SNS's.

        Raises:
            NotVerifiableError: SNS did not answer.
        """
        await self._get(url, bytes_max=CERTIFICATE_BYTES_MAX)

    async def _fetched(self, url: str) -> x509.Certificate:
        if self._waiting >= FETCHES_WAITING_MAX:
            raise NotVerifiableError
        self._waiting += 1
        try:
            async with self._turn:  # who waited for the same one finds it
                known = self._kept.get(url)
                if known is None:
                    known = _parsed(await self._get(url, bytes_max=CERTIFICATE_BYTES_MAX))
                    if len(self._kept) >= CERTIFICATES_KEPT_MAX:
                        del self._kept[next(iter(self._kept))]
                    self._kept[url] = known
                return known
        finally:
            self._waiting -= 1

    async def _get(self, url: str, *, bytes_max: int) -> bytes:
        try:
            return await asyncio.to_thread(
                self._fetch,
                url,
                ca_file=None,
                seconds_max=CERTIFICATE_SECONDS_MAX,
                bytes_max=bytes_max,
            )
        except FetchError as error:
            raise NotVerifiableError(str(error)) from error


def parse_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a file.

    Raises:
        ValueError: there is none.
    """
    return tuple(x509.load_pem_x509_certificates(pem))


def _parsed(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise NotVerifiedError(Why.CERTIFICATE) from None


def _is_of_its_time(certificate: x509.Certificate, now: Instant) -> bool:
    at = datetime.fromtimestamp(now // 1_000_000, UTC)
    return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc

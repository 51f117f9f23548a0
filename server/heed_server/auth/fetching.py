"""Getting an issuer's keys by https: bounded in size and in time, and from nowhere else.

Laws:
- The URL is the operator's, never a caller's. Redirects are not followed: where keys come from is
  what the operator wrote.
- It blocks; call it from a thread.
"""

import http.client
import ssl
import time
import urllib.request
from pathlib import Path
from typing import Final

_CHUNK_BYTES: Final = 65_536


class FetchError(Exception):
    """There was no answer to go by; the text says why."""


def fetch(url: str, *, ca_file: Path | None, seconds_max: float, bytes_max: int) -> bytes:
    """Return what is at a URL.

    Raises:
        FetchError: it is not there, not in time, too large, or elsewhere.
    """
    ends_at = time.monotonic() + seconds_max
    try:
        context = ssl.create_default_context(cafile=ca_file)
        opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context), _NoRedirects()
        )
        asked = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - https alone, see heed_server.auth.grants
        content = bytearray()
        with opener.open(asked, timeout=seconds_max) as answer:
            while chunk := answer.read1(_CHUNK_BYTES):
                content += chunk
                if len(content) > bytes_max:
                    raise FetchError(f"it is larger than {bytes_max} bytes")
                if time.monotonic() > ends_at:
                    raise FetchError(f"it took longer than {seconds_max} s")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise FetchError(f"{type(error).__name__}: {error}") from error
    return bytes(content)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for what it is: not the answer."""

    def redirect_request(self, *_told: object, **_said: object) -> None:
        """Follow nothing."""

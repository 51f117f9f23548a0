"""URLs as they may be shown.

Law: of a URL only the password, or a user without one (a token), and the query are hidden, since
the rest is what one looks for.
"""

import re
from typing import Final
from urllib.parse import urlsplit

MASK: Final = "***"
"""What stands where a secret was."""

_BETWEEN_URLS: Final = re.compile(r",(?=[a-z+]+://)")
_TOKEN_SCHEMES: Final = {"nats", "tls", "ws", "wss"}


def masked_url(url: str) -> str:
    """Return a URL without its password and query; of several, joined by commas, each."""
    return ",".join(_masked(one) for one in _BETWEEN_URLS.split(url))


def _masked(url: str) -> str:
    parts = urlsplit(url)
    if not parts.scheme:
        return MASK if url else ""
    password = f":{MASK}" if parts.password is not None else ""
    user = f"{parts.username}{password}@" if parts.username is not None else ""
    if parts.scheme in _TOKEN_SCHEMES and parts.password is None and parts.username is not None:
        user = f"{MASK}@"  # a user without a password is a token there
    place = parts.netloc.rpartition("@")[2]
    query = f"?{MASK}" if parts.query else ""
    return f"{parts.scheme}://{user}{place}{parts.path}{query}"

"""Who asks an edge that strangers reach, and what they send, bounded."""

import ipaddress
from typing import Final, TypeAlias

from starlette.requests import Request

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_IPV6_BITS_OF_ONE: Final = 64
"""Whoever has one IPv6 address has all of its network."""


def address_of(request: Request, *, behind_proxy: bool) -> Address | None:
    """Return from where a request came; None: that is not known.

    `behind_proxy`: it is what the last X-Forwarded-For says.
    """
    text = request.client.host if request.client is not None else ""
    forwarded = request.headers.getlist("x-forwarded-for")
    if behind_proxy and forwarded:
        text = forwarded[-1].rpartition(",")[2].strip()
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def network_of(request: Request, *, behind_proxy: bool) -> str:
    """Return whose rate a request takes from: an IPv4 address, or an IPv6 network; or nothing."""
    address = address_of(request, behind_proxy=behind_proxy)
    if address is None:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, _IPV6_BITS_OF_ONE), strict=False))


async def body_of(request: Request, bytes_max: int) -> bytes | None:
    """Return the body; None: it is larger."""
    parts: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > bytes_max:
            return None
        parts.append(chunk)
    return b"".join(parts)

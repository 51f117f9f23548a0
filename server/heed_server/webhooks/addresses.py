"""Which network addresses a webhook may go to: those of the public internet, judged one by one.

Laws:
- What is not known to be public is not. Only IPv4 addresses outside of every special range, and
  IPv6 addresses of global unicast (2000::/3) outside of theirs, are public.
- An address that carries another (IPv4-mapped, 6to4, Teredo) is never public, whatever it carries;
  one of the well-known prefix of NAT64 is what it carries.
- An operator may allow networks of their own. The places where clouds keep their machines'
  credentials are reached by no setting.
- The lists are ours and not Python's, which changed between its releases (CVE-2024-4032).

Source: the IANA special-purpose address registries for IPv4 and IPv6, 2025-10; RFC 6890; RFC 6052.
"""

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from typing import Final

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_SPECIAL_IPV4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by carriers' NAT
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_GLOBAL_IPV6: Final = IPv6Network("2000::/3")
_SPECIAL_IPV6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_IPV4_BITS: Final = 0xFFFF_FFFF

_CREDENTIALS: Final = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",  # AWS, Azure, Google, Oracle, DigitalOcean …
            "169.254.170.2",  # AWS, containers
            "169.254.170.23",  # AWS, pods
            "100.100.100.200",  # Alibaba
            "168.63.129.16",  # Azure's host, a public address
            "192.0.0.192",  # Oracle
            "fd00:ec2::254",  # AWS
            "fd00:ec2::23",  # AWS, pods
            "fd20:ce::254",  # Google
        ),
    )
)
"""Where clouds tell a machine its credentials."""


def may_be_reached(text: str, allowed: Sequence[Network] = ()) -> bool:
    """Return whether webhooks may go to an address, public or of an allowed network.

    What is no address may not; nor may one of a link (`fe80::1%eth0`).
    """
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return _may_be_reached(address, allowed)


def _may_be_reached(address: Address, allowed: Sequence[Network]) -> bool:
    if address in _CREDENTIALS:
        return False
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        carried = address.ipv4_mapped
        if carried is not None and carried in _CREDENTIALS:
            return False
        if address in _NAT64:
            return _may_be_reached(IPv4Address(int(address) & _IPV4_BITS), allowed)
    if any(address in network for network in allowed):
        return True
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)

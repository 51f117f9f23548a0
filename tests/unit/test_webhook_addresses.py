"""Which addresses webhooks may go to: the public internet, and what an operator names."""

import random
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from heed_server.webhooks.addresses import may_be_reached

REFUSED = [
    "0.0.0.0",  # noqa: S104 - nobody binds it
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.1.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "100.100.100.200",
    "168.63.129.16",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%eth0",
    "fec0::1",
    "ff02::1",
    "not an address",
    "127.1",
    "0x7f.0.0.1",
    "2130706433",
    "",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "192.0.66.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111",
          "2a00:1450:4001::1", "64:ff9b::8.8.8.8"]  # fmt: skip
CREDENTIALS = ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16",
               "::ffff:169.254.169.254", "64:ff9b::169.254.169.254"]  # fmt: skip
EVERYTHING = [ip_network("0.0.0.0/0"), ip_network("::/0")]


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not may_be_reached(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_not(address: str) -> None:
    assert may_be_reached(address)


@pytest.mark.parametrize("address", ["10.20.0.1", "127.0.0.1", "::1", "fd12::1"])
def test_a_network_that_an_operator_names_is_reached(address: str) -> None:
    named = [ip_network(one) for one in ("10.20.0.0/16", "127.0.0.0/8", "::1/128", "fd12::/16")]

    assert may_be_reached(address, named)
    assert not may_be_reached("10.21.0.1", named)


@pytest.mark.parametrize("address", CREDENTIALS)
def test_where_clouds_keep_credentials_is_reached_by_no_setting(address: str) -> None:
    assert not may_be_reached(address, EVERYTHING)


def test_whatever_python_calls_private_is_refused() -> None:
    """Our lists are stricter than every Python's; of many addresses none is an exception."""
    chance = random.Random(20261127)
    for _ in range(20_000):
        four = IPv4Address(chance.getrandbits(32))
        six = IPv6Address(
            chance.choice([chance.getrandbits(128), 0x2001 << 112 | chance.getrandbits(112)])
        )
        for one in (four, six):
            if not one.is_global or one.is_multicast or one.is_reserved or one.is_link_local:
                assert not may_be_reached(str(one)), one

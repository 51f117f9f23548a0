"""Where the server is and how it is reached: address, TLS, credential.

Laws:
- Plaintext goes to loopback and to unix sockets alone, unless the caller says `insecure=True`.
  So neither a key nor an address of a person crosses a network in clear by omission.
- Credentials stand in no `repr`.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from heed.errors import invalid_field

DEFAULT_ADDRESS: Final = "127.0.0.1:50051"

_SCHEME: Final = re.compile(r"(dns|ipv4|ipv6|unix|unix-abstract):")
_HOST_AND_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(\d{1,5})")
_CREDENTIAL: Final = re.compile(r"[!-~]{1,7168}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How a server shows who it is, and how the caller does, if by certificate. All are PEM."""

    root_certificates: bytes | Path | None = None
    """Whom to trust; None: what gRPC brings."""
    certificate_chain: bytes | Path | None = None
    """The caller's own certificate, with `private_key`."""
    private_key: bytes | Path | None = field(default=None, repr=False)
    server_name: str = ""
    """The name that the server's certificate must carry; empty: the host of the address."""

    def __post_init__(self) -> None:
        if (self.certificate_chain is None) != (self.private_key is None):
            raise invalid_field("tls", "certificate_chain and private_key go together; give both")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server as gRPC opens it."""

    name: str
    """`dns:///heed.example.com:443`, `unix:/run/heed.sock`"""
    address: str
    """As the caller wrote it, for messages."""
    tls: Tls | None
    """None: plaintext."""
    is_local: bool
    """Whether it is this host by loopback or a unix socket."""
    credential: str | Callable[[], str] | None = field(default=None, repr=False)
    """An API key or a JWT, or what returns one."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with a call that begins now: the credential.

        Raises:
            InvalidArgumentError: what returns one returned none.
        """
        given = self.credential
        if given is None:
            return ()
        bearer = given if isinstance(given, str) else _credential(given())
        return (("authorization", f"Bearer {bearer}"),)


def target_of(
    address: str, *, tls: Tls | None, insecure: bool, api_key: str | Callable[[], str] | None
) -> Target:
    """Return what to open.

    Without `tls` and without `insecure`, this host is reached in plaintext and every other by TLS
    with the roots that gRPC brings.

    Raises:
        InvalidArgumentError: the address or the key is none, or `tls` and `insecure` contradict.
    """
    if tls is not None and insecure:
        raise invalid_field("insecure", "contradicts tls; say one of them")
    name, hosts = _name_and_hosts(address)
    is_local = all(_is_loopback(host) for host in hosts)
    if tls is None and not is_local and not insecure:
        tls = Tls()
    credential = _credential(api_key) if isinstance(api_key, str) else api_key
    return Target(name=name, address=address, tls=tls, is_local=is_local, credential=credential)


def pem(value: bytes | Path | None) -> bytes | None:
    """Return a PEM that stands in a file or is given as it is."""
    return value.read_bytes() if isinstance(value, Path) else value


def _credential(text: str) -> str:
    if _CREDENTIAL.fullmatch(text) is None:
        raise invalid_field("api_key", "is not a key: it has no spaces, line ends or other letters")
    return text


def _name_and_hosts(address: str) -> tuple[str, tuple[str, ...]]:
    """The name of a target in gRPC, and the hosts that it names; none for a unix socket."""
    scheme = _SCHEME.match(address)
    if scheme is None:
        return f"dns:///{address}", (_host(address, address),)
    rest = address[scheme.end() :]
    if scheme[1].startswith("unix"):
        return address, ()
    if scheme[1] == "dns":  # dns:[//authority/]host:port
        return address, (_host(rest.rpartition("/")[2], address),)
    return address, tuple(_host(one, address) for one in rest.split(","))


def _host(host_and_port: str, address: str) -> str:
    match = _HOST_AND_PORT.fullmatch(host_and_port)
    if match is None:
        raise invalid_field(
            "address", f"{address[:200]!r} is not one; write host:port or unix:/path/of/socket"
        )
    return match[1].strip("[]")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

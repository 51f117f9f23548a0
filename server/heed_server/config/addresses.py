"""What a listening address says, and who can reach it.

Law: an address is loopback only when its text says so; names but `localhost` are not looked up,
and count as open to others.
"""

import ipaddress
from dataclasses import dataclass

_UNIX = "unix:"
_PORT_MAX = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """`host:port`, or the path of a unix socket."""

    host: str = ""
    """Empty: every interface."""
    port: int = 0
    path: str = ""
    """Of a unix socket; empty: none."""

    @property
    def is_loopback(self) -> bool:
        """Whether only processes of this host can reach it."""
        if self.path or self.host == "localhost":
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback

    def __str__(self) -> str:
        if self.path:
            return _UNIX + self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Return the parts of `host:port`, `[::1]:port`, `:port` or `unix:path`.

    Raises:
        ValueError: it is none of these.
    """
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        # gRPC's `unix://` form names an absolute path.
        path = path.removeprefix("//") if path.startswith("//") else path
        if not path:
            raise ValueError(f"{text!r} names no path; write unix:/run/heed.sock")
        return Address(path=path)
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > _PORT_MAX:
        raise ValueError(f"{text!r} has no port; write 127.0.0.1:50051 or unix:/run/heed.sock")
    if ":" in host and not is_bracketed:
        raise ValueError(f"{text!r} is ambiguous; write an IPv6 address as [::1]:50051")
    return Address(host=host[1:-1] if is_bracketed else host, port=int(port))

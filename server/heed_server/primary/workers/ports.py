"""One address for several processes: each listens there, and the kernel deals out connections.

Laws:
- The supervisor keeps every port from before the first worker listens until after the last one has
  ended: nobody else's server slips in, and a port that was asked for as 0 stays the same.
- A port that somebody listens on already is refused, although SO_REUSEPORT would let us share it.
Source: socket(7), SO_REUSEPORT.
"""

import socket
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from heed.errors import UnavailableError, invalid_field
from heed_server.config import Config
from heed_server.config.addresses import Address, parse_address

_EVERY_INTERFACE = "::"


def require_workers_can_serve(config: Config) -> None:
    """Return if several processes can share what these settings ask for.

    Raises:
        InvalidArgumentError: they cannot.
    """
    said = ""
    if sys.platform != "linux":
        said = "several workers need Linux, whose kernel deals out connections; leave it at 1"
    elif any(parse_address(text).path for text in config.listen.address):
        said = "several workers cannot share a unix socket; listen on host:port, or leave it at 1"
    if said:
        raise invalid_field("listen.workers", said)


@contextmanager
def kept_ports(config: Config) -> Generator[tuple[Address, ...]]:
    """Keep the ports of every address within the block; yields the addresses with their ports.

    Raises:
        UnavailableError: one is in use, or is not this host's.
    """
    with ExitStack() as kept:
        yield tuple(_keep(kept, parse_address(text)) for text in config.listen.address)


def _keep(kept: ExitStack, address: Address) -> Address:
    try:
        found = socket.getaddrinfo(
            address.host or _EVERY_INTERFACE, address.port, type=socket.SOCK_STREAM
        )
        port = address.port
        for family, kind, protocol, _, place in found:
            wanted = (place[0], port, *place[2:])
            _require_unused(family, wanted)
            holder = kept.enter_context(socket.socket(family, kind, protocol))
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(wanted)
            port = holder.getsockname()[1]
    except OSError as error:
        raise UnavailableError(
            f"cannot listen on {address}: it is in use, or is no address of this host; "
            "choose another with --listen"
        ) from error
    return replace(address, port=port)


def _require_unused(family: int, place: tuple[str | int, ...]) -> None:
    """Raise if anybody has the port, sharing or not: only one who does not share can tell."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)
        probe.listen(1)

"""Binding the addresses, with TLS where they are TCP and a certificate is set."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import grpc
import structlog
from grpc import aio

from heed.errors import UnavailableError
from heed_server.auth.certificates import PortCredentials
from heed_server.config import Config
from heed_server.config.addresses import Address, parse_address
from heed_server.config.exposure import asks_for_certificates, open_addresses

_EVERY_INTERFACE = "[::]"

_log = structlog.stdlib.get_logger("heed_server.primary")


def listen(
    server: aio.Server, config: Config, credentials: PortCredentials | None
) -> tuple[Address, ...]:
    """Bind every address; return them with the ports they got.

    Raises:
        UnavailableError: one is in use, or is not this host's.
    """
    addresses: list[Address] = []
    for text in config.listen.address:
        of_port: grpc.ServerCredentials | None = None
        if credentials is not None:
            asks = asks_for_certificates(config, text)
            of_port = credentials.asking if asks else credentials.silent
        addresses.append(_bind(server, parse_address(text), of_port))
    return tuple(addresses)


def listen_to_workers(server: aio.Server, address: Address) -> tuple[Address, ...]:
    """Bind a unix socket that only this user may connect to.

    Raises:
        UnavailableError: it cannot be made.
    """
    before = os.umask(0o177)
    try:
        return (_bind(server, address, None),)
    finally:
        os.umask(before)


def warn_of_exposure(config: Config, *, keys_required: bool) -> None:
    """Log what `listen.insecure` lets others do."""
    reachable = open_addresses(config)
    if reachable and (config.tls.certificate_file is None or not keys_required):
        _log.warning(
            "listening_insecurely",
            addresses=[str(address) for address in reachable],
            tls=config.tls.certificate_file is not None,
            keys_required=keys_required,
        )


def shown(addresses: Sequence[Address]) -> str:
    """Return the addresses as one types them."""
    return ", ".join(str(address) for address in addresses)


def _bind(
    server: aio.Server, address: Address, credentials: grpc.ServerCredentials | None
) -> Address:
    target = str(address) if address.host or address.path else f"{_EVERY_INTERFACE}:{address.port}"
    try:
        # A unix socket is this host's own: its permissions say who may, and TLS adds nothing.
        if credentials is None or address.path:
            port = server.add_insecure_port(target)
        else:
            port = server.add_secure_port(target, credentials)
    except RuntimeError as error:
        raise UnavailableError(f"cannot listen on {address}: {_why_not(address)}") from error
    return address if address.path else replace(address, port=port)


def _why_not(address: Address) -> str:
    folder = Path(address.path).parent
    if address.path and not folder.is_dir():
        return f"there is no folder {folder}; make it, for the user that serves"
    return "it is in use, or is no address of this host; choose another with --listen"

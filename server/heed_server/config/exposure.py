"""Who can reach the server, and what it therefore asks of them.

Laws:
- On any address but loopback and unix sockets the server needs TLS and credentials; without both
  it does not start, unless `listen.insecure` says that this is meant.
- Where nobody can be asked for a certificate, nobody is believed to be: an address that is to ask
  is one that the server listens on, with TLS.
- REST is one more address of callers. Its TLS may be a proxy's; who calls it is asked all the same.
- The public edge asks for no credential, and what providers report is of people: both have TLS
  beyond loopback, here or at a proxy. So has the dashboard, which beyond loopback asks for a
  credential whatever else is said.
- An open listener is closed by the first key that is made, and nothing opens it again: no
  revocation, and no restart but one with `auth.required` false.
Source: design, section 6.
"""

from heed.errors import FieldViolation, InvalidArgumentError, invalid_field
from heed_server.config.addresses import Address, parse_address
from heed_server.config.model import Config


def open_addresses(config: Config) -> tuple[Address, ...]:
    """Return the addresses for callers, of gRPC and of REST, that other hosts may reach."""
    told = [*config.listen.address, *([config.rest.address] if config.rest.address else ())]
    addresses = (parse_address(text) for text in told)
    return tuple(address for address in addresses if not address.is_loopback)


def require_safe_listening(config: Config) -> None:
    """Return if the server may listen as it is told.

    Raises:
        InvalidArgumentError: others could reach it without TLS or without a credential, or it is
            to ask for certificates where it cannot.
    """
    _require_asking_addresses(config)
    _require_tls_at(config, "web", config.web.address, behind_proxy=config.web.behind_proxy)
    inbound = config.inbound
    _require_tls_at(config, "inbound", inbound.address, behind_proxy=inbound.behind_proxy)
    board = config.dashboard
    _require_tls_at(config, "dashboard", board.address, behind_proxy=board.behind_proxy)
    reachable = open_addresses(config)
    if not reachable or config.listen.insecure:
        return
    missing: list[FieldViolation] = []
    if config.tls.certificate_file is None and _is_open_without_proxy(config):
        said = "name a certificate and its key: --tls-certificate-file and --tls-private-key-file"
        missing.append(FieldViolation("tls.certificate_file", said))
    if config.auth.required is False:
        missing.append(FieldViolation("auth.required", "leave it at auto, or set it to true"))
    if missing:
        raise InvalidArgumentError(
            f"{reachable[0]} can be reached from other hosts, so the server needs TLS and API keys "
            "there; give both, listen on 127.0.0.1, or say --insecure if this is meant",
            violations=missing,
        )


def keys_are_required(config: Config) -> bool | None:
    """Whether every call needs a credential; None: once the first API key was made."""
    if config.auth.required != "auto":
        return config.auth.required
    if open_addresses(config) and not config.listen.insecure:
        return True
    # Who writes grants believes that they are asked for, as who makes a key does.
    return True if config.auth.grants_file is not None else None


def asks_for_certificates(config: Config, address: str) -> bool:
    """Whether a caller at one of `listen.address`, or at REST, must show a certificate.

    Behind a proxy, at REST, nobody is asked: the handshake is the proxy's.
    """
    if config.tls.client_ca_file is None or parse_address(address).path:
        return False
    return not config.tls.client_addresses or address in config.tls.client_addresses


def _is_open_without_proxy(config: Config) -> bool:
    """Whether other hosts may reach an address for callers where no proxy speaks TLS."""
    told = [*config.listen.address]
    if config.rest.address and not config.rest.behind_proxy:
        told.append(config.rest.address)
    return not all(parse_address(text).is_loopback for text in told)


def _require_tls_at(config: Config, section: str, address: str, *, behind_proxy: bool) -> None:
    """Return if an edge for strangers has TLS, here or at a proxy before it."""
    if not address or behind_proxy or config.tls.certificate_file is not None:
        return
    if not parse_address(address).is_loopback:
        raise invalid_field(
            f"{section}.address",
            f"{address} can be reached from other hosts, so it needs TLS: name a certificate and "
            f"its key (--tls-certificate-file and --tls-private-key-file), say "
            f"--{section}-behind-proxy if a proxy speaks TLS before it, or listen on 127.0.0.1",
        )


def _require_asking_addresses(config: Config) -> None:
    for address in config.tls.client_addresses:
        said = ""
        if address not in (*config.listen.address, config.rest.address):
            said = f"{address} is none of listen.address, nor rest.address; write it as there"
        elif address == config.rest.address and config.rest.behind_proxy:
            said = f"{address} is behind a proxy, which has the handshake"
        elif parse_address(address).path:
            said = f"{address} is a unix socket, where there is no TLS"
        if said:
            raise invalid_field("tls.client_addresses", said)

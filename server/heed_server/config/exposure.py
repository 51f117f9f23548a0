"""Who can reach the server, and what it therefore asks of them.

Laws:
- On any address but loopback and unix sockets the server needs TLS and API keys; without both it
  does not start, unless `listen.insecure` says that this is meant.
- An open listener is closed by the first key that is made, and nothing opens it again: no
  revocation, and no restart but one with `auth.required` false.
Source: design, section 6.
"""

from heed.errors import FieldViolation, InvalidArgumentError
from heed_server.config.addresses import Address, parse_address
from heed_server.config.model import Config


def open_addresses(config: Config) -> tuple[Address, ...]:
    """Return the listening addresses that other hosts may reach."""
    addresses = (parse_address(text) for text in config.listen.address)
    return tuple(address for address in addresses if not address.is_loopback)


def require_safe_listening(config: Config) -> None:
    """Return if the server may listen as it is told.

    Raises:
        InvalidArgumentError: others could reach it without TLS or without a key.
    """
    reachable = open_addresses(config)
    if not reachable or config.listen.insecure:
        return
    missing: list[FieldViolation] = []
    if config.tls.certificate_file is None:
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
    """Whether every call needs an API key; None: once the first one was made."""
    if config.auth.required != "auto":
        return config.auth.required
    if open_addresses(config) and not config.listen.insecure:
        return True
    return None

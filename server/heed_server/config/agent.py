"""The settings of `heed-server agent` alone; it reads those of the edge and of staleness too."""

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, SecretStr

from heed_server.config.section import Section, setting

_MODE: Final = re.compile(r"0?[0-7]{3}")


def _require_mode(value: str) -> str:
    if _MODE.fullmatch(value) is None:
        raise ValueError(f"{value!r} is no mode of a file; write 0600 or 0660")
    return value


Mode = Annotated[str, AfterValidator(_require_mode)]


class AgentConfig(Section):
    """An agent: what it follows and asks, and who may ask it. Read by `heed-server agent` alone."""

    upstream: str = setting(
        "",
        "The server, or another agent: `host:port`, `dns:///name:port` or `unix:/path`. Beyond "
        "loopback and unix sockets it is reached by TLS.",
    )
    upstream_ca_file: Path | None = setting(
        None, "PEM: whom to trust as the upstream. Unset: what gRPC brings."
    )
    upstream_certificate_file: Path | None = setting(
        None,
        "PEM: the agent's own certificate, where the upstream asks for one; read at the start. It "
        "speaks for the agent alone, never for a caller.",
    )
    upstream_private_key_file: Path | None = setting(
        None, "PEM: its private key, readable by the agent alone."
    )
    upstream_server_name: str = setting(
        "", "The name in the upstream's certificate. Empty: the host of its address."
    )
    upstream_insecure: bool = setting(
        False, "Reach an upstream beyond loopback in plaintext: keys and addresses are in clear."
    )
    api_key: SecretStr = setting(
        SecretStr(""),
        "The agent's own API key, or JWT, with the right `watch`, by which it follows. It never "
        "goes with a caller's call.",
    )
    tenant: str = setting("", "The one tenant of this agent. Empty: the only one there is.")
    cache_dir: Path = setting(
        Path("heed-agent"),
        "The folder of the replica, for its user alone (it holds the lookup key), on a local "
        "disk; made if missing. Agents of one upstream and tenant may share it.",
    )
    subscriber: str = setting(
        "",
        "The agent's name in the propagation. Empty: the host's name and that of the folder.",
    )
    socket_mode: Mode = setting(
        "0600", "The mode of the unix sockets that it listens on: who may open one may check."
    )
    credential_seconds: float = setting(
        15.0,
        "For how long what the upstream said of a caller's key is taken without asking again.",
        higher="a key that was revoked still checks here for longer",
        lower="the upstream is asked more often, once a key",
        ge=1,
        le=900,
    )
    credentials_max: int = setting(
        10_000,
        "Keys of callers that are remembered; one more, and all are asked about again.",
        higher="more memory",
        lower="the upstream is asked more often",
        ge=1,
        le=1_000_000,
    )
    streams_max: int = setting(
        512,
        "Streams of changes of caches and agents behind this one, which go through to the upstream "
        "on one connection; one more is LIMIT_REACHED.",
        higher="at 1,024, what a server takes on a connection, they leave no room for calls",
        lower="caches are refused sooner",
        ge=0,
        le=1_000,
    )
    ask_seconds_max: float = setting(
        1.0,
        "How long the upstream is asked for a Check that the replica cannot answer, and about a "
        "caller's key; never more than half of what the call has left.",
        higher="a silent upstream is noticed later",
        lower="a slow one counts as silent",
        ge=0.01,
        le=60,
    )

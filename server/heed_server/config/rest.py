"""The settings of REST."""

from heed_server.config.section import HostPort, Section, setting


class RestConfig(Section):
    """REST: what gRPC callers ask, in JSON over HTTP (docs/rest.md)."""

    address: HostPort = setting(
        "",
        "Where REST is served, `host:port`. Empty: nowhere. Beyond loopback it needs TLS and "
        "credentials, as `listen.address` does, with the certificate of `tls`. Of a server with "
        "workers it is the owner's.",
    )
    behind_proxy: bool = setting(
        False,
        "Only a proxy reaches `rest.address`, and it speaks TLS to the callers: here is plain "
        "HTTP. Their credentials are asked for all the same.",
    )
    docs: bool = setting(
        True, "Serve `/v1/openapi.json` and `/v1/docs` to anybody who reaches the address."
    )
    connections_max: int = setting(
        2_000,
        "Connections; one more is closed.",
        higher="more memory, some 50 KiB each, and file descriptors",
        lower="callers beyond it cannot connect",
        ge=1,
        le=1_000_000,
    )
    request_seconds_max: float = setting(
        15.0,
        "How long a request may take to arrive, head and body; then its connection is cut.",
        higher="slow callers hold connections for longer",
        lower="large batches from slow networks are cut off",
        ge=0.1,
        le=300,
    )
    idle_seconds_max: float = setting(
        75.0,
        "How long a connection is kept between two requests. Best longer than callers keep theirs.",
        higher="callers that went away hold connections for longer",
        lower="callers meet connections that are just being closed, and ask again",
        ge=1,
        le=3_600,
    )
    answer_seconds_max: float = setting(
        30.0,
        "How long an answer may take; then it is 503. A write under way is made all the same, and "
        "the same key tells.",
        higher="callers wait for a slow database for longer",
        lower="a slow database costs more retries; waiting until all have applied a write ends",
        ge=1,
        le=300,
    )
    body_bytes_max: int = setting(
        8 * 1024 * 1024,
        "Bytes of a body; more is 413. A batch of 10,000 checks has some 2 MiB.",
        higher="a caller may fill more memory, and hold up others while it is read",
        lower="batches are refused",
        ge=1_024,
        le=64 * 1024 * 1024,
    )

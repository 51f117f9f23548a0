"""The settings of the inbound edge, where providers of mail report bounces and complaints."""

from pathlib import Path

from heed_server.config.section import HostPort, Section, setting


class InboundConfig(Section):
    """Where SES, SendGrid, Mailgun and Postmark report to (docs/inbound.md)."""

    address: HostPort = setting(
        "",
        "Where notifications are taken over HTTP, `host:port`. Empty: nowhere. It is a listener of "
        "its own, with the certificate of `tls` where there is one. Of a server with workers it is "
        "the owner's.",
    )
    file: Path | None = setting(
        None,
        "TOML: who may report, by which key that is verified, and in which tenant it is recorded. "
        "It and the keys are looked at every 2 s. Required where there is an `address`.",
    )
    behind_proxy: bool = setting(
        False,
        "Only a proxy reaches `inbound.address`, and it speaks TLS to the world: here is plain "
        "HTTP, and who asks is the last of `X-Forwarded-For`.",
    )
    connections_max: int = setting(
        200,
        "Connections; one more is closed.",
        higher="more memory: each may hold a body of `body_bytes_max`",
        lower="a provider that sends much at once is refused, and comes again",
        ge=1,
        le=1_000_000,
    )
    request_seconds_max: float = setting(
        10.0,
        "How long a request may take to arrive, head and body; then its connection is cut.",
        higher="slow strangers hold connections for longer",
        lower="large notifications over bad networks are cut off, and come again",
        ge=0.1,
        le=300,
    )
    body_bytes_max: int = setting(
        1 << 20,
        "Bytes of one notification; more is 413, and is lost. A batch of SendGrid has up to 768 "
        "KiB; one of Postmark has more if it is told to send the content of bounces.",
        higher="more memory, and longer pauses of the server while a large one is read",
        lower="what is larger is lost",
        ge=65_536,
        le=16 << 20,
    )
    invalid_per_second_max: float = setting(
        1.0,
        "Notifications that cannot be verified which one address (of IPv6: one /64) may send, and "
        "sixty times as many at once; more are 429. A verified one is never refused for its rate.",
        higher="guessing, which is hopeless, costs more processor",
        lower="a provider whose key is not the one in the file is told so less often",
        ge=0.01,
        le=1_000_000,
    )

"""The settings of the public edge, where links are."""

from urllib.parse import urlsplit

from pydantic import field_validator

from heed_server.config.addresses import Address
from heed_server.config.section import HostPort, Section, setting

PUBLIC_URL_CHARACTERS_MAX = 200


class WebConfig(Section):
    """The public edge: where people and mailbox providers press links (docs/unsubscribe.md)."""

    address: HostPort = setting(
        "",
        "Where links are served over HTTP, `host:port`. Empty: nowhere. It is a listener of its "
        "own, for strangers: with the certificate of `tls` where there is one. Of a server with "
        "workers it is the owner's.",
    )
    public_url: str = setting(
        "",
        "What links begin with, as the world reaches `web.address`: `https://news.example.com`. "
        "Empty: this server makes none. Links end for ever with the name, so it has to stay yours. "
        "To try them on one host, `http://127.0.0.1:8080`.",
    )
    behind_proxy: bool = setting(
        False,
        "Only a proxy reaches `web.address`, and it speaks TLS to the world: here is plain HTTP, "
        "and who asks is the last of `X-Forwarded-For`.",
    )
    connections_max: int = setting(
        1_000,
        "Connections; one more is closed.",
        higher="more memory, some 50 KiB each, and file descriptors",
        lower="a flood keeps presses waiting sooner, which come again",
        ge=1,
        le=1_000_000,
    )
    request_seconds_max: float = setting(
        10.0,
        "How long a request may take to arrive, head and body; so long too the handshake of TLS, "
        "and an answer to be read. Then the connection is cut.",
        higher="slow strangers hold connections for longer",
        lower="people on bad networks are cut off",
        ge=0.1,
        le=300,
    )
    invalid_links_per_second_max: float = setting(
        1.0,
        "Invalid links that one address (of IPv6: one /64) may try, and sixty times as many at "
        "once; more are 429. A valid link is never refused for its rate.",
        higher="guessing, which is hopeless, costs more processor",
        lower="people with broken links behind one address are told to wait",
        ge=0.01,
        le=1_000_000,
    )

    @field_validator("public_url")
    @classmethod
    def _require_place(cls, value: str) -> str:
        if not value:
            return value
        parts = urlsplit(value)
        is_plain = not (parts.query or parts.fragment or parts.username or parts.password)
        host = Address(host=parts.hostname or "")
        schemes = {"https", "http"} if host.is_loopback else {"https"}
        if parts.scheme not in schemes or not host.host or not is_plain:
            raise ValueError(f"{value!r} is no place for links; write https://news.example.com")
        if len(value) > PUBLIC_URL_CHARACTERS_MAX or not value.isascii() or not value.isprintable():
            raise ValueError(
                f"has to be of printable ASCII, at most {PUBLIC_URL_CHARACTERS_MAX} characters"
            )
        return value.rstrip("/")

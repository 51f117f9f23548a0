"""The settings of the dashboard."""

from heed_server.config.section import HostPort, Section, setting


class DashboardConfig(Section):
    """The dashboard: what operators and auditors look at, signed in (docs/dashboard.md)."""

    address: HostPort = setting(
        "",
        "Where the dashboard is served over HTTP, `host:port`. Empty: nowhere. It is a listener "
        "of its own: with the certificate of `tls` where there is one. Of a server with workers "
        "it is the owner's.",
    )
    behind_proxy: bool = setting(
        False,
        "Only a proxy reaches `dashboard.address`, and it speaks TLS to the world: here is plain "
        "HTTP, and who asks is the last of `X-Forwarded-For`. It hands `Host` on.",
    )
    session_minutes: float = setting(
        480.0,
        "How long somebody stays signed in, whether they look or not. A credential that is revoked "
        "ends it at once.",
        higher="a browser that was left open is of use to whoever finds it for longer",
        lower="people sign in again more often",
        ge=1,
        le=10_080,
    )
    sign_ins_per_second_max: float = setting(
        0.2,
        "Attempts to sign in that one address (of IPv6: one /64) may make, and a hundred times as "
        "many at once; more are 429.",
        higher="guessing, which is hopeless, costs more processor",
        lower="people behind one address wait for each other",
        ge=0.001,
        le=1_000,
    )
    connections_max: int = setting(
        200,
        "Connections; one more is closed.",
        higher="more memory, some 50 KiB each, and file descriptors",
        lower="fewer people look at once; a browser takes up to six",
        ge=1,
        le=100_000,
    )
    request_seconds_max: float = setting(
        10.0,
        "How long a request may take to arrive; then its connection is cut.",
        higher="slow strangers hold connections for longer",
        lower="people on bad networks are cut off",
        ge=0.1,
        le=300,
    )
    idle_seconds_max: float = setting(
        15.0,
        "How long a connection is kept between two requests; an open page asks every second.",
        higher="browsers that went away hold connections for longer",
        lower="open pages connect again and again",
        ge=1,
        le=3_600,
    )

"""The settings of the outbox: where changes are published for systems that are not heed's."""

import re
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import SecretStr, model_validator

from heed_server.config.section import Name, Names, Section, setting

_SCHEMES = ("nats", "tls", "ws", "wss")
_BETWEEN_URLS = re.compile(r"\s*,\s*(?=[a-z]+://)")


class OutboxConfig(Section):
    """Every change, published to NATS JetStream (docs/outbox.md)."""

    nats_url: SecretStr = setting(
        SecretStr(""),
        "`nats://host:4222`, or `tls://…`, with `user:password@` or `token@`; several of one "
        "cluster with commas. Empty: nothing is published.",
    )
    tls_ca_file: Path | None = setting(
        None, "PEM: the authority that NATS's certificate is of. Unset: those of the system."
    )
    tls_certificate_file: Path | None = setting(
        None, "PEM: the certificate that heed shows to NATS, with `tls_private_key_file`."
    )
    tls_private_key_file: Path | None = setting(None, "PEM: its private key.")
    subject_prefix: Names = setting(
        "heed", "What the subjects begin with: `heed.<tenant>.record.email`."
    )
    stream_prefix: Name = setting("HEED", "What a stream is called: `HEED_<tenant>`.")
    stream_replicas: int = setting(
        1,
        "On how many servers NATS keeps a stream that heed makes.",
        higher="each change is stored as often",
        lower="a stream is away with its server",
        ge=1,
        le=5,
    )
    stream_bytes_max: int = setting(
        0,
        "The size of a stream that heed makes, past which NATS drops the oldest messages; 0: none.",
        higher="space on NATS's disks, some 600 bytes a change",
        lower="consumers that come new cannot rebuild what stands",
        ge=0,
        le=1 << 50,
    )
    batch_changes_max: int = setting(
        100,
        "Changes of a tenant that are under way to NATS at a time.",
        higher="calls wait longer beside a busy outbox",
        lower="fewer changes a second",
        ge=1,
        le=10_000,
    )
    read_seconds_max: float = setting(
        10.0,
        "How long one read of the log may take.",
        higher="a hanging database is noticed later",
        lower="a slow one counts as away",
        ge=0.1,
        le=600,
    )
    ack_seconds_max: float = setting(
        5.0,
        "How long NATS may take to say that it stored a change.",
        higher="one that hangs is noticed later",
        lower="a slow one counts as away",
        ge=0.1,
        le=300,
    )
    connect_seconds_max: float = setting(
        5.0,
        "How long connecting to NATS may take.",
        higher="an absent one is noticed later",
        lower="a slow one counts as away",
        ge=0.1,
        le=300,
    )
    retry_seconds_max: float = setting(
        10.0,
        "The longest pause after failures, which double it.",
        higher="publishing goes on later once NATS is back",
        lower="NATS is asked more while it is away",
        ge=0.1,
        le=3600,
    )
    lease_seconds: float = setting(
        10.0,
        "How long a node is the one that publishes without saying so again.",
        higher="after a node was killed another takes over later",
        lower="more small writes to the database, and a slow one costs the lease",
        ge=0.5,
        le=3600,
    )

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs; none: nothing is published. They may hold a password: never show them."""
        text = self.nats_url.get_secret_value().strip()
        return tuple(_BETWEEN_URLS.split(text)) if text else ()

    @model_validator(mode="after")
    def _require_urls(self) -> Self:
        # The message does not show it: it may hold a password.
        if not all(map(_is_url, self.urls)):
            raise ValueError(
                "nats_url is no URL of NATS; write nats://127.0.0.1:4222, several with commas"
            )
        return self

    @model_validator(mode="after")
    def _require_both(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_private_key_file is None):
            raise ValueError("tls_certificate_file and tls_private_key_file go together; name both")
        return self


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False  # a port that is no number, say

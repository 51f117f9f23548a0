"""The bounds of webhooks; `heed_server.config` says what each costs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookLimits:
    """Of each target, save for the lease."""

    concurrency_max: int = 8
    request_seconds_max: float = 15.0
    retry_seconds_min: float = 5.0
    retry_seconds_max: float = 3_600.0
    give_up_hours: float = 72.0
    late_lanes_max: int = 1_000
    dead_letters_max: int = 10_000
    read_seconds_max: float = 10.0
    lease_seconds: float = 10.0

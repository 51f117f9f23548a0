"""The settings of webhooks: who is told of changes over HTTPS, and how patiently."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from heed_server.config.section import Section, setting, split_words


def _require_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for text in value:
        try:
            ip_network(text)
        except ValueError:
            raise ValueError(f"{text!r} is no network; write 10.20.0.0/16") from None
    return value


Networks = Annotated[
    tuple[str, ...], BeforeValidator(split_words), AfterValidator(_require_networks)
]


class WebhooksConfig(Section):
    """Changes and deadlines, sent to the systems of a file of targets (docs/webhooks.md)."""

    targets_file: Path | None = setting(
        None,
        "TOML: where webhooks go, by which secrets, and of what they tell. Read again when it "
        "changes. Unset: nowhere.",
    )
    private_networks: Networks = setting(
        (),
        "Networks that are not of the public internet and that webhooks may go to all the same: "
        "`10.20.0.0/16`. Whoever writes the file of targets reaches what is in them from here.",
    )
    concurrency_max: int = setting(
        8,
        "Events that are under way to a target at a time, each of another subject.",
        higher="a receiver is asked more at once",
        lower="a slow one is told later",
        ge=1,
        le=100,
    )
    request_seconds_max: float = setting(
        15.0,
        "How long sending one event may take, answer included.",
        higher="a receiver that hangs is noticed later",
        lower="a slow one counts as failing, and is told again what it took",
        ge=0.1,
        le=300,
    )
    retry_seconds_min: float = setting(
        5.0,
        "The first pause after an event failed; each failure doubles it, and chance takes up to "
        "half of it away.",
        higher="what would have been taken soon comes later",
        lower="a receiver in trouble is asked more",
        ge=0.01,
        le=3_600,
    )
    retry_seconds_max: float = setting(
        3_600.0,
        "The longest pause, also where a receiver asks for a longer one (`Retry-After`).",
        higher="a receiver that is back is told later",
        lower="one that is away is asked more",
        ge=0.01,
        le=86_400,
    )
    give_up_hours: float = setting(
        72.0,
        "How long after its first attempt an event is given up, and is a dead letter.",
        higher="what follows it of the same subject waits longer",
        lower="an outage leaves more to replay",
        ge=0.001,
        le=8_784,
    )
    late_lanes_max: int = setting(
        1_000,
        "Subjects, and notices, of a target that are retried while the others go on; past it the "
        "target waits as a whole.",
        higher="more rows, and more attempts that fail",
        lower="a receiver that refuses some holds up the others sooner",
        ge=1,
        le=100_000,
    )
    dead_letters_max: int = setting(
        10_000,
        "Dead letters of a target that are kept; past it the target waits as a whole, since "
        "nothing is left out.",
        higher="more rows, and more to look through",
        lower="a receiver that refuses much holds up the others sooner",
        ge=1,
        le=1_000_000,
    )
    read_seconds_max: float = setting(
        10.0,
        "How long one read of the log may take.",
        higher="a hanging database is noticed later",
        lower="a slow one counts as away",
        ge=0.1,
        le=600,
    )
    lease_seconds: float = setting(
        10.0,
        "How long a node is the one that delivers without saying so again.",
        higher="after a node was killed another takes over later",
        lower="more small writes to the database, and a slow one costs the lease",
        ge=0.5,
        le=3600,
    )

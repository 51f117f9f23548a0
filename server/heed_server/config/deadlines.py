"""The settings of the clock: by which policies opt-outs have deadlines, and when it is warned."""

from pathlib import Path

from heed_server.config.section import Section, setting


class DeadlinesConfig(Section):
    """By when opt-outs must have reached everyone (docs/deadlines.md)."""

    policies_file: Path | None = setting(
        None,
        "TOML: policies, calendars and defaults of tenants, added to the shipped ones or in their "
        "place. Read at the start. Unset: the shipped ones.",
    )
    margin_hours: float = setting(
        24.0,
        "How long before its earliest deadline an opt-out is warned of that somebody who counts "
        "has not applied.",
        higher="warnings of what would have been applied in time",
        lower="less time to do something",
        ge=0,
        le=8_784,
    )
    grace_seconds: float = setting(
        60.0,
        "How long after its commit an opt-out is warned of at the soonest, however near its "
        "deadline is.",
        higher="warnings of what has no time at all come later",
        lower="warnings of what is on its way",
        ge=0,
        le=86_400,
    )
    look_seconds: float = setting(
        60.0,
        "How often it is looked who has not applied what.",
        higher="warnings come later, and it is known less exactly when all had applied",
        lower="more small writes to the database",
        ge=1,
        le=3_600,
    )
    watched_days: int = setting(
        90,
        "How long after its commit an opt-out is watched, and how long it is kept when all had "
        "applied what.",
        higher="more of the log is read for a subscriber that is far behind, and more rows kept",
        lower="an opt-out whose deadline comes later is not warned of",
        ge=1,
        le=3_650,
    )

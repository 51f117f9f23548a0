"""The settings of the preference page (docs/preference-page.md)."""

from pathlib import Path

from heed_server.config.section import Section, setting


class PagesConfig(Section):
    """The preference page, on the public edge (docs/preference-page.md)."""

    file: Path | None = setting(
        None,
        "TOML: of each tenant its name, logo, colours, texts, topics and languages, and files of "
        "other languages. Read at the start. Unset: every declared topic, in English and German.",
    )
    link_hours: float = setting(
        24.0,
        "For how long a page link opens its page, opting in included; from then on it can only "
        "stop.",
        higher="whoever finds one in a mailbox or a history chooses for its person for longer",
        lower="people who come back to their page need another sooner",
        ge=0.01,
        le=168,
    )
    reads_per_second_max: float = setting(
        2.0,
        "How often the page of one person may be read, and sixty times as often at once; more is "
        "429.",
        higher="whoever has a page link keeps the database busier",
        lower="people who go back and forth are told to wait",
        ge=0.1,
        le=1_000,
    )
    choices_per_minute_max: float = setting(
        10.0,
        "What one person may choose on their page, but for stops, which are never refused for "
        "their rate; more is 429.",
        higher="whoever has a page link can write more into the log",
        lower="people who try out what there is are told to wait",
        ge=1,
        le=10_000,
    )
    opt_ins_per_hour_max: float = setting(
        20.0,
        "Opt-ins of one person on their page; more are 429.",
        higher="one person can use up more of the consents an hour of who had the page links made",
        lower="people who agree to many things, one after the other, are told to wait",
        ge=1,
        le=10_000,
    )

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

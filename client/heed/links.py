"""Links, as messages and pages carry them. Source: RFC 8058; ADR 0043, ADR 0046."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link by which whoever has it stops messages to one subject; it does nothing else."""

    url: str = field(repr=False)
    """For the text of a message. A browser that opens it shows one button."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What a mail carries, for the button of the recipient's mail program (RFC 8058).

        DKIM has to sign both, or that button is not shown. Nor is it where the link stands in
        encoded words, as `email.message.EmailMessage` writes it by its own policies: give it one
        with `max_line_length=998`.
        """
        return {
            "List-Unsubscribe": f"<{self.url}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLink:
    """A link by which a person sees what stands for them, and chooses: for that person alone."""

    url: str = field(repr=False)
    expire_time: datetime
    """From when on it can only stop."""

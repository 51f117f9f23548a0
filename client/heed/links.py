"""Links, as messages and pages carry them. Source: RFC 8058; ADR 0043, ADR 0046."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from heed.errors import InvalidArgumentError

MAIL_LINE_CHARACTERS_MAX: Final = 998
"""Characters of a line of a mail (RFC 5322, 2.1.1)."""


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

        Raises:
            InvalidArgumentError: the link does not fit a line, which mail servers would cut.
        """
        line = f"List-Unsubscribe: <{self.url}>"
        if len(line) > MAIL_LINE_CHARACTERS_MAX:
            raise InvalidArgumentError(
                f"a link of {len(self.url)} characters does not fit a line of a mail's header, "
                f"which has {MAIL_LINE_CHARACTERS_MAX} at most; name a shorter topic, or have a "
                "shorter web.public_url"
            )
        name, _, value = line.partition(": ")
        return {name: value, "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLink:
    """A link by which a person sees what stands for them, and chooses: for that person alone."""

    url: str = field(repr=False)
    expire_time: datetime
    """From when on it can only stop."""

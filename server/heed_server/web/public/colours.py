"""Colours of pages, and whether people can read what is written in them.

Pure. Source: WCAG 2.2, relative luminance and contrast ratio (1.4.3).
"""

import re
from typing import Annotated, Final, Self

from pydantic import AfterValidator, model_validator

from heed_server.config.section import Section

CONTRAST_MIN: Final = 4.5
"""Between text and what is behind it (WCAG 2.2, 1.4.3, level AA)."""

_COLOUR: Final = re.compile(r"#[0-9a-f]{6}")


def _require_colour(value: str) -> str:
    value = value.lower()
    if _COLOUR.fullmatch(value) is None:
        raise ValueError(f"{value!r} is no colour; write #1a5fb4")
    return value


Colour = Annotated[str, AfterValidator(_require_colour)]


class Colours(Section):
    """The colours of a page, in a light or in a dark surrounding."""

    background: Colour
    text: Colour
    accent: Colour
    """Of links, and behind the words of buttons."""
    accent_text: Colour
    """Of the words of buttons."""

    @model_validator(mode="after")
    def _require_contrast(self) -> Self:
        for name, front, behind in (
            ("text on background", self.text, self.background),
            ("accent on background", self.accent, self.background),
            ("accent_text on accent", self.accent_text, self.accent),
        ):
            ratio = contrast(front, behind)
            if ratio < CONTRAST_MIN:
                raise ValueError(
                    f"{name}: the contrast is {ratio:.2f}, and at least {CONTRAST_MIN} is needed "
                    "to be read; take a darker or a lighter one"
                )
        return self


def contrast(front: str, behind: str) -> float:
    """Return the contrast of two colours, 1 to 21."""
    brighter, darker = sorted((_luminance(front), _luminance(behind)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4  # noqa: PLR2004


LIGHT: Final = Colours(
    background="#ffffff", text="#1b1b1f", accent="#1a4fa0", accent_text="#ffffff"
)
DARK: Final = Colours(background="#16171c", text="#ececf1", accent="#9dc1ff", accent_text="#10131a")

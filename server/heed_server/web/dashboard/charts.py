"""Charts as inline SVG, made here: no script draws, and each says in words what it shows.

Laws:
- A chart stands beside the table that it is drawn from: who does not see it misses nothing.
- Whatever a chart shows is escaped. Colours are of the style sheet, by class, since nothing inline
  is allowed.
"""

import enum
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from markupsafe import Markup, escape

_LABEL_CHARACTERS_MAX: Final = 48


class Tone(enum.Enum):
    """What is to be thought of a value."""

    PLAIN = "plain"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: how long it is, and what is written at its end."""

    label: str
    value: float
    shown: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class BarChart:
    """Bars beneath each other, the longest as wide as there is room."""

    name: str
    title: str
    description: str
    """What it shows, in a sentence, for who hears it."""
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line: a value at each of the chart's times."""

    label: str
    values: Sequence[float | None]
    """None: there was nothing yet; only at the beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart:
    """Values over time, the last at the right."""

    name: str
    title: str
    description: str
    unit: str
    begin: str
    """What is written at the left of the time's axis: `10 min ago`."""
    end: str
    series: Sequence[Series]


Chart: TypeAlias = BarChart | LineChart


def drawn(chart: Chart) -> Markup:
    """Return a chart as SVG."""
    return _bars(chart) if isinstance(chart, BarChart) else _lines(chart)


_LINE: Final = 15
"""Pixels of a line of text; texts keep their size however wide a chart is."""
_BAR: Final = 12
_STEP: Final = _LINE + _BAR + 9
_LONGEST: Final = 78
"""Hundredths of the width that the longest bar has, so that there is room for what it is."""


def _bars(chart: BarChart) -> Markup:
    most = max((bar.value for bar in chart.bars), default=0) or 1
    parts: list[str] = []
    for at, bar in enumerate(chart.bars):
        y = at * _STEP
        width = max(0.4, _LONGEST * bar.value / most) if bar.value > 0 else 0.0
        parts += [
            _text("label", "0", y + _LINE - 3, bar.label),
            _bar("track", y + _LINE, _LONGEST),
            _bar(f"bar {bar.tone.value}", y + _LINE, width),
            _text("value", f"{_LONGEST}%", y + _LINE + _BAR - 2, bar.shown, dx=6),
        ]
    return _svg(chart, len(chart.bars) * _STEP, parts)


_TOP: Final = 18
_PLOT: Final = 120
_KEY: Final = 150


def _lines(chart: LineChart) -> Markup:
    told = (value for one in chart.series for value in one.values if value is not None)
    most = _rounded_up(max(told, default=0))
    parts: list[str] = []
    for step in range(3):
        y = _TOP + _PLOT * (1 - step / 2)
        parts += [
            _rule("grid", "0", "100%", y),
            _text("label", "0", y - 3, f"{most * step / 2:,.4g}{chart.unit}"),
        ]
    # The lines alone are stretched to the width that there is.
    parts.append(
        f'<svg class="plot" y="{_TOP}" width="100%" height="{_PLOT}" viewBox="0 0 100 100" '
        f'preserveAspectRatio="none">{"".join(_line(chart, most))}</svg>'
    )
    below = _TOP + _PLOT + _LINE
    parts += [
        _text("label", "0", below, chart.begin),
        _text("label", "100%", below, chart.end, end=True),
    ]
    if len(chart.series) == 1:
        return _svg(chart, below + 6, parts)
    for number, one in enumerate(chart.series):
        x, y = number * _KEY, below + _LINE + 6
        parts += [
            _rule(f"line line{number}", f"{x}", f"{x + 22}", y - 4),
            _text("label", f"{x + 28}", y, one.label),
        ]
    return _svg(chart, below + 2 * _LINE, parts)


def _line(chart: LineChart, most: float) -> Iterator[str]:
    for number, one in enumerate(chart.series):
        step = 100 / max(1, len(one.values) - 1)
        points = " ".join(
            f"{step * at:.2f},{100 * (1 - value / most):.2f}"
            for at, value in enumerate(one.values)
            if value is not None
        )
        yield f'<polyline class="line line{number}" points="{points}"></polyline>'


def _bar(kind: str, y: float, width: float) -> str:
    place = f'x="0" y="{y:.0f}" width="{width:.2f}%" height="{_BAR}"'
    return f'<rect class="{kind}" {place} rx="2"></rect>'


def _rule(kind: str, x1: str, x2: str, y: float) -> str:
    return f'<line class="{kind}" x1="{x1}" y1="{y:.0f}" x2="{x2}" y2="{y:.0f}"></line>'


def _text(kind: str, x: str, y: float, text: str, *, dx: int = 0, end: bool = False) -> str:
    anchor = "end" if end else "start"
    place = f'x="{x}" y="{y:.0f}" dx="{dx}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(_cut(text))}</text>'


def _svg(chart: Chart, height: float, parts: Sequence[str]) -> Markup:
    name = escape(chart.name)
    return Markup(  # noqa: S704 - every text in it was escaped above
        f'<svg class="chart" role="img" width="100%" height="{height:.0f}" '
        f'aria-labelledby="chart-{name}-title chart-{name}-text">'
        f'<title id="chart-{name}-title">{escape(chart.title)}</title>'
        f'<desc id="chart-{name}-text">{escape(chart.description)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def _cut(text: str) -> str:
    is_long = len(text) > _LABEL_CHARACTERS_MAX
    return f"{text[: _LABEL_CHARACTERS_MAX - 1]}…" if is_long else text


def _rounded_up(value: float) -> float:
    """Return a round number that is not less: 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)

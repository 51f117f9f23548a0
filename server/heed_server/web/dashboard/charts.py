"""Charts as inline SVG, made here: no script draws, and each says in words what it shows.

Laws:
- A chart stands beside the table that it is drawn from: who does not see it misses nothing.
- Whatever a chart shows is escaped. Colours are of the style sheet, by class, since nothing inline
  is allowed.
"""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from markupsafe import Markup, escape

WIDTH: Final = 640
"""Of a chart, in its own units; on a page it is as wide as there is room."""
_LABEL_CHARACTERS_MAX: Final = 28


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
    values: Sequence[float]


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


_BAR: Final = 18
_STEP: Final = 26
_LABELS: Final = 190
_SHOWN: Final = 110


def _bars(chart: BarChart) -> Markup:
    most = max((bar.value for bar in chart.bars), default=0) or 1
    room = WIDTH - _LABELS - _SHOWN
    parts: list[str] = []
    for at, bar in enumerate(chart.bars):
        y = 4 + at * _STEP
        width = max(2.0, room * bar.value / most) if bar.value > 0 else 0.0
        middle = y + _BAR - 5
        parts += [
            _text("label", _LABELS - 8, middle, bar.label, anchor="end"),
            _rect(bar.tone, _LABELS, y, width),
            _text("value", _LABELS + width + 6, middle, bar.shown),
        ]
    return _svg(chart, 8 + len(chart.bars) * _STEP, parts)


_TOP: Final = 14
_PLOT: Final = 120
_LEFT: Final = 56
_KEY: Final = 150


def _lines(chart: LineChart) -> Markup:
    most = _rounded_up(max((max(one.values, default=0) for one in chart.series), default=0))
    parts = [
        part
        for step in range(3)
        for part in _grid(most * step / 2, _TOP + _PLOT * (1 - step / 2), chart.unit)
    ]
    for number, one in enumerate(chart.series):
        step = (WIDTH - _LEFT - 8) / max(1, len(one.values) - 1)
        points = " ".join(
            f"{_LEFT + step * at:.1f},{_TOP + _PLOT * (1 - value / most):.1f}"
            for at, value in enumerate(one.values)
        )
        parts.append(f'<polyline class="line line{number}" points="{points}"></polyline>')
    below = _TOP + _PLOT + 18
    parts += [
        _text("label", _LEFT, below, chart.begin),
        _text("label", WIDTH - 8, below, chart.end, anchor="end"),
    ]
    if len(chart.series) == 1:
        return _svg(chart, below + 6, parts)
    for number, one in enumerate(chart.series):
        x, y = _LEFT + number * _KEY, below + 24
        parts += [
            _line(f"line line{number}", x, y - 4, x + 22, y - 4),
            _text("label", x + 28, y, one.label),
        ]
    return _svg(chart, below + 32, parts)


def _grid(value: float, y: float, unit: str) -> tuple[str, str]:
    return (
        _line("grid", _LEFT, y, WIDTH - 8, y),
        _text("label", _LEFT - 6, y + 4, f"{value:,.4g}{unit}", anchor="end"),
    )


def _text(kind: str, x: float, y: float, text: str, *, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(_cut(text))}</text>'


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"></line>'


def _rect(tone: Tone, x: float, y: float, width: float) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_BAR}"'
    return f'<rect class="bar {tone.value}" {place} rx="3"></rect>'


def _svg(chart: Chart, height: float, parts: Sequence[str]) -> Markup:
    name = escape(chart.name)
    return Markup(  # noqa: S704 - every text in it was escaped above
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {height:.0f}" '
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

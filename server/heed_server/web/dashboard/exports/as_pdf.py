"""A view as a PDF to print: A4, each page with what it is, who made it and when, and its number.

Laws:
- Whatever it shows is escaped: reportlab's paragraphs read markup.
- A character that the font has not is written as its number, `[U+4E2D]`, and never left out.
- A row that is higher than a page goes on at the next one.
- One that nobody waits for any more is given up at its next page.
"""

import functools
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple
from xml.sax.saxutils import escape

import reportlab
from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, LongTable, Paragraph, SimpleDocTemplate, Spacer

from heed_server.web.dashboard.exports.stamp import Stamp
from heed_server.web.dashboard.limits import PDF_CHARACTERS_MAX
from heed_server.web.dashboard.tables import Column, Kind, Table
from heed_server.web.dashboard.texts import instant_shown, shown
from heed_server.web.dashboard.view import Shown

_FONT: Final = "heed"
_BOLD: Final = "heed bold"
_PORTRAIT_COLUMNS_MAX: Final = 5
_MARGIN: Final = 15 * mm
_RIGHT: Final = {Kind.NUMBER, Kind.SHARE, Kind.SECONDS}
_WIDTHS: Final = {Kind.TEXT: 3.0, Kind.INSTANT: 2.2, Kind.STATE: 1.6}
"""Of a column against those of numbers, which have 1.3."""


class NotWantedError(Exception):
    """Nobody waits for a PDF any more."""


class Printed(NamedTuple):
    """A PDF, and the tables as they are in it."""

    content: bytes
    tables: tuple[Table, ...]


def as_pdf(view: Shown, stamp: Stamp, is_given_up: Callable[[], bool] = lambda: False) -> Printed:
    """Return a view as a PDF. It takes seconds: not to be called on the event loop.

    Raises:
        NotWantedError: it was given up meanwhile.
    """
    fonts = _fonts()
    tables = tuple(_cut(table, fonts) for table in view.tables)
    widest = max((len(table.seen) for table in tables), default=0)
    size = A4 if widest <= _PORTRAIT_COLUMNS_MAX else landscape(A4)
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=size,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_MARGIN,
        bottomMargin=_MARGIN,
        title=f"heed: {stamp.title}",
        author=stamp.asked_by,
        subject=stamp.tenant,
        creator="heed",
        invariant=1,
    )
    parts: list[Flowable] = [Paragraph(_text(stamp.title, fonts), _TITLE), *_origin(stamp, fonts)]
    for table in tables:
        parts += _table(table, size[0] - 2 * _MARGIN, fonts)
    canvas = functools.partial(_Numbered, stamp=stamp, fonts=fonts, is_given_up=is_given_up)
    document.build(parts, canvasmaker=canvas)
    return Printed(out.getvalue(), tables)


def _cut(table: Table, fonts: frozenset[int]) -> Table:
    """The table's first rows, one at least, that have no more characters than may be printed."""
    characters = 0
    for at, row in enumerate(table.rows):
        cells = (shown(row[place], column.kind) for place, column in table.seen)
        characters += sum(len(_plain(text, fonts)) for text in cells)
        if at and characters > PDF_CHARACTERS_MAX:
            return replace(table, rows=table.rows[:at], is_cut=True)
    return table


class _Numbered(Canvas):  # type: ignore[misc]  # reportlab has no types
    """Writes what it is at the foot of every page, once it is known how many there are."""

    def __init__(
        self,
        *said: Any,
        stamp: Stamp,
        fonts: frozenset[int],
        is_given_up: Callable[[], bool],
        **more: Any,
    ) -> None:
        super().__init__(*said, **more)
        self._is_given_up = is_given_up
        self._stamp = stamp
        self._fonts = fonts
        self._pages: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 - reportlab's name
        """Keep a page until all are there. Raises: NotWantedError."""
        if self._is_given_up():
            raise NotWantedError
        self._pages.append(dict(self.__dict__))
        said: Any = self
        said._startPage()  # noqa: SLF001 - as reportlab's own showPage

    def save(self) -> None:
        """Write all pages."""
        for number, page in enumerate(self._pages, start=1):
            self.__dict__.update(page)
            self._foot(number, len(self._pages))
            super().showPage()
        super().save()

    def _foot(self, number: int, count: int) -> None:
        said: Any = self
        width = float(said._pagesize[0])  # noqa: SLF001 - it is told nowhere else
        stamp = self._stamp
        left = f"heed · {stamp.title} · {stamp.tenant} · {instant_shown(stamp.now)} UTC"
        self.setFont(_FONT, 7)
        self.setFillColor(colors.HexColor("#555555"))
        self.drawString(_MARGIN, 8 * mm, _plain(left, self._fonts))
        self.drawRightString(width - _MARGIN, 8 * mm, f"page {number} of {count}")


def _origin(stamp: Stamp, fonts: frozenset[int]) -> list[Flowable]:
    revision = "" if stamp.revision is None else f" · revision {stamp.revision:,} of the log"
    said = (
        f"Tenant {stamp.tenant} · made {instant_shown(stamp.now)} UTC by {stamp.asked_by}{revision}"
    )
    return [Paragraph(_text(said, fonts), _NOTE), Spacer(1, 4 * mm)]


def _table(table: Table, width: float, fonts: frozenset[int]) -> list[Flowable]:
    parts: list[Flowable] = [Paragraph(_text(table.title, fonts), _HEADING)]
    if table.note:
        parts.append(Paragraph(_text(table.note, fonts), _NOTE))
    if not table.rows:
        return [*parts, Paragraph(_text(table.empty, fonts), _CELL)]
    rows = [
        [Paragraph(_text(column.title, fonts), _HEAD) for _, column in table.seen],
        *(_row(table.seen, row, fonts) for row in table.rows),
    ]
    shares = [_WIDTHS.get(column.kind, 1.3) for _, column in table.seen]
    drawn = LongTable(
        rows, colWidths=[width * one / sum(shares) for one in shares], repeatRows=1, splitInRow=1
    )
    drawn.setStyle(_LINES)
    parts.append(drawn)
    if table.is_cut:
        said = f"Cut here: there are more rows than the {len(table.rows):,} that are told at once."
        parts.append(Paragraph(_text(said, fonts), _NOTE))
    return parts


def _row(
    columns: Sequence[tuple[int, Column]], row: Sequence[Any], fonts: frozenset[int]
) -> list[Paragraph]:
    return [
        Paragraph(
            _text(shown(row[at], column.kind), fonts), _NUMBER if column.kind in _RIGHT else _CELL
        )
        for at, column in columns
    ]


def _text(text: str, fonts: frozenset[int]) -> str:
    return escape(_plain(text, fonts))


def _plain(text: str, fonts: frozenset[int]) -> str:
    """The text with what the font has not as numbers."""
    return "".join(one if ord(one) in fonts else f"[U+{ord(one):04X}]" for one in text)


@functools.cache
def _fonts() -> frozenset[int]:
    """Load the font that comes with reportlab, and return which characters it has."""
    folder = Path(reportlab.__file__).parent / "fonts"
    plain, bold = TTFont(_FONT, folder / "Vera.ttf"), TTFont(_BOLD, folder / "VeraBd.ttf")
    for font in (plain, bold):
        pdfmetrics.registerFont(font)
    both = set(plain.face.charToGlyph) & set(bold.face.charToGlyph)
    return frozenset(both | {ord(" ")})


_CELL: Final = ParagraphStyle("cell", fontName=_FONT, fontSize=7.5, leading=9.5, splitLongWords=1)
_NUMBER: Final = ParagraphStyle("number", parent=_CELL, alignment=TA_RIGHT)
_HEAD: Final = ParagraphStyle("head", parent=_CELL, fontName=_BOLD)
_NOTE: Final = ParagraphStyle("note", parent=_CELL, textColor=colors.HexColor("#444444"))
_HEADING: Final = ParagraphStyle(
    "heading", parent=_HEAD, fontSize=10, leading=13, spaceBefore=5 * mm, spaceAfter=1.5 * mm
)
_TITLE: Final = ParagraphStyle("title", parent=_HEAD, fontSize=15, leading=19, spaceAfter=1 * mm)
_LINES: Final = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LINEBELOW", (0, 0), (-1, 0), 0.8, colors.HexColor("#333333")),
    ("LINEBELOW", (0, 1), (-1, -1), 0.25, colors.HexColor("#bbbbbb")),
    ("LEFTPADDING", (0, 0), (-1, -1), 2),
    ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ("TOPPADDING", (0, 0), (-1, -1), 1.5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
]

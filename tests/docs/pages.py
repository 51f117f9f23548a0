"""Reading the project's own pages."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def pages() -> list[Path]:
    """Every page for people, README first."""
    top = [
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md")
    ]
    return top + sorted(DOCS.rglob("*.md"))


def code_blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def links(page: Path) -> list[str]:
    """The targets of relative links, without their anchors."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [t.split("#")[0] for t in targets if "://" not in t and not t.startswith("#")]


def first_cells(page: Path) -> list[str]:
    """The first cell of every row of every table, without its emphasis."""
    rows = re.findall(r"^\|\s*([^|]+?)\s*\|", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [row.strip("*` ") for row in rows]

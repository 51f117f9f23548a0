"""The pages hold together: links lead somewhere, words are the code's, paths exist."""

import re
from pathlib import Path

import pytest

from heed import model
from tests.docs.pages import DOCS, ROOT, first_cells, links, pages

WORDS_ON_THE_PAGES = [
    ("glossary.md", model.Channel),
    ("glossary.md", model.Cause),
    ("glossary.md", model.Reach),
    ("glossary.md", model.Rule),
    ("glossary.md", model.ChoiceKind),
    ("glossary.md", model.TopicClass),
    ("stops.md", model.Cause),
]
NOT_WORDS = {"NONE"}
"""Numbers that stand for absence and are never shown."""


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    missing = [target for target in links(page) if not (page.parent / target).exists()]

    assert missing == []


@pytest.mark.parametrize(
    ("page", "words"), WORDS_ON_THE_PAGES, ids=lambda it: getattr(it, "__name__", it)
)
def test_every_word_of_the_code_stands_on_the_page(page: str, words: type) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")

    missing = [
        member.name.lower()
        for member in words  # type: ignore[attr-defined]  # every entry is an enum class
        if member.name not in NOT_WORDS and not re.search(rf"\b{member.name.lower()}\b", text)
    ]

    assert missing == []


def test_glossary_is_sorted_and_says_each_word_once() -> None:
    words = first_cells(DOCS / "glossary.md")[2:]

    assert words == sorted(set(words))


def test_every_file_that_contributing_names_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:client|server|tests|protos|docs|generated|scripts)/[^`*]*)`", text)

    missing = [path for path in named if not (ROOT / path).exists()]

    assert named
    assert missing == []


def test_every_decision_has_the_five_parts_of_a_decision() -> None:
    for page in sorted((DOCS / "adr").glob("*.md")):
        text = page.read_text(encoding="utf-8")

        for part in ("Status: ", "## Context", "## Decision", "## Consequences"):
            assert part in text, f"{page.name} lacks {part}"
        assert text.startswith(f"# {page.name[:4]} ")


def test_every_decision_has_a_number_of_its_own() -> None:
    numbers = [page.name[:4] for page in sorted((DOCS / "adr").glob("*.md"))]

    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]

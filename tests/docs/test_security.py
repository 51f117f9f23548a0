"""docs/security.md says what the code does, and names tests that are there."""

import re

from heed_server.service.rights import RIGHT_OF_METHOD
from tests.docs.pages import DOCS, ROOT

PAGE = (DOCS / "security.md").read_text(encoding="utf-8")


def test_the_table_of_rights_is_the_servers() -> None:
    rows = dict(re.findall(r"^\| ([A-Z]\w+) \| (\w+) \|", PAGE, re.MULTILINE))

    assert rows == {name: right.value for name, right in RIGHT_OF_METHOD.items()}


def test_every_test_that_holds_off_a_threat_is_there() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))

    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_every_threat_says_what_holds_it_off_or_that_nothing_does() -> None:
    table = PAGE.partition("## Threats")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]

    assert rows
    for row in rows:
        threat, control, held_by = (cell.strip() for cell in row.strip("|").split("|"))
        assert threat
        assert control
        assert held_by == "-" or "`tests/" in held_by, threat

"""How the command shows tables to people."""

import sys

import pytest

from heed.cli.output import print_table

ROWS = [("opt_out", "", "any, every topic"), ("suppression", "", "email, every topic")]


def test_a_table_leaves_out_the_columns_that_hold_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(("kind", "cause", "scope"), ROWS, empty="none")

    said = capsys.readouterr().out
    assert "scope" in said
    assert "cause" not in said


def test_a_terminal_too_narrow_for_a_table_is_told_row_by_row_and_no_word_is_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")

    print_table(("kind", "cause", "scope"), ROWS, empty="none")

    assert capsys.readouterr().out == (
        "kind   opt_out\nscope  any, every topic\n\n"
        "kind   suppression\nscope  email, every topic\n\n"
    )


def test_no_id_is_broken_where_a_row_is_wider_than_what_a_pipe_is_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    approval = "approval-01M8D2TY3WDQHGMB0308WB66EB"

    print_table(("approval", "why"), [(approval, "many words " * 40)], empty="none")

    assert approval in capsys.readouterr().out

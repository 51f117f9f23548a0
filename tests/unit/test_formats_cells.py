"""Single cells: who a row is about, and why."""

import pytest

from heed.formats import cells
from heed.formats.rows import RowRejectedError
from heed.model import REASON_CHARACTERS_MAX


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("ada@example.com", "ada@example.com"),
        ("  ada@example.com\t", "ada@example.com"),
        ("Ada <ada@example.com>", "ada@example.com"),
        ('"Lovelace, Ada" <ada@example.com>', "ada@example.com"),
        ("<ada@example.com>", "ada@example.com"),
        ("'=ada@example.com", "=ada@example.com"),
        ("'-ada@example.com", "-ada@example.com"),
        ("'ada'@example.com", "'ada'@example.com"),
        ("o'neil@example.com", "o'neil@example.com"),
        ('"ada l"@example.com', '"ada l"@example.com'),
        ("zoë@bücher.example", "zoë@bücher.example"),
    ],
)
def test_an_address_is_taken_as_it_stands_without_what_stands_around_it(
    written: str, address: str
) -> None:
    assert cells.email({"email": written}, "email") == address


@pytest.mark.parametrize(
    "written",
    [
        "",
        "   ",
        None,
        "ada",
        "Ada <ada@example.com>, Bob <bob@example.com>",
        "a@b <c@d>",
        "<>@",
        "a" * 320 + "@x",
        "zo\udceb@example.com",
    ],
)
def test_what_names_no_single_address_is_rejected(written: str | None) -> None:
    with pytest.raises(RowRejectedError):
        cells.email({"email": written}, "email")


def test_a_spreadsheets_guard_is_taken_off_a_phone_number() -> None:
    assert cells.phone({"to": "'+436601234567"}, "to") == "+436601234567"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (
            "550 5.1.1 <ada@example.com>: Recipient rejected",
            "550 5.1.1 <[address]>: Recipient rejected",
        ),
        ("no mailbox Ada@Example.COM here", "no mailbox [address] here"),
        ("ada user unknown", "[address] user unknown"),
        ("rcpt=ada%40example.com refused", "[address] refused"),
        ("bounce+ada=example.com@mail.example refused", "[address] refused"),
        ("two\r\nlines\tand\x00more", "two lines and more"),
        ("half \udceb a character", "half a character"),
        ("", ""),
        ("mailbox full", "mailbox full"),
    ],
)
def test_a_reason_keeps_no_address(written: str, kept: str) -> None:
    assert cells.reason(written, "ada@example.com") == kept


def test_a_long_reason_is_cut() -> None:
    kept = cells.reason("no such user, " * 10_000, "ada@example.com")

    assert len(kept) == REASON_CHARACTERS_MAX
    assert kept.endswith("…")


def test_a_cut_does_not_leave_half_an_address() -> None:
    for before in range(1_980, 2_000):
        kept = cells.reason("x" * before + " grace.hopper@example.com", "ada@example.com")
        assert "grace" not in kept


def test_an_endless_word_in_a_reason_costs_no_time() -> None:
    word = "40" * 60_000

    assert len(cells.reason(word, "ada@example.com")) <= REASON_CHARACTERS_MAX


@pytest.mark.parametrize(
    "cell",
    [
        "ada@example.com",
        " 'ada@example.com",
        "Ada <ada@example.com>",
        "+43 660 1234567",
        "'+436601234567",
    ],
)
def test_a_cell_that_can_only_be_an_address_is_seen(cell: str) -> None:
    assert cells.looks_like_address(cell)


@pytest.mark.parametrize("cell", ["email", "Email Address", "", "E-Mail (@work)", "+1", "17"])
def test_a_name_of_a_column_is_no_address(cell: str) -> None:
    assert not cells.looks_like_address(cell)

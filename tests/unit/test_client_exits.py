"""What goes wrong in a command, as an exit code."""

import errno

import pytest
import typer

import heed
from heed.cli.exits import code_of, reporting


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (heed.InvalidArgumentError("m"), 2),
        (heed.UnavailableError("m"), 3),
        (heed.ExhaustedError("m"), 3),
        (heed.OutcomeUnknownError("m"), 5),
        (heed.NotFoundError("m"), 4),
        (heed.ConflictError("m"), 4),
        (heed.UnauthenticatedError("m"), 4),
        (heed.RightRequiredError("m"), 4),
        (heed.HeedError("m"), 4),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_class_of_error_has_its_code(error: heed.HeedError, code: int) -> None:
    assert code_of(error) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), 2),
        (OSError(errno.ENOENT, "No such file", "list.csv"), 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_none_of_heeds_has_one_too(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as caught, reporting(as_json=False):
        raise error

    assert caught.value.exit_code == code
    assert capsys.readouterr().err


def test_a_fault_of_heeds_own_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), reporting(as_json=False):
        raise ZeroDivisionError

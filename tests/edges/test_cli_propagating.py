"""`heed propagation` against a heed in memory: what it prints, and how it exits."""

import json
from collections.abc import Generator

import pytest

from tests.support.heed_command import Heed, heed_command

ADA = "ada@example.com"


@pytest.fixture
def heed(monkeypatch: pytest.MonkeyPatch) -> Generator[Heed]:
    with heed_command(monkeypatch) as command:
        yield command


def test_who_has_applied_a_revision_is_told_by_the_exit_code(heed: Heed) -> None:
    heed("set", "opt-out", "--email", ADA)

    everybody = heed("propagation", "--revision", "1")
    heed("subscribers", "declare", "billing")
    not_billing = heed("propagation", "--revision", "1")

    assert everybody.exit_code == 0
    assert not_billing.exit_code == 12
    assert "revision 1 of 1: waiting for billing" in not_billing.stdout


def test_a_revision_that_is_not_there_is_said_not_to_be(heed: Heed) -> None:
    heed("set", "opt-out", "--email", ADA)

    refused = heed("propagation", "--revision", "2")
    in_json = heed("propagation", "--revision", "2", "--json")

    assert (refused.exit_code, refused.stdout) == (3, "")
    assert (
        "NODE_BEHIND: there is no revision 2 yet: as far as this node knows the log is at 1"
        in refused.stderr
    )
    assert (in_json.exit_code, in_json.stdout) == (3, "")
    assert json.loads(in_json.stderr)["error"]["metadata"] == {"applied": "1"}


def test_a_revision_that_is_not_there_is_waited_for_if_told_to(
    heed: Heed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written while the command lets a moment pass."""
    with monkeypatch.context() as patched:
        patched.setattr(
            "heed.cli.propagating.pause", lambda _: heed("set", "opt-out", "--email", ADA)
        )
        came = heed("propagation", "--revision", "1", "--wait", "60")

    in_vain = heed("propagation", "--revision", "9", "--wait", "0.001")

    assert came.exit_code == 0
    assert came.stdout.splitlines()[0] == "revision 1 of 0: it is not there yet"
    assert came.stdout.splitlines()[-1] == "revision 1 of 1: all who count have it"
    assert in_vain.exit_code == 3
    assert "it is not there yet" in in_vain.stdout
    assert "there is no revision 9 yet" in in_vain.stderr

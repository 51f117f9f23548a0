"""Two spellings of one address in one question are one person, and no failure."""

from collections.abc import Generator
from pathlib import Path

import pytest

import heed
from tests.support.served import Served

SPELLINGS = ["ada@example.com", "ADA@Example.com."]


@pytest.fixture
def client(tmp_path: Path) -> Generator[heed.SyncClient]:
    with Served(tmp_path) as server, server.client() as client:
        yield client


def test_one_subject_named_twice_is_explained_as_it_is_checked(client: heed.SyncClient) -> None:
    client.opt_out(email=SPELLINGS[0], channel="email", source="tests")

    checked = client.check(email=SPELLINGS, channel="email", timeout=5)
    explained = client.explain(email=SPELLINGS, channel="email")

    assert not checked.allowed
    assert not explained.allowed
    assert explained.subjects_with_records == checked.subjects_with_records == (0, 1)
    assert [reason.rule for reason in explained.reasons[:2]] == [heed.Rule.OPT_OUT] * 2

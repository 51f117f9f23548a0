"""What workers answered, as the owner reads it from their files."""

from pathlib import Path

import pytest

from heed.model import Channel, Rule, TenantId
from heed_server.primary.workers.folder import RunFolder
from heed_server.primary.workers.tallies import WorkerTallies, read_tallies
from heed_server.service.tally import Tally, Volume

TENANT = TenantId(1)
LOGIN = (Channel.EMAIL, "login")


def answered(rule: Rule, times: int) -> Tally:
    tally = Tally()
    tally.by_rule[rule] = times
    return tally


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(index_directory=tmp_path, run=b"this run".ljust(16))
    made.make()
    return made


def test_the_owner_reads_what_all_workers_answered(folder: RunFolder) -> None:
    one, two = answered(Rule.DEFAULT, 3), answered(Rule.OPT_OUT, 2)
    two.mandatory[LOGIN] = Volume(5, 1)
    one.mandatory[LOGIN] = Volume(2, 2)
    WorkerTallies(folder, 1, lambda: {TENANT: one}).write()
    WorkerTallies(folder, 2, lambda: {TENANT: two}).write()

    told = read_tallies(folder).get(TENANT, Tally())

    assert (told.by_rule[Rule.DEFAULT], told.by_rule[Rule.OPT_OUT], told.answers) == (3, 2, 5)
    assert told.mandatory == {LOGIN: Volume(7, 3)}
    assert read_tallies(folder).get(TenantId(2), Tally()).answers == 0


def test_a_worker_that_was_started_again_goes_on_from_what_it_wrote(folder: RunFolder) -> None:
    WorkerTallies(folder, 1, lambda: {TENANT: answered(Rule.DEFAULT, 3)}).write()

    WorkerTallies(folder, 1, lambda: {TENANT: answered(Rule.DEFAULT, 4)}).write()

    assert read_tallies(folder).get(TENANT, Tally()).by_rule[Rule.DEFAULT] == 7


@pytest.mark.parametrize("content", [b"", b"{", b'{"run": "AA==", "tenants": {}}'])
def test_what_is_of_another_run_or_broken_says_nothing(folder: RunFolder, content: bytes) -> None:
    (folder.path / "tally-1").write_bytes(content)

    assert read_tallies(folder).get(TENANT, Tally()) == Tally()

"""What tests of every folder are given."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.forked import forking
from tests.support.postgres import Postgres
from tests.support.stores import drop_template

# Speed is measured by the bench: what takes long on a machine with much to do is not wrong.
settings.register_profile("heed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("heed")


@pytest.fixture(scope="session", autouse=True)
def _forking() -> Iterator[None]:
    """Servers and commands are forked from a process that has imported heed."""
    with forking():
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the session of a worker. Nobody stops it, kills it, or turns its settings.

    A module whose tests do has a server of its own, by a fixture of the same name.
    """
    with Postgres.from_environment() as running:
        yield running
        drop_template(running)

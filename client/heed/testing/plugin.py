"""Fixtures for pytest: `pytest_plugins = ["heed.testing.plugin"]` in your top conftest.py.

- `fake_heed`: a heed in memory; `FakeClient(fake_heed)` and `FakeSyncClient(fake_heed)` share it.
- `heed_server`: a real server, one for the whole session (needs heed-server).
- `heed_tenant`: a tenant of that server for this test alone, so that tests do not meet.
- `heed_client`: a `SyncClient` of that tenant.
"""

import uuid
from collections.abc import Generator

import pytest

from heed.sync_client import SyncClient
from heed.testing.running import RunningServer, server
from heed.testing.service import FakeService


@pytest.fixture
def fake_heed() -> FakeService:
    """A heed in memory, for this test alone."""
    return FakeService()


@pytest.fixture(scope="session")
def heed_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningServer]:
    """A real server, for all tests of the session."""
    with server(folder=tmp_path_factory.mktemp("heed")) as running:
        yield running


@pytest.fixture
def heed_tenant(heed_server: RunningServer) -> str:
    """The name of a tenant that no other test has."""
    name = f"t-{uuid.uuid4().hex}"
    with heed_server.client() as client:
        client.create_tenant(name)
    return name


@pytest.fixture
def heed_client(heed_server: RunningServer, heed_tenant: str) -> Generator[SyncClient]:
    """A client of a tenant that no other test has."""
    with heed_server.client(tenant=heed_tenant, timeout=5.0) as client:
        yield client

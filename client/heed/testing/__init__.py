"""For tests of code that uses heed: clients without a server, and a server of your own.

    client = FakeClient()                       # answers by the real decision, in memory
    client.clock.advance(timedelta(days=1))     # time passes
    client.service.is_reachable = False         # the server is away

`server()` starts a real one; `pytest_plugins = ["heed.testing.plugin"]` gives fixtures of all.
"""

from heed.testing.clock import FakeClock
from heed.testing.fakes import FakeClient, FakeSyncClient
from heed.testing.running import RunningServer, server
from heed.testing.service import FakeService

__all__ = [
    "FakeClient",
    "FakeClock",
    "FakeService",
    "FakeSyncClient",
    "RunningServer",
    "server",
]

"""REST on a port of this process, for whoever blocks: in a thread, with a loop of its own."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Self

from prometheus_client import CollectorRegistry

from heed_server.config.addresses import parse_address
from heed_server.rates import RateLimits
from heed_server.rpc.server import unheard
from heed_server.service.admission import Admission
from heed_server.service.caps import CapLimits, Caps
from heed_server.web.limits import ListenerLimits, RestLimits
from heed_server.web.listener import Listener
from heed_server.web.measures import WebMetrics
from heed_server.web.rest.app import RestApp
from tests.support.api_keys import Keys
from tests.support.servers import running_server

WAIT_SECONDS_MAX = 30
UNLIMITED = RateLimits(writes_per_second_max=0, reads_per_second_max=0, streams_per_second_max=0)
UNCAPPED = CapLimits(consents_per_hour_max=0)


class RestServed:
    """Serves from the block's begin to its end.

    with RestServed(tmp_path, "check") as served:
        requests.post(served.url + "/v1/checks", headers=served.headers, json=…)
    """

    def __init__(self, folder: Path, *rights: str) -> None:
        """`rights` are those of its one API key."""
        self._folder = folder
        self._rights = rights
        self._opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._end: Callable[[], object] = lambda: None
        self.url = ""
        self.key = ""

    @property
    def headers(self) -> dict[str, str]:
        """What a request of its one caller carries."""
        return {"Authorization": f"Bearer {self.key}"}

    def __enter__(self) -> Self:
        self._thread.start()
        self._opened.result(WAIT_SECONDS_MAX)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._thread.join(WAIT_SECONDS_MAX)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)

    async def _serve(self) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        self._end = lambda: loop.call_soon_threadsafe(ended.set)
        keys = Keys()
        async with running_server(
            self._folder,
            authenticator=keys,
            admission=Admission(rates=UNLIMITED),
            caps=Caps(UNCAPPED),
        ) as server:
            self.key = await keys.of(*self._rights)
            metrics = WebMetrics(CollectorRegistry()).of("rest")
            listener = Listener(
                RestApp(server.service, keys.authenticator, metrics, RestLimits(), unheard),
                parse_address("127.0.0.1:0"),
                metrics,
                ListenerLimits(idle_seconds_max=60),
                setting="rest.address",
                tls=None,
            )
            serving = asyncio.create_task(listener.run())
            self.url = f"http://127.0.0.1:{listener.port}"
            self._opened.set_result(None)
            await ended.wait()
            await listener.stop(None)
            await serving

"""The fake of the watch contract ends when its test does, whatever its callers did."""

import threading
from collections.abc import Iterator

import grpc
import pytest

from heed_proto.v1 import watch_service_pb2 as pb
from tests.support.fake_watch import WAIT_SECONDS_MAX, FakeWatch, fake_watch
from tests.support.servers import METHODS

_SERVICE = METHODS["WatchChanges"].containing_service.full_name


class _LateWatch(FakeWatch):
    """Each stream's handler comes to run, and its caller has gone by then."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Event()

    def _watch(self, data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        gone = threading.Event()
        context.add_callback(gone.set)
        self.came.set()
        gone.wait(WAIT_SECONDS_MAX)
        return super()._watch(data, context)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("is_obedient", [True, False])
def test_a_stream_ends_whose_caller_had_gone_before_it_began(is_obedient: bool) -> None:
    """grpc takes no callback of a call that is over: nobody would ever end the wait for one."""
    watch = _LateWatch()
    watch.is_obedient = is_obedient

    with fake_watch(watch=watch) as server, grpc.insecure_channel(server.address) as channel:
        calling: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
            f"/{_SERVICE}/WatchChanges"
        )
        call = calling(pb.WatchChangesRequest().SerializeToString())
        assert watch.came.wait(WAIT_SECONDS_MAX)
        call.cancel()

    assert server.streams.empty()

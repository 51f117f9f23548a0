"""The connection of a cache's follower: one channel of its own, open as long as the follower.

It shares no connection with the client's calls: a stream that stalls holds up no check, and a
check that is retried elsewhere moves no stream. It retries nothing: the follower opens its streams,
with jitter. Its methods are blocking, since a follower is a thread.

A sampled check goes this way too, so that it costs the caller's connection nothing.
"""

import json
import threading
from collections.abc import Iterator
from typing import Any, Final, cast

import grpc
from google.protobuf.message import Message
from grpc.experimental import ChannelOptions

from heed.answers import CheckAnswer
from heed.connection.blocking import channel_credentials
from heed.connection.failures import Failed, decoded, failure, unreachable
from heed.connection.methods import (
    CHECK,
    GET_CHECKPOINT,
    GET_CONSISTENCY_PROOF,
    OFFER_RECORDS,
    REPORT_APPLIED,
    WATCH_CHANGES,
)
from heed.connection.options import channel_options
from heed.connection.spec import A, MethodSpec, Q
from heed.connection.target import Target
from heed.errors import HeedError
from heed.replica.upstream import Stream
from heed.wire import read
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import watch_service_pb2 as pb

CALL_SECONDS: Final = 1.0
"""How long a probe, a sampled check or a checkpoint may take: the next probe waits for it."""
PROOF_SECONDS: Final = 5.0
"""How long the proof that a log begins with what it was may take."""
RECONNECT_MAX_MILLISECONDS: Final = 5_000
"""The longest between two attempts to connect; streams wait longer by themselves."""

_OWN: Final = {
    "grpc.service_config": json.dumps({"loadBalancingConfig": [{"pick_first": {}}]}),
    "grpc.max_reconnect_backoff_ms": RECONNECT_MAX_MILLISECONDS,
    "grpc.use_local_subchannel_pool": 1,
    # The stream is read by the thread that waits for it, and needs no other.
    ChannelOptions.SingleThreadedUnaryStream: 1,
}


class WatchCalls:
    """A channel to one server. `heed.replica.upstream.Upstream` over gRPC."""

    def __init__(self, target: Target) -> None:
        """Connect nothing before the first call."""
        self._target = target
        self._opening = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._callables: dict[str, Any] = {}
        self._is_closed = False

    def watch(self, request: pb.WatchChangesRequest) -> Stream:
        """Open a stream."""
        start: Any = self._opened(WATCH_CHANGES).unary_stream(WATCH_CHANGES.path)
        metadata = self._target.metadata
        try:
            call = start(request.SerializeToString(), metadata=metadata)
        except ValueError:  # gRPC's, of a channel that was closed since
            raise self._closed(WATCH_CHANGES) from None
        return _Stream(call, self._target.address)

    def report(self, request: pb.ReportAppliedRequest) -> None:
        """Send a probe."""
        self._unary(REPORT_APPLIED, request)

    def offer(self, request: pb.OfferRecordsRequest) -> pb.OfferRecordsResponse:
        """Offer records of an earlier life of the store."""
        return self._unary(OFFER_RECORDS, request, timeout_seconds=OFFER_RECORDS.timeout_seconds)

    def check(self, request: preference.CheckSuppressionRequest) -> CheckAnswer:
        """Ask a server."""
        return read.check(self._unary(CHECK, request))

    def checkpoint(self, request: audit.GetCheckpointRequest) -> audit.GetCheckpointResponse:
        """Ask for the last checkpoint."""
        return self._unary(GET_CHECKPOINT, request)

    def consistency(
        self, request: audit.GetConsistencyProofRequest
    ) -> audit.GetConsistencyProofResponse:
        """Ask for the proof that a log begins with what it was."""
        return self._unary(GET_CONSISTENCY_PROOF, request, PROOF_SECONDS)

    def close(self) -> None:
        """Close the channel; closing twice does nothing."""
        with self._opening:
            self._is_closed = True
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _unary(
        self, spec: MethodSpec[Q, A], request: Q, timeout_seconds: float = CALL_SECONDS
    ) -> A:
        channel = self._opened(spec)
        call = self._callables.get(spec.name)
        if call is None:
            call = self._callables[spec.name] = channel.unary_unary(spec.path)
        metadata = self._target.metadata
        try:
            answer = call(request.SerializeToString(), timeout=timeout_seconds, metadata=metadata)
        except grpc.RpcError as error:
            raise failure(
                cast("Failed", error),
                spec,
                address=self._target.address,
                timeout_seconds=timeout_seconds,
                idempotency_key="",
            ) from error
        except ValueError:
            raise self._closed(spec) from None
        return decoded(answer, spec, address=self._target.address, idempotency_key="")

    def _opened(self, spec: MethodSpec[Message, Message]) -> grpc.Channel:
        with self._opening:
            if self._is_closed:
                raise self._closed(spec)
            if self._channel is None:
                self._channel = _open(self._target)
            return self._channel

    def _closed(self, spec: MethodSpec[Message, Message]) -> HeedError:
        return unreachable(spec, self._target.address, "the cache is closed", "")


class _Stream:
    def __init__(self, call: Any, address: str) -> None:
        self._call = call
        self._address = address

    def __iter__(self) -> Iterator[pb.WatchChangesResponse]:
        try:
            for message in self._call:
                yield decoded(message, WATCH_CHANGES, address=self._address, idempotency_key="")
        except grpc.RpcError as error:
            raise failure(
                cast("Failed", error),
                WATCH_CHANGES,
                address=self._address,
                timeout_seconds=0,
                idempotency_key="",
            ) from error

    def cancel(self) -> None:
        self._call.cancel()


def _open(target: Target) -> grpc.Channel:
    options = [
        *((name, value) for name, value in channel_options(target) if name not in _OWN),
        *_OWN.items(),
    ]
    credentials = channel_credentials(target)
    if credentials is None:
        return grpc.insecure_channel(target.name, options)
    return grpc.secure_channel(target.name, credentials, options)

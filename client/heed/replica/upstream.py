"""What a follower needs of its upstream; `heed.connection.watching` is it over gRPC."""

from collections.abc import Iterator
from typing import Protocol

from heed.answers import CheckAnswer
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import watch_service_pb2 as pb


class Stream(Protocol):
    """A stream that is read on one thread."""

    def __iter__(self) -> Iterator[pb.WatchChangesResponse]:
        """Yield the messages as they come, until the server ends the stream.

        Raises:
            HeedError: it broke, was refused, or was cancelled.
        """
        ...

    def cancel(self) -> None:
        """End it; whoever reads it is woken. Any thread may, more than once."""
        ...


class Upstream(Protocol):
    """Where changes come from. Its connection lives as long as the follower."""

    def watch(self, request: pb.WatchChangesRequest) -> Stream:
        """Open a stream; MUST NOT wait for it."""
        ...

    def report(self, request: pb.ReportAppliedRequest) -> None:
        """Send a probe, on the connection of the stream; waits a second at most.

        Raises:
            HeedError: it was refused, or did not arrive.
        """
        ...

    def offer(self, request: pb.OfferRecordsRequest) -> pb.OfferRecordsResponse:
        """Offer records of an earlier life of the store; waits ten seconds at most.

        Raises:
            HeedError: they were not taken, or nobody knows.
        """
        ...

    def check(self, request: preference.CheckSuppressionRequest) -> CheckAnswer:
        """Ask what a client without a cache would ask; waits a second at most.

        Raises:
            HeedError: there is no answer.
        """
        ...

    def checkpoint(self, request: audit.GetCheckpointRequest) -> audit.GetCheckpointResponse:
        """Ask for the last checkpoint; waits a second at most.

        Raises:
            HeedError: there is none, or no answer.
        """
        ...

    def consistency(
        self, request: audit.GetConsistencyProofRequest
    ) -> audit.GetConsistencyProofResponse:
        """Ask for the proof that a log begins with what it was; waits five seconds at most.

        Raises:
            HeedError: there is none, or no answer.
        """
        ...

    def close(self) -> None:
        """Close the connection; whoever reads a stream is woken."""
        ...

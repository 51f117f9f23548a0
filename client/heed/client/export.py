"""An export that knows whether it is whole."""

from collections.abc import AsyncIterator

from heed.answers import SubjectRecord
from heed.errors import ErrorReason, UnavailableError
from heed.wire import read
from heed_proto.v1 import admin_service_pb2 as admin


class RecordExport:
    """The records of an export as they come, and after the last, of which revision they are.

    Iterating raises UnavailableError if the export broke off or its count is not the server's; what
    came before is then not an export.
    """

    def __init__(self, messages: AsyncIterator[admin.ExportRecordsResponse]) -> None:
        """`messages` are read once."""
        self._messages = messages
        self.count = 0
        """How many records have come so far."""
        self.revision: int | None = None
        """The revision that all of them are of; None until the last has come."""

    async def __aiter__(self) -> AsyncIterator[SubjectRecord]:
        last: admin.ExportRecordsResponse | None = None
        async for message in self._messages:
            last = message
            for record in message.records:
                self.count += 1
                yield read.subject_record(record)
        if last is None or not last.HasField("position") or last.total != self.count:
            sent = "an unknown number" if last is None else str(last.total)
            raise UnavailableError(
                f"the export broke off: {self.count} records came of {sent}; export again",
                reason=ErrorReason.SERVER_UNREACHABLE,
            )
        self.revision = last.position.revision

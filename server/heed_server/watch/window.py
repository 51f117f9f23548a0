"""The last batches of a tenant, for streams that are in step or a little behind."""

from bisect import bisect_right
from typing import Final

from heed.model import Revision
from heed_server.watch.batch import Batch

MESSAGES_OF_BATCHES_MAX: Final = 16
"""The messages of so many last batches are remembered; the others are put together again."""


class Window:
    """Consecutive batches up to the head, the oldest dropped when they take too much."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._batches: list[Batch] = []
        self.bytes = 0
        """What they take."""

    def add(self, batch: Batch) -> None:
        """Add the batch after the last one."""
        self._batches.append(batch)
        self.bytes += batch.cost_bytes
        if len(self._batches) > MESSAGES_OF_BATCHES_MAX:
            self._batches[-1 - MESSAGES_OF_BATCHES_MAX].forget_messages()
        dropped = 0
        while self.bytes > self._bytes_max and dropped < len(self._batches) - 1:
            self.bytes -= self._batches[dropped].cost_bytes
            dropped += 1
        del self._batches[:dropped]

    def after(self, position: Revision) -> Batch | None:
        """Return the batch that has the change after a position; None: none has."""
        batches = self._batches
        if not batches or not batches[0].after <= position < batches[-1].through:
            return None
        if batches[-1].after <= position:
            return batches[-1]
        return batches[bisect_right(batches, position, key=_after) - 1]

    def clear(self) -> None:
        """Forget all."""
        self._batches.clear()
        self.bytes = 0


def _after(batch: Batch) -> Revision:
    return batch.after

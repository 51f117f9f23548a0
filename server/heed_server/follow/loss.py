"""The file that says that acknowledged changes are gone from a tenant's log.

Laws:
- It is written before what knew of them is given up, and read at every start: until then nothing
  made from that log allows a message.
- It is about one epoch. When an operator has begun another, which opens under a hold, it is over
  and is taken away; a file that names none is not over before somebody removes it.
"""

import os
from pathlib import Path
from typing import Final

from heed_server.follow.log import HistoryLostError

_EPOCH: Final = "epoch "


class LossMarker:
    """Whether history was lost, in this run or an earlier one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lost_epoch: bytes | None = None
        """Of a loss that was noted in this run, whether or not the file could be written."""

    @classmethod
    def beside(cls, index: Path) -> "LossMarker":
        """Return that of the index in a folder."""
        return cls(index.with_name(f"{index.name}.history-lost"))

    @property
    def is_noted(self) -> bool:
        """Whether a loss stands."""
        return self._lost_epoch is not None or self._path.exists()

    def note(self, what: str, epoch: bytes) -> None:
        """Note a loss, durably. Raises OSError; this run knows it all the same."""
        self._lost_epoch = epoch
        with self._path.open("w", encoding="utf-8") as marker:
            marker.write(f"{what}\n{_EPOCH}{epoch.hex()}\n")
            marker.flush()
            os.fsync(marker.fileno())

    def stands_in(self, epoch: bytes) -> bool:
        """Whether a loss stands in a log of an epoch; changes nothing."""
        lost = self._lost_epoch or self._epoch_in_file()
        return self.is_noted and (lost is None or lost == epoch)

    def is_over(self, epoch: bytes) -> bool:
        """Whether the log is of another epoch than the one that lost changes; if so, forget it."""
        lost = self._lost_epoch or self._epoch_in_file()
        if lost is None or lost == epoch:
            return False
        self._path.unlink(missing_ok=True)
        self._lost_epoch = None
        return True

    def require_none(self, tenant: str) -> None:
        """Return if no loss stands.

        Raises:
            HistoryLostError: one does; says what to do.
        """
        if self.is_noted:
            raise HistoryLostError(self.message(tenant))

    def message(self, tenant: str) -> str:
        """Return what to say of a loss, and what to do."""
        return (
            f"changes of {tenant!r} that were acknowledged are not in its log any more: the "
            "database was put back; bring back the one that has them and remove "
            f"{self._path}, or confirm the loss by `heed-server new-epoch`, which holds all "
            "but mandatory messages"
        )

    def _epoch_in_file(self) -> bytes | None:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
            (named,) = (line for line in lines[1:] if line.startswith(_EPOCH))
            return bytes.fromhex(named.removeprefix(_EPOCH))
        except (OSError, ValueError):
            return None

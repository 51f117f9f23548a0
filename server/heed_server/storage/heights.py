"""How far this process has seen each log go: a log that ends before it was put back.

Law: nothing is appended to such a log, so that no revision is given a second time in one epoch. An
operator begins another epoch first, or brings back what is missing.
"""

from heed.model import Head, TenantId
from heed_server.store import LogDamagedError


class Heights:
    """The furthest head of each tenant that was read or committed here."""

    def __init__(self, epoch: bytes) -> None:
        """`epoch` is the one in force when the store was opened."""
        self.epoch = epoch
        """The one in force when a head was last read or committed."""
        # Written by the event loop, read by it or by SQLite's writing thread: one entry at a time.
        self._heads: dict[TenantId, Head] = {}

    def saw(self, tenant_id: TenantId, head: Head) -> None:
        """Note where a log ends."""
        self.epoch = head.epoch
        known = self._heads.get(tenant_id)
        if known is None or known.epoch != head.epoch or known.revision < head.revision:
            self._heads[tenant_id] = head

    def require(self, tenant_id: TenantId, head: Head) -> None:
        """Return if a log may go on from here.

        Raises:
            LogDamagedError: it ends before where it was seen to end, or with another hash there.
        """
        known = self._heads.get(tenant_id)
        if known is None or known.epoch != head.epoch or known.revision < head.revision:
            return
        if (known.revision, known.running_hash) != (head.revision, head.running_hash):
            raise LogDamagedError(
                f"the log ends at revision {head.revision} and was seen to end at "
                f"{known.revision}, or with another hash: the database was put back, and nothing "
                "is written to it before an operator has seen to it"
            )

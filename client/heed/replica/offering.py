"""Offering back what is kept of earlier lives of the store, on a thread of its own.

Laws:
- Nothing is removed before its source has taken all of it, or has said that it takes no more
  (OFFERS_CLOSED) or cannot read it, or cannot know it by its key; all but the first are logged as
  errors.
- Whatever else goes wrong is tried again for as long as this process owns the cache, later and
  later; the next owner begins anew. What was taken already changes nothing then.
- It holds up neither the stream nor the probes.
Source: ADR 0040.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from heed.errors import ErrorReason, HeedError, InvalidArgumentError
from heed.index.faults import IndexUnusableError
from heed.records import DamagedRecordError
from heed.replica.kept import Kept, Life
from heed.replica.owned import Owned
from heed.replica.upstream import Upstream

RETRY_FIRST_SECONDS: Final = 1.0
RETRY_MAX_SECONDS: Final = 60.0
"""How long after an offer that was not taken it is made again: at first, and at most."""

_LOG: Final = logging.getLogger("heed.cache")


class _GivenUpError(Exception):
    """What is kept cannot be offered any more, and why."""


@dataclass(slots=True)
class OfferCounts:
    """What was offered by this process. Written by the thread that offers."""

    taken: int = 0
    """Records that the source took or had."""
    refused: int = 0
    """Records that it cannot read."""
    last_error: str = ""


class Offering:
    """Offers what one owner has kept."""

    def __init__(
        self,
        owned: Owned,
        upstream: Upstream,
        *,
        tenant: str,
        subscriber: str,
        life: Callable[[], Life | None],
        counts: OfferCounts,
        retry_seconds: float = RETRY_FIRST_SECONDS,
    ) -> None:
        """`life` says of which life of the store the stream is, while there is one."""
        self._owned = owned
        self._upstream = upstream
        self._tenant = tenant
        self._subscriber = subscriber
        self._life = life
        self._counts = counts
        self._retry_seconds = retry_seconds
        self._ending = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heed-offer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Look again whether there is something to offer, and to whom."""
        self._woken.set()

    def end(self) -> None:
        """End, before anything else is offered; what is under way is waited for."""
        self._ending.set()
        self._woken.set()
        self._thread.join()

    def _run(self) -> None:
        failures = 0
        while not self._ending.is_set():
            self._woken.wait(self._pause_seconds(failures))
            self._woken.clear()
            try:
                self._offer_all()
                failures = 0
            except HeedError as error:
                failures += 1
                said = f"an offer was not taken: {error.message}"
                if said != self._counts.last_error:
                    _LOG.warning("%s; it is made again", said)
                self._counts.last_error = said
            except Exception as error:  # noqa: BLE001 - the root of a thread
                failures += 1
                self._counts.last_error = f"an offer failed: {error}"
                _LOG.exception("an offer failed, and is made again")

    def _pause_seconds(self, failures: int) -> float | None:
        if not failures:
            return None
        return min(self._retry_seconds * (1 << min(failures - 1, 16)), RETRY_MAX_SECONDS)

    def _offer_all(self) -> None:
        """Offer what can be offered now."""
        for kept in tuple(self._owned.kept):
            life = self._life()
            if self._ending.is_set() or life is None:
                return
            if kept.place.epoch == life.epoch:
                continue  # whoever put the database back has yet to say so, by a new epoch
            try:
                if not self._offer(kept, life):
                    return
                kept.remove()
            except _GivenUpError as why:
                kept.give_up(str(why))
            except (IndexUnusableError, DamagedRecordError) as error:
                kept.give_up(f"it is damaged ({error.message})")
            self._owned.kept.remove(kept)

    def _offer(self, kept: Kept, life: Life) -> bool:
        """Offer all of one; False: it is to be begun again, in another life, or by another owner.

        Raises:
            _GivenUpError: the source takes no more, or cannot know whom it is about.
            HeedError: it was not taken, or nobody knows.
        """
        if not kept.is_under_keys_of(life):
            raise _GivenUpError(
                "its subjects stand under a lookup key that the source does not have"
            )
        added = 0
        for page in kept.pages(life.common(kept.place.epoch)):
            if self._ending.is_set() or self._is_over(life):
                return False
            page.tenant, page.subscriber = self._tenant, self._subscriber
            # By all that it says: whoever says it in other words later offers something else.
            said = page.SerializeToString(deterministic=True)
            page.idempotency_key = f"offer-{sha256(said).hexdigest()}"
            count = sum(len(one.records) for one in page.subjects)
            try:
                answer = self._upstream.offer(page)
            except InvalidArgumentError as error:
                # Of another version; what stands in the other pages is not lost for it.
                self._counts.refused += count
                _LOG.error(
                    "the source cannot read %d records of an offer: %s", count, error.message
                )
                continue
            except HeedError as error:
                if error.reason is ErrorReason.OFFERS_CLOSED:
                    raise _GivenUpError("the hold of the restore was lifted before") from error
                raise
            self._counts.taken += count
            added += answer.added + answer.strengthened + answer.holds_placed
        if self._is_over(life):
            return False
        _LOG.warning(
            "offered back what was held of the epoch %s: %d records and holds were "
            "lacking and are there again",
            kept.place.epoch.hex(),
            added,
        )
        return True

    def _is_over(self, life: Life) -> bool:
        """Whether the store is known to be in another life by now."""
        current = self._life()
        return current is not None and current.epoch != life.epoch

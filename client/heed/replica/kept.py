"""An index of an earlier life of the store, kept until it was offered back.

Laws:
- Only what protects is offered: opt-outs, pauses, suppressions and holds. An opt-in, a release or
  a lift of the lost window has to be said again by whoever said it.
- What the source's log is known to have of that life is left out; where nothing is known, all is
  offered, and what stands already changes nothing.
- It says the same in the same pages each time, so that an offer that was broken off is begun again.
- Holds come last: they wait for a second person, and nobody's opt-out waits behind them.
Source: ADR 0040.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from heed.index.faults import IndexUnusableError
from heed.index.place import Place, Source
from heed.index.shared import SharedIndex
from heed.model import RecordKind, Revision
from heed.records import decode_records
from heed.wire import format as told
from heed.wire import watched
from heed.wire.limits import OFFERED_HOLDS_MAX, OFFERED_RECORDS_MAX
from heed_proto.v1 import watch_service_pb2 as pb

KEPT_MAX: Final = 4
"""Indexes that are kept at most. Each takes as much of the disk as the cache itself."""

_PROTECTIVE: Final = frozenset({RecordKind.OPT_OUT, RecordKind.PAUSE, RecordKind.SUPPRESSION})
_LOG: Final = logging.getLogger("heed.cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """The life of the store that a stream is of."""

    epoch: bytes
    source: Source
    earlier: Mapping[bytes, int]
    """The lives before it, and the last revision of each that its log is known to have."""

    def common(self, epoch: bytes) -> Revision:
        """Return up to where the log is known to have an earlier life; 0: nowhere."""
        return Revision(self.earlier.get(epoch, 0))


@dataclass(frozen=True, slots=True)
class Kept:
    """One of them."""

    index: SharedIndex
    place: Place
    source: Source

    @classmethod
    def found(cls, path: Path) -> Self | None:
        """Open one that an earlier owner kept.

        None where it cannot be read: that is said, and it is left to the next owner.
        """
        try:
            index = SharedIndex.open(path)
            view, _ = index.find_all((), None)
        except IndexUnusableError as error:
            _LOG.error(
                "what %s holds of an earlier life of the store cannot be offered back now: %s",
                path,
                error.message,
            )
            return None
        return cls(index, view.place, view.source)

    def is_under_keys_of(self, life: Life) -> bool:
        """Whether the source looks subjects up by the keys that they stand under here."""
        return set(self.source.lookup_keys) <= set(life.source.lookup_keys)

    def give_up(self, why: str) -> None:
        """Remove it without having offered all of it, and say so."""
        _LOG.error(
            "what was held of the epoch %s, up to revision %d, is not offered back: "
            "%s; what its people chose since the backup has to be recorded again",
            self.place.epoch.hex(),
            self.place.revision,
            why,
        )
        self.remove()

    def remove(self) -> None:
        """Remove it."""
        SharedIndex.remove(self.index.directory)

    def pages(self, after: Revision) -> Iterator[pb.OfferRecordsRequest]:
        """Yield what was set after a revision, as requests that lack who offers it, and a key.

        Raises:
            IndexUnusableError: it is damaged.
            DamagedRecordError: likewise.
        """
        if self.place.revision <= after:
            return
        for page in self._contents(after):
            page.epoch = self.place.epoch
            yield page

    def _contents(self, after: Revision) -> Iterator[pb.OfferRecordsRequest]:
        view, _ = self.index.find_all((), None)
        page, count = pb.OfferRecordsRequest(), 0
        for key, encoded in self.index.records_by_key():
            records = [
                watched.record_to(record)
                for record in decode_records(encoded)
                if record.kind in _PROTECTIVE and record.revision > after
            ]
            while records:
                room = OFFERED_RECORDS_MAX - count
                page.subjects.add(subject_key=key, records=records[:room])
                count += len(records[:room])
                records = records[room:]
                if count == OFFERED_RECORDS_MAX:
                    yield page
                    page, count = pb.OfferRecordsRequest(), 0
        if count:
            yield page
        holds = [
            told.hold(hold)
            for hold in view.holds
            if hold.revision > after and not hold.spares_mandatory
        ]
        for start in range(0, len(holds), OFFERED_HOLDS_MAX):
            yield pb.OfferRecordsRequest(holds=holds[start : start + OFFERED_HOLDS_MAX])

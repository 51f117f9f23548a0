"""What an index says it is: whose, of which versions, and where in the log it stands.

It stands in the index itself and is rewritten by every write transaction, and in the seal. Its
layout is fixed; a change of it is a new `FORMAT_VERSION`, and every older index is rebuilt.
"""

import struct
from dataclasses import dataclass

from heed.index.faults import Fault, IndexUnusableError
from heed.model import NORMALISER_VERSION, RULE_VERSION, Revision, TenantId

FORMAT_VERSION = 3
"""The version of everything inside an index but the records' own encoding, which has its own."""

META_KEY = b"meta"
"""The key of the one entry of the database `meta`."""

_VERSIONS = struct.Struct(">4sHHH")
_PLACE = struct.Struct(">qqq8s32sH")
_MAGIC = b"heed"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexMeta:
    """Whose an index is and where it stands."""

    tenant_id: TenantId
    epoch: bytes
    revision: Revision
    running_hash: bytes
    stops_revision: Revision
    """The last revision that changed a topic or a hold; until it moves, a reader need not read
    them again."""
    rule_version: int
    """The least version of the rules that decides by all that was ever in it."""

    def encode(self) -> bytes:
        """Return the bytes that stand in the index, with the versions of this code before them."""
        return _VERSIONS.pack(
            _MAGIC, FORMAT_VERSION, RULE_VERSION, NORMALISER_VERSION
        ) + _PLACE.pack(
            self.tenant_id,
            self.revision,
            self.stops_revision,
            self.epoch,
            self.running_hash,
            self.rule_version,
        )


def decode_meta(encoded: bytes) -> IndexMeta:
    """Read what an index says it is.

    Raises:
        IndexUnusableError: DAMAGED, or VERSION when other code wrote it.
    """
    try:
        magic, *versions = _VERSIONS.unpack_from(encoded)
    except struct.error as error:
        raise IndexUnusableError(Fault.DAMAGED, "the index does not say what it is") from error
    if magic != _MAGIC:
        raise IndexUnusableError(Fault.DAMAGED, "the index does not begin as one")
    wanted = [FORMAT_VERSION, RULE_VERSION, NORMALISER_VERSION]
    if versions != wanted:
        raise IndexUnusableError(
            Fault.VERSION, f"the index is of versions {versions}, this code of {wanted}"
        )
    try:
        tenant_id, revision, stops_revision, epoch, running_hash, rule_version = _PLACE.unpack(
            encoded[_VERSIONS.size :]
        )
    except struct.error as error:
        raise IndexUnusableError(Fault.DAMAGED, "the index does not say where it stands") from error
    return IndexMeta(
        tenant_id=TenantId(tenant_id),
        epoch=epoch,
        revision=Revision(revision),
        running_hash=running_hash,
        stops_revision=Revision(stops_revision),
        rule_version=rule_version,
    )

"""Where a shared index stands, and what it must know to be read: its entries in `meta`.

The place is rewritten by every write transaction; the source only when the upstream says another
one. Layouts are part of `SHARED_FORMAT_VERSION`: a cache of another version is not opened.
"""

import json
import struct
from dataclasses import dataclass
from typing import Any, Final, cast

from heed.index.faults import Fault, IndexUnusableError
from heed.model import NORMALISER_VERSION, RULE_VERSION, Revision, TenantId

SHARED_FORMAT_VERSION: Final = 2
"""The version of everything in a cache's folder. One that was made by earlier rules lacks the
records that only later ones decide by, so that other rules are another version of it."""

PLACE_KEY: Final = b"place"
SOURCE_KEY: Final = b"source"

_LAYOUT: Final = struct.Struct(">qq8s32sqii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in which log an index stands, and what is needed to allow anything by it."""

    tenant_id: TenantId
    epoch: bytes
    revision: Revision
    running_hash: bytes
    stops_revision: Revision
    """The last change of a topic or a hold: while it is the same, so are they."""
    rule_version: int
    normaliser_version: int
    token: str
    """What to resume by, as the upstream said it."""

    @property
    def is_understood(self) -> bool:
        """Whether this version knows enough to allow anything by the index."""
        return self.rule_version <= RULE_VERSION and self.normaliser_version <= NORMALISER_VERSION

    def encode(self) -> bytes:
        """Return its entry."""
        return (
            _LAYOUT.pack(
                self.tenant_id,
                self.revision,
                self.epoch,
                self.running_hash,
                self.stops_revision,
                self.rule_version,
                self.normaliser_version,
            )
            + self.token.encode()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Whose log it is, and the keys under which its subjects stand, by key id."""

    tenant: str
    lookup_keys: tuple[tuple[int, bytes], ...]

    def __repr__(self) -> str:
        return f"Source(tenant={self.tenant!r}, lookup_keys=({len(self.lookup_keys)} hidden))"

    def encode(self) -> bytes:
        """Return its entry."""
        keys = [[key_id, key.hex()] for key_id, key in self.lookup_keys]
        return json.dumps({"tenant": self.tenant, "lookup_keys": keys}).encode()


def decode_place(entry: bytes) -> Place:
    """Read a place.

    Raises:
        IndexUnusableError: DAMAGED.
    """
    try:
        (
            tenant_id,
            revision,
            epoch,
            running_hash,
            stops_revision,
            rule_version,
            normaliser_version,
        ) = _LAYOUT.unpack_from(entry)
        token = entry[_LAYOUT.size :].decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise IndexUnusableError(Fault.DAMAGED, "the cache does not say where it stands") from error
    return Place(
        tenant_id=TenantId(tenant_id),
        epoch=epoch,
        revision=Revision(revision),
        running_hash=running_hash,
        stops_revision=Revision(stops_revision),
        rule_version=rule_version,
        normaliser_version=normaliser_version,
        token=token,
    )


def decode_source(entry: bytes) -> Source:
    """Read a source.

    Raises:
        IndexUnusableError: DAMAGED.
    """
    try:
        fields = cast("dict[str, Any]", json.loads(entry))
        keys = tuple((int(key_id), bytes.fromhex(key)) for key_id, key in fields["lookup_keys"])
        return Source(tenant=fields["tenant"], lookup_keys=keys)
    except (ValueError, KeyError, TypeError) as error:
        raise IndexUnusableError(Fault.DAMAGED, "the cache does not say whose it is") from error

"""The index: what a node answers Checks from. One LMDB environment a tenant (ADR 0007)."""

from heed.index.builder import IndexBuilder
from heed.index.faults import Fault, IndexClaimedError, IndexGapError, IndexUnusableError
from heed.index.hashes import HASHES_KEPT_MAX, HashRing
from heed.index.index import MAP_BYTES_MAX, Index, IndexStats
from heed.index.reader import IndexReader

__all__ = [
    "HASHES_KEPT_MAX",
    "MAP_BYTES_MAX",
    "Fault",
    "HashRing",
    "Index",
    "IndexBuilder",
    "IndexClaimedError",
    "IndexGapError",
    "IndexReader",
    "IndexStats",
    "IndexUnusableError",
]

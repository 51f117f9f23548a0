"""Indexes made of a log in memory, and what they must say."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from heed.index import (
    Fault,
    Index,
    IndexBuilder,
    IndexUnusableError,
)
from tests.support.memory_log import EPOCH, TENANT, MemoryLog, key_of


def build(path: Path, log: MemoryLog, **arguments: int) -> Index:
    """Build the index of all that a log holds."""
    builder = IndexBuilder(
        path,
        tenant_id=TENANT.tenant_id,
        head=log.current_head,
        topics=log.topics().values(),
        holds=log.holds(),
        **arguments,
    )
    standing = log.standing()
    builder.add([(key, record) for key in sorted(standing) for record in standing[key]])
    return builder.finish()


def reopen(path: Path, **arguments: int) -> Index:
    return Index.open(path, tenant_id=TENANT.tenant_id, epoch=EPOCH, **arguments)


def assert_equals_log(index: Index, log: MemoryLog, people: Sequence[object] = ()) -> None:
    """The index answers what the log says, of each subject in it and of some that are not."""
    standing = log.standing()
    keys = [*standing, *map(key_of, people), key_of("nobody")]
    assert index.records_many(keys) == [standing.get(key, ()) for key in keys]
    assert index.stats().subjects == len(standing)
    assert index.topics.declared == tuple(sorted(log.topics().values(), key=lambda one: one.name))
    assert index.holds == log.holds()
    assert index.revision == log.current_head.revision
    assert index.running_hash == log.current_head.running_hash


def fault_of(path: Path) -> Fault:
    with pytest.raises(IndexUnusableError) as refused:
        reopen(path)
    return refused.value.fault

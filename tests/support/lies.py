"""What an upstream can tell a cache that is not so.

A row of `PLAIN_LIES` alters a message and no more; `WHOLE_LIES` alter what follows from it too, as
somebody does who makes up a history; a snapshot's lies make its own checksum right.
"""

from heed_proto.v1 import types_pb2 as types
from heed_proto.v1 import watch_service_pb2 as pb
from tests.support.lying import Lie, checksum_of, rewritten, without_first_subject


def of_changes(lie: Lie) -> Lie:
    """The lie, told of messages that have changes alone."""

    def lies(message: pb.WatchChangesResponse) -> None:
        if len(message.changes.changes):
            lie(message)

    return lies


def alter_effect(message: pb.WatchChangesResponse) -> None:
    """Tell an opt-out of everything as one of something else, and its content as it is."""
    for change in message.changes.changes:
        change.set_record.topic = "elsewhere"


def leave_out(message: pb.WatchChangesResponse) -> None:
    """Leave a change out, and its leaf."""
    changes = message.changes
    del changes.changes[0], changes.leaves[0]


def say_nothing(message: pb.WatchChangesResponse) -> None:
    """Leave a change out whose content is there."""
    del message.changes.changes[0]


def tell_opt_in(message: pb.WatchChangesResponse) -> None:
    for change in message.changes.changes:
        change.set_record.kind = types.RECORD_KIND_OPT_IN


def of_another(message: pb.WatchChangesResponse) -> None:
    """Tell the choice as another person's."""
    for change in message.changes.changes:
        change.subject_key = bytes(16)


def earlier(message: pb.WatchChangesResponse) -> None:
    for change in message.changes.changes:
        change.commit_time_us -= 1


PLAIN_LIES = [alter_effect, leave_out, say_nothing, tell_opt_in, of_another, earlier]


def rewrite(message: pb.Changes) -> None:
    """Tell another content, with all that follows from it."""
    for leaf, change in zip(message.leaves, message.changes, strict=True):
        rewritten(leaf.content, topic="elsewhere")
        change.set_record.topic = "elsewhere"


def make_up(message: pb.Changes) -> None:
    """Tell a change before the first that nobody made."""
    made = pb.Changes.FromString(message.SerializeToString())
    for change in (*made.changes, *message.changes):
        change.subject_key = bytes([change.revision % 256]) * 16
    for change in message.changes:
        change.revision += 1
        change.set_record.revision += 1
    del made.changes[1:], made.leaves[1:]
    message.changes.insert(0, made.changes[0])
    message.leaves.insert(0, made.leaves[0])
    message.through += 1


def swap(message: pb.Changes) -> None:
    """Tell two changes in the other order."""
    first, second = message.changes[0], message.changes[1]
    one, other = first.subject_key, second.subject_key
    first.subject_key, second.subject_key = other, one
    salt = message.leaves[0].content.salt
    message.leaves[0].content.salt = message.leaves[1].content.salt
    message.leaves[1].content.salt = salt


def hash_alone(message: pb.Changes) -> None:
    """Tell that there is a change, and neither which nor what it says."""
    del message.changes[:]
    for leaf in message.leaves:
        leaf.hash = bytes(32)


WHOLE_LIES = [rewrite, make_up, swap, hash_alone]


def missing_record() -> Lie:
    chunks: list[bytes] = []

    def lies(message: pb.WatchChangesResponse) -> None:
        if message.HasField("snapshot_begin"):
            chunks.clear()
        elif message.HasField("snapshot_chunk"):
            if not chunks:
                records = without_first_subject(message.snapshot_chunk.records)
                message.snapshot_chunk.records = records
            chunks.append(message.snapshot_chunk.records)
        elif message.HasField("snapshot_end"):
            end = message.snapshot_end
            end.checksum = checksum_of(chunks)
            end.record_count = sum(
                len(one.records)
                for chunk in chunks
                for one in pb.SnapshotRecords.FromString(chunk).subjects
            )

    return lies


def missing_hold() -> Lie:
    def lies(message: pb.WatchChangesResponse) -> None:
        if message.HasField("snapshot_begin"):
            del message.snapshot_begin.holds[:]

    return lies


def other_tree() -> Lie:
    def lies(message: pb.WatchChangesResponse) -> None:
        if message.HasField("snapshot_end"):
            message.snapshot_end.subtree_hashes[0] = bytes(32)

    return lies


def no_checkpoint() -> Lie:
    def lies(message: pb.WatchChangesResponse) -> None:
        if message.HasField("snapshot_end"):
            message.snapshot_end.checkpoint = ""

    return lies


def other_lookup_key() -> Lie:
    """Nobody is found by it, however right the records are."""

    def lies(message: pb.WatchChangesResponse) -> None:
        if message.HasField("opened"):
            message.opened.lookup_keys[0].key = bytes(32)

    return lies


SNAPSHOT_LIES = [missing_record, missing_hold, other_tree, no_checkpoint, other_lookup_key]

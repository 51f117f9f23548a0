"""What somebody knows of a tenant who applies its changes one by one, by the contract alone."""

from heed.model import Hold, Record, Topic
from heed.records import Slot
from heed.wire.watched import hold_from, record_from, topic_from
from heed_proto.v1 import watch_service_pb2 as pb


class ToldChanges:
    """Records, topics and holds in plain dictionaries."""

    def __init__(self) -> None:
        self.records: dict[bytes, dict[Slot, Record]] = {}
        self.topics: dict[str, Topic] = {}
        self.holds: dict[str, Hold] = {}

    def standing(self) -> dict[bytes, frozenset[Record]]:
        """Every subject that has records, with them."""
        return {
            key: frozenset(records.values()) for key, records in self.records.items() if records
        }

    def apply(self, message: pb.Change) -> None:
        """Apply one change."""
        key = message.subject_key
        match message.WhichOneof("effect"):
            case "set_record":
                record = record_from(message.set_record)
                self.records.setdefault(key, {})[record.slot] = record
            case "remove_record":
                del self.records[key][record_from(message.remove_record).slot]
            case "set_records":
                standing = map(record_from, message.set_records.records)
                self.records[key] = {one.slot: one for one in standing}
            case "rekey":
                previous = message.rekey.previous_subject_key
                assert bool(previous) == bool(key)
                if previous:
                    self.records[key] = self.records.pop(previous, {})
            case "set_topic":
                self.topics[message.set_topic.name] = topic_from(message.set_topic)
            case "set_hold":
                self.holds[message.set_hold.hold_id] = hold_from(message.set_hold)
            case "remove_hold_id":
                del self.holds[message.remove_hold_id]
            case other:
                raise AssertionError(f"a change of a later version: {other}")

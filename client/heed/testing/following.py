"""The fake's answers about subscribers: nobody follows it, so whoever was declared is missing."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from heed.model import Instant
from heed.testing.memory import Memory
from heed.testing.reading import ReadMethod
from heed.wire import parse_propagation as parse
from heed.wire.asked import PreferencesAsked, PropagationAsked, SubscriberAsked
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import watch_service_pb2 as watch


def _get_propagation(memory: Memory, asked: PropagationAsked, _now: Instant) -> bytes:
    revision = asked.revision or memory.revision
    return watch.GetPropagationResponse(
        revision=revision,
        head_revision=memory.revision,
        propagated=not memory.declared and revision <= memory.revision,
        subscribers=[
            watch.SubscriberProgress(
                subscriber=name, status=watch.SUBSCRIBER_STATUS_MISSING, declared=True
            )
            for name in sorted(memory.declared)
        ],
    ).SerializeToString()


def _declare_subscriber(memory: Memory, asked: SubscriberAsked, _now: Instant) -> bytes:
    memory.declared.add(asked.name)
    return watch.DeclareSubscriberResponse().SerializeToString()


def _withdraw_subscriber(memory: Memory, asked: SubscriberAsked, _now: Instant) -> bytes:
    memory.declared.discard(asked.name)
    return watch.WithdrawSubscriberResponse().SerializeToString()


def waited(memory: Memory, asked: object) -> bytes:
    """Return what a write that waits for its propagation answers besides; else nothing."""
    if not isinstance(asked, PreferencesAsked) or asked.wait_seconds is None:
        return b""
    return preference.SetPreferenceResponse(
        propagated=not memory.declared, waiting_for=sorted(memory.declared)
    ).SerializeToString()


FOLLOWING: Final[Mapping[str, ReadMethod]] = MappingProxyType(
    {
        "GetPropagation": ReadMethod(read=parse.get_propagation, act=_get_propagation),
        "DeclareSubscriber": ReadMethod(read=parse.declare_subscriber, act=_declare_subscriber),
        "WithdrawSubscriber": ReadMethod(read=parse.withdraw_subscriber, act=_withdraw_subscriber),
    }
)
"""By the method's name."""

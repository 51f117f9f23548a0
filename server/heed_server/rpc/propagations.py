"""The RPCs about subscribers: parse, act, format."""

from heed.wire import format as told
from heed.wire import parse_propagation as parse
from heed_proto.v1 import watch_service_pb2 as watch
from heed_server.auth.policy import Principal
from heed_server.propagation import Progress, is_propagated
from heed_server.service import Service


async def get_propagation(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer GetPropagation."""
    asked = parse.get_propagation(data)
    context, revision, progress = await service.get_propagation(principal, asked)
    return watch.GetPropagationResponse(
        revision=revision,
        head_revision=context.follower.head_revision,
        propagated=is_propagated(progress),
        subscribers=map(_progress, progress),
    ).SerializeToString()


async def declare_subscriber(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer DeclareSubscriber."""
    await service.declare_subscriber(principal, parse.declare_subscriber(data))
    return watch.DeclareSubscriberResponse().SerializeToString()


async def withdraw_subscriber(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer WithdrawSubscriber."""
    await service.withdraw_subscriber(principal, parse.withdraw_subscriber(data))
    return watch.WithdrawSubscriberResponse().SerializeToString()


def _progress(one: Progress) -> watch.SubscriberProgress:
    return watch.SubscriberProgress(
        subscriber=one.name,
        status=watch.SubscriberStatus.ValueType(one.status),
        applied_revision=one.applied_revision,
        applied_time=None if one.applied_time is None else told.timestamp(one.applied_time),
        probe_time=None if one.probe_time is None else told.timestamp(one.probe_time),
        node=one.node,
        declared=one.is_declared,
    )

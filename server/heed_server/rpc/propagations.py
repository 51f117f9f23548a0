"""The RPCs about subscribers: parse, act, format."""

from heed.model import Scope
from heed.wire import format as told
from heed.wire import parse_propagation as parse
from heed_proto.v1 import watch_service_pb2 as watch
from heed_server.auth.policy import Principal
from heed_server.deadlines import Policies
from heed_server.propagation import Progress, is_propagated
from heed_server.service import Service
from heed_server.service.clocks import Reached


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


async def get_deadlines(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer GetDeadlines."""
    found = await service.get_deadlines(principal, parse.get_deadlines(data))
    policies = service.rules.policies
    return watch.GetDeadlinesResponse(
        opt_outs=[_opt_out(one, policies) for one in found.opt_outs],
        next_before_revision=found.next_before,
        now=told.timestamp(found.now),
        policies_version=policies.version,
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


def _opt_out(one: Reached, policies: Policies) -> watch.OptOutDeadlines:
    opt_out, deadlines = one.clocked
    return watch.OptOutDeadlines(
        revision=opt_out.revision,
        commit_time=told.timestamp(opt_out.commit_time),
        decided_time=told.timestamp(opt_out.decided_time),
        scope=told.scope(Scope(channel=opt_out.channel, topic=opt_out.topic)),
        jurisdiction=opt_out.jurisdiction,
        deadlines=[
            watch.Deadline(
                time=told.timestamp(deadline.time),
                policy=deadline.policy,
                title=policies.policies[deadline.policy].title,
                calendar=deadline.calendar,
            )
            for deadline in deadlines
        ],
        standing=watch.DeadlineStanding.ValueType(one.standing),
        applied_time=None if one.applied_time is None else told.timestamp(one.applied_time),
        waiting_for=one.waiting_for,
    )

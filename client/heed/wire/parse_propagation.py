"""Messages about subscribers to values, by the laws of `heed.wire.parse`."""

from heed.model import Revision
from heed.wire import limits, values
from heed.wire.asked import DeadlinesAsked, PropagationAsked, SubscriberAsked
from heed.wire.parse import message
from heed.wire.violations import Violations
from heed_proto.v1 import watch_service_pb2 as watch


def get_propagation(data: bytes) -> PropagationAsked:
    """Read a GetPropagationRequest."""
    asked = message(watch.GetPropagationRequest, data)
    violations = Violations()
    if asked.revision < 0:
        violations.add("revision", "must be that of a write's answer, or 0 for the log's head")
    violations.raise_if_any()
    return PropagationAsked(tenant=asked.tenant, revision=Revision(asked.revision))


def get_deadlines(data: bytes) -> DeadlinesAsked:
    """Read a GetDeadlinesRequest."""
    asked = message(watch.GetDeadlinesRequest, data)
    violations = Violations()
    if asked.before_revision < 0:
        violations.add(
            "before_revision", "must be that of the page before, or 0 for the log's head"
        )
    if not 0 <= asked.page_size <= limits.PAGE_SIZE_MAX:
        violations.add("page_size", f"must be 1 to {limits.PAGE_SIZE_MAX}, or 0 for the usual")
    violations.raise_if_any()
    return DeadlinesAsked(
        tenant=asked.tenant,
        before=Revision(asked.before_revision),
        page_size=asked.page_size or limits.PAGE_SIZE_DEFAULT,
    )


def declare_subscriber(data: bytes) -> SubscriberAsked:
    """Read a DeclareSubscriberRequest."""
    asked = message(watch.DeclareSubscriberRequest, data)
    return _subscriber(asked.tenant, asked.subscriber)


def withdraw_subscriber(data: bytes) -> SubscriberAsked:
    """Read a WithdrawSubscriberRequest."""
    asked = message(watch.WithdrawSubscriberRequest, data)
    return _subscriber(asked.tenant, asked.subscriber)


def _subscriber(tenant: str, name: str) -> SubscriberAsked:
    violations = Violations()
    values.ascii_name(name, "subscriber", violations, limits.SUBSCRIBER_CHARACTERS_MAX)
    violations.raise_if_any()
    return SubscriberAsked(tenant=tenant, name=name)

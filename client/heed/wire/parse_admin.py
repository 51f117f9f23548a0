"""Messages of AdminService to values, by the laws of `heed.wire.parse`.

Those of imports are in `heed.wire.parse_import`, which shares what is public at the end.
"""

import base64
import binascii
from collections.abc import Sequence

from heed.model import (
    CHANNELS_OF_SUBJECT_TYPE,
    REACH_OF_CAUSE,
    Cause,
    Channel,
    Hold,
    Instant,
    Reach,
    Scope,
    Subject,
    Topic,
    TopicClass,
)
from heed.wire import limits, values
from heed.wire.asked import (
    EndAsked,
    ErasureAsked,
    ExportAsked,
    HoldAsked,
    PageAsked,
    ProtectionAsked,
    ReleaseAsked,
    SuppressionsAsked,
    TopicAsked,
)
from heed.wire.parse import message, write_call
from heed.wire.violations import Violations, too_large
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import types_pb2 as pb


def create_tenant(data: bytes) -> str:
    """Read a CreateTenantRequest: the name."""
    violations = Violations()
    name = values.tenant_name(message(admin.CreateTenantRequest, data).name, "name", violations)
    violations.raise_if_any()
    return name


def declare_topic(data: bytes) -> TopicAsked:
    """Read a DeclareTopicRequest."""
    asked = message(admin.DeclareTopicRequest, data)
    violations = Violations()
    read = TopicAsked(
        call=write_call("DeclareTopic", asked, violations),
        topic=_topic(asked.topic, violations, is_there=asked.HasField("topic")),
        origin=values.required_origin(asked.HasField("origin"), asked.origin, violations),
    )
    violations.raise_if_any()
    return read


def loosen_topic(data: bytes) -> TopicAsked:
    """Read a LoosenTopicRequest."""
    asked = message(admin.LoosenTopicRequest, data)
    violations = Violations()
    read = TopicAsked(
        call=write_call("LoosenTopic", asked, violations),
        topic=_topic(asked.topic, violations, is_there=asked.HasField("topic")),
        origin=values.required_origin(asked.HasField("origin"), asked.origin, violations),
        loosens=True,
        reason=why(asked.reason, violations),
    )
    violations.raise_if_any()
    return read


def retire_topic(data: bytes) -> EndAsked:
    """Read a RetireTopicRequest."""
    asked = message(admin.RetireTopicRequest, data)
    violations = Violations()
    if not asked.name:
        violations.add("name", "is required; the root cannot be retired")
    read = EndAsked(
        call=write_call("RetireTopic", asked, violations),
        name=values.topic_name(asked.name, "name", violations),
        reason=why(asked.reason, violations),
        origin=values.required_origin(asked.HasField("origin"), asked.origin, violations),
    )
    violations.raise_if_any()
    return read


def place_hold(data: bytes) -> HoldAsked:
    """Read a PlaceHoldRequest."""
    asked = message(admin.PlaceHoldRequest, data)
    violations = Violations()
    if not asked.HasField("hold"):
        violations.add("hold", "is required: what to stop, and why")
    if asked.hold.hold_id:
        violations.add("hold.hold_id", "must be empty; the server makes it")
    if asked.hold.spares_mandatory:
        violations.add("hold.spares_mandatory", "must be false; only a new epoch opens such a hold")
    read = HoldAsked(
        call=write_call("PlaceHold", asked, violations),
        hold=hold(asked.hold, "", "hold", violations),
        origin=values.required_origin(asked.HasField("origin"), asked.origin, violations),
    )
    violations.raise_if_any()
    return read


def hold(asked: pb.Hold, hold_id: str, path: str, violations: Violations) -> Hold:
    """Return what a hold stops and why, under an id that is the caller's to read or to make."""
    return Hold(
        hold_id=hold_id,
        channel=(
            values.CHANNELS.read(asked.channel, f"{path}.channel", violations, Channel.ANY)
            if asked.channel
            else None
        ),
        topic=values.topic_name(asked.topic, f"{path}.topic", violations),
        campaign=values.text(
            asked.campaign, f"{path}.campaign", violations, limits.CAMPAIGN_CHARACTERS_MAX
        ),
        end_time=(
            values.instant(asked.end_time, f"{path}.end_time", violations)
            if asked.HasField("end_time")
            else None
        ),
        reason=why(asked.reason, violations, f"{path}.reason"),
    )


def lift_hold(data: bytes) -> EndAsked:
    """Read a LiftHoldRequest."""
    asked = message(admin.LiftHoldRequest, data)
    violations = Violations()
    read = EndAsked(
        call=write_call("LiftHold", asked, violations),
        name=values.ascii_name(asked.hold_id, "hold_id", violations, limits.HOLD_ID_CHARACTERS_MAX),
        reason=why(asked.reason, violations),
        origin=values.required_origin(asked.HasField("origin"), asked.origin, violations),
    )
    violations.raise_if_any()
    return read


def add_suppressions(data: bytes) -> SuppressionsAsked:
    """Read an AddSuppressionsRequest."""
    asked = message(admin.AddSuppressionsRequest, data)
    if len(asked.suppressions) > limits.SUPPRESSIONS_MAX:
        raise too_large("suppressions", len(asked.suppressions), limits.SUPPRESSIONS_MAX)
    violations = Violations()
    call = write_call("AddSuppressions", asked, violations)
    if not asked.suppressions:
        violations.add("suppressions", f"is empty; say 1 to {limits.SUPPRESSIONS_MAX}")
    origin = values.required_origin(asked.HasField("origin"), asked.origin, violations)
    protections: list[ProtectionAsked] = []
    for index, one in enumerate(asked.suppressions):
        path = f"suppressions[{index}]"
        if not one.HasField("suppression"):
            violations.add(f"{path}.suppression", "is required: its cause at least")
        subject = values.subject(one.subject, f"{path}.subject", violations)
        protections += suppressions(
            one.suppression,
            subject,
            origin.decided_time,
            index,
            f"{path}.suppression",
            violations,
        )
    _note_repeated(protections, violations)
    violations.raise_if_any()
    return SuppressionsAsked(call=call, protections=tuple(protections), origin=origin)


def release_suppression(data: bytes) -> ReleaseAsked:
    """Read a ReleaseSuppressionRequest."""
    asked = message(admin.ReleaseSuppressionRequest, data)
    violations = Violations()
    subject = values.subject(asked.subject, "subject", violations)
    read = ReleaseAsked(
        call=write_call("ReleaseSuppression", asked, violations),
        subject=subject,
        cause=values.CAUSES.read(asked.cause, "cause", violations, Cause.MANUAL),
        scopes=scopes_of_type(asked.scope, subject, "scope", violations),
        reason=why(asked.reason, violations),
        origin=values.required_origin(asked.HasField("origin"), asked.origin, violations),
    )
    violations.raise_if_any()
    return read


def erase_subject(data: bytes) -> ErasureAsked:
    """Read an EraseSubjectRequest."""
    asked = message(admin.EraseSubjectRequest, data)
    violations = Violations()
    read = ErasureAsked(
        call=write_call("EraseSubject", asked, violations),
        subjects=values.subjects(asked.subjects, "subjects", violations, distinct=True),
        reason=why(asked.reason, violations),
        origin=values.required_origin(asked.HasField("origin"), asked.origin, violations),
    )
    violations.raise_if_any()
    return read


def list_tenants(data: bytes) -> PageAsked:
    """Read a ListTenantsRequest."""
    asked = message(admin.ListTenantsRequest, data)
    return page("", asked.page_size, asked.page_token, "tenants")


def list_topics(data: bytes) -> PageAsked:
    """Read a ListTopicsRequest."""
    asked = message(admin.ListTopicsRequest, data)
    return page(asked.tenant, asked.page_size, asked.page_token, "topics")


def list_holds(data: bytes) -> PageAsked:
    """Read a ListHoldsRequest."""
    asked = message(admin.ListHoldsRequest, data)
    return page(asked.tenant, asked.page_size, asked.page_token, "holds")


def list_suppressions(data: bytes) -> PageAsked:
    """Read a ListSuppressionsRequest."""
    asked = message(admin.ListSuppressionsRequest, data)
    violations = Violations()
    cause = (
        values.CAUSES.read(asked.cause, "cause", violations, Cause.MANUAL) if asked.cause else None
    )
    return page(
        asked.tenant,
        asked.page_size,
        asked.page_token,
        suppressions_list(cause),
        cause=cause,
        violations=violations,
    )


def export_records(data: bytes) -> ExportAsked:
    """Read an ExportRecordsRequest."""
    asked = message(admin.ExportRecordsRequest, data)
    violations = Violations()
    kinds = frozenset(
        kind
        for index, number in enumerate(asked.kinds)
        if (kind := values.RECORD_KINDS.find(number, f"kinds[{index}]", violations)) is not None
    )
    causes = frozenset(
        cause
        for index, number in enumerate(asked.causes)
        if (cause := values.CAUSES.find(number, f"causes[{index}]", violations)) is not None
    )
    scope = values.scope(asked.scope, "scope", violations) if asked.HasField("scope") else None
    violations.raise_if_any()
    return ExportAsked(tenant=asked.tenant, kinds=kinds, causes=causes, scope=scope)


def suppressions_list(cause: Cause | None) -> str:
    """The name of the list of suppressions of this cause, as page tokens know it."""
    return f"suppressions/{0 if cause is None else cause.value}"


def page_token(list_name: str, cursor: str) -> str:
    """Return the token that continues a list after this cursor; empty at its end."""
    if not cursor:
        return ""
    return base64.urlsafe_b64encode(f"{list_name}:{cursor}".encode()).decode()


def suppressions(
    asked: admin.Suppression,
    subject: Subject,
    seen_time: Instant | None,
    row: int,
    path: str,
    violations: Violations,
) -> list[ProtectionAsked]:
    """One suppression, at each scope that it covers."""
    cause = values.CAUSES.read(asked.cause, f"{path}.cause", violations, Cause.MANUAL)
    end_time = None
    if asked.HasField("end_time"):
        end_time = values.instant(asked.end_time, f"{path}.end_time", violations)
        if seen_time is not None and end_time <= seen_time:
            violations.add(f"{path}.end_time", "must be after the time it was seen")
    elif cause is Cause.TEMPORARY_FAILURE:
        violations.add(f"{path}.end_time", "is required for TEMPORARY_FAILURE")
    reason = values.text(asked.reason, f"{path}.reason", violations, limits.REASON_CHARACTERS_MAX)
    reach = _reach_of_suppression(asked.reach, cause, f"{path}.reach", violations)
    return [
        ProtectionAsked(subject, cause, reach, scope, seen_time, end_time, reason, row)
        for scope in scopes_of_type(asked.scope, subject, f"{path}.scope", violations)
    ]


def scopes_of_type(
    asked: pb.Scope, subject: Subject, path: str, violations: Violations
) -> tuple[Scope, ...]:
    """The scope as said, or one for each channel of the subject's type."""
    channels = CHANNELS_OF_SUBJECT_TYPE[subject.type]
    scope = values.scope(asked, path, violations, default=channels[0])
    if asked.channel:
        return (scope,)
    return tuple(Scope(channel=channel, topic=scope.topic) for channel in channels)


def page(
    tenant: str,
    page_size: int,
    token: str,
    list_name: str,
    *,
    cause: Cause | None = None,
    violations: Violations | None = None,
) -> PageAsked:
    """Read what every request for a page of a list says."""
    violations = violations or Violations()
    if not 0 <= page_size <= limits.PAGE_SIZE_MAX:
        violations.add(
            "page_size",
            f"cannot be {page_size}; say 1 to {limits.PAGE_SIZE_MAX}, "
            f"or 0 for {limits.PAGE_SIZE_DEFAULT}",
        )
    cursor = _cursor(token, list_name)
    if cursor is None:
        violations.add("page_token", "is not the next_page_token of a page of this list")
    violations.raise_if_any()
    return PageAsked(
        tenant=tenant,
        page_size=page_size or limits.PAGE_SIZE_DEFAULT,
        cursor=cursor or "",
        cause=cause,
    )


def _cursor(token: str, list_name: str) -> str | None:
    """What a page token names, or None if it is not one of this list."""
    if not token:
        return ""
    if len(token) > limits.PAGE_TOKEN_CHARACTERS_MAX:
        return None
    try:
        named = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    prefix = f"{list_name}:"
    return named[len(prefix) :] or None if named.startswith(prefix) else None


def why(reason: str, violations: Violations, path: str = "reason") -> str:
    """Return the reason of an act, which is required."""
    return values.text(reason, path, violations, limits.REASON_CHARACTERS_MAX, required=True)


def _topic(asked: pb.Topic, violations: Violations, *, is_there: bool) -> Topic:
    if not is_there:
        violations.add("topic", "is required: its class at least")
        return Topic(name="")
    topic_class = values.TOPIC_CLASSES.read(
        asked.topic_class, "topic.topic_class", violations, TopicClass.PROMOTIONAL
    )
    channels = frozenset(
        channel
        for index, number in enumerate(asked.mandatory_channels)
        if (
            channel := values.QUERY_CHANNELS.find(
                number, f"topic.mandatory_channels[{index}]", violations
            )
        )
        is not None
    )
    if topic_class is TopicClass.MANDATORY:
        if not asked.name:
            violations.add("topic.topic_class", "of the root is always promotional")
        if not asked.mandatory_channels:
            violations.add("topic.mandatory_channels", "is required: where it is mandatory")
        if asked.requires_opt_in:
            violations.add("topic.requires_opt_in", "is refused on a mandatory topic")
    elif asked.mandatory_channels:
        violations.add("topic.mandatory_channels", "is only for a mandatory topic; leave it out")
    if topic_class is TopicClass.TRANSACTIONAL and not asked.name:
        violations.add("topic.topic_class", "of the root is always promotional")
    return Topic(
        name=values.topic_name(asked.name, "topic.name", violations),
        topic_class=topic_class,
        mandatory_channels=channels,
        requires_opt_in=asked.requires_opt_in,
        suppress_undeclared=asked.suppress_undeclared,
        title=values.text(
            asked.title, "topic.title", violations, limits.TOPIC_TITLE_CHARACTERS_MAX
        ),
    )


def _reach_of_suppression(number: int, cause: Cause, path: str, violations: Violations) -> Reach:
    own = REACH_OF_CAUSE[cause]
    if number == 0:
        return own
    if cause is Cause.LEGAL and number == Reach.PROMOTIONAL:
        return Reach.PROMOTIONAL
    violations.add(path, "is the cause's own; only a LEGAL one may say REACH_PROMOTIONAL")
    return own


def _note_repeated(protections: Sequence[ProtectionAsked], violations: Violations) -> None:
    """The same suppression twice in one call: which of the two would be meant is not said."""
    seen: dict[tuple[object, ...], int] = {}
    for one in protections:
        slot = (one.subject, one.cause, one.reach, one.scope)
        first = seen.setdefault(slot, one.row)
        if first != one.row:
            violations.add(
                f"suppressions[{one.row}]",
                f"is of the subject, cause and scope of suppressions[{first}]; say one",
            )

"""The words of types.proto, read: every constraint that their comments state is held here.

Laws:
- A reader never raises for what a caller wrote. It notes each violation under the field's path and
  returns a stand-in; the request is refused before any stand-in is used (`Violations`).
- Times lose what is finer than a microsecond.
- What a person may be known by is never repeated in a description.
"""

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Generic, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from heed import hours, keys
from heed.errors import InvalidArgumentError
from heed.hours import DAY_MINUTES, NO_HOURS, DayOfWeek, Hours, QuietPeriod
from heed.model import (
    Cause,
    Channel,
    Evidence,
    Instant,
    Method,
    Origin,
    Reach,
    RecordKind,
    Scope,
    Subject,
    SubjectType,
    TopicClass,
)
from heed.topics import validate_topic
from heed.wire import limits
from heed.wire.violations import Violations
from heed.zone_table import VERSION as ZONES_VERSION
from heed.zones import zone_names, zone_of
from heed_proto.v1 import types_pb2 as pb

REMEMBERED_MAX = 4_096
"""So many different scopes, and origins, are remembered by their parts. Some 4 MiB."""

N = TypeVar("N", Channel, TopicClass, Reach, Cause, RecordKind, Method, DayOfWeek)


class Closed(Generic[N]):
    """The values that an enum field takes, each by its number."""

    def __init__(self, prefix: str, members: Iterable[N]) -> None:
        self.by_number: Mapping[int, N] = {int(member): member for member in members}
        kinds = {type(member) for member in self.by_number.values()}
        self._name_of = {int(one): f"{prefix}_{one.name}" for kind in kinds for one in kind}
        self._names = ", ".join(self._name_of[number] for number in self.by_number)

    def read(self, number: int, path: str, violations: Violations, stand_in: N) -> N:
        """Return the member with this number."""
        member = self.find(number, path, violations)
        return stand_in if member is None else member

    def find(self, number: int, path: str, violations: Violations) -> N | None:
        """Return the member with this number, or None for a violation."""
        member = self.by_number.get(number)
        if member is None:
            given = self._name_of.get(number, number)
            said = "is required" if number == 0 else f"cannot be {given}"
            violations.add(path, f"{said}; say one of {self._names}")
        return member


QUERY_CHANNELS = Closed("CHANNEL", [channel for channel in Channel if channel is not Channel.ANY])
CHANNELS = Closed("CHANNEL", Channel)
TOPIC_CLASSES = Closed("TOPIC_CLASS", TopicClass)
REACHES = Closed("REACH", Reach)
PAUSE_REACHES = Closed("REACH", [Reach.PROMOTIONAL, Reach.TRANSACTIONAL])
CAUSES = Closed("CAUSE", [cause for cause in Cause if cause is not Cause.NONE])
RECORD_KINDS = Closed("RECORD_KIND", RecordKind)
DAYS = Closed("DAY_OF_WEEK", DayOfWeek)
METHODS = Closed("METHOD", [method for method in Method if method is not Method.OFFERED])

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_PRINTABLE_ASCII = re.compile(r"[\x20-\x7e]+")
_TENANT = re.compile(rf"[a-z][a-z0-9-]{{,{limits.TENANT_CHARACTERS_MAX - 1}}}")
_JURISDICTION = re.compile(
    rf"[A-Z]{{2}}(?:-[A-Z0-9]{{1,{limits.JURISDICTION_CHARACTERS_MAX - len('DE-')}}})?"
)
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")


def text(
    value: str, path: str, violations: Violations, characters_max: int, *, required: bool = False
) -> str:
    """Return a text for people: tabs and line breaks are its only control characters."""
    if required and not value.strip():
        violations.add(path, f"is required: 1 to {characters_max} characters")
    elif len(value) > characters_max:
        violations.add(path, f"has {len(value)} characters, at most {characters_max} are taken")
    elif (control := _CONTROL.search(value)) is not None:
        violations.add(path, f"has the control character U+{ord(control[0]):04X}; leave it out")
    return value


def ascii_name(value: str, path: str, violations: Violations, characters_max: int) -> str:
    """Return a required name of printable ASCII characters."""
    if not value:
        violations.add(path, f"is required: 1 to {characters_max} printable ASCII characters")
    elif len(value) > characters_max:
        violations.add(path, f"has {len(value)} characters, at most {characters_max} are taken")
    elif _PRINTABLE_ASCII.fullmatch(value) is None:
        violations.add(path, "has a character that is not printable ASCII; leave it out")
    return value


def tenant_name(value: str, path: str, violations: Violations) -> str:
    """Return the name of a tenant to be."""
    if _TENANT.fullmatch(value) is None:
        violations.add(
            path,
            f"must be 1 to {limits.TENANT_CHARACTERS_MAX} of a-z, 0-9 and `-`, beginning with a "
            "letter: `shop`",
        )
    return value


def topic_name(value: str, path: str, violations: Violations) -> str:
    """Return the name of a topic, declared or not."""
    try:
        validate_topic(value)
    except InvalidArgumentError as error:
        violations.add(path, error.violations[0].description)
    return value


def instant(value: Timestamp, path: str, violations: Violations) -> Instant:
    """Return a time as whole microseconds."""
    if not 0 <= value.seconds <= limits.SECONDS_MAX:
        violations.add(f"{path}.seconds", "is outside the years 1970 to 9999")
        return Instant(0)
    if not 0 <= value.nanos < 1_000_000_000:  # noqa: PLR2004 - the nanoseconds of a second
        violations.add(f"{path}.nanos", "must be 0 to 999,999,999")
        return Instant(0)
    return Instant(value.seconds * 1_000_000 + value.nanos // 1_000)


def later_instant(value: Timestamp, origin: Origin, path: str, violations: Violations) -> Instant:
    """Return a time that must be after the time of the decision, where that is said."""
    end_time = instant(value, path, violations)
    if origin.decided_time is not None and end_time <= origin.decided_time:
        violations.add(path, "must be after the decided time")
    return end_time


def subject(value: pb.Subject, path: str, violations: Violations) -> Subject:
    """Return a normalised subject."""
    kind = value.WhichOneof("identifier")
    if kind is None:
        violations.add(path, "names nobody; set one of email, phone, user, device")
        return _NOBODY
    return given_subject(SubjectType[kind.upper()], getattr(value, kind), path, violations)


def given_subject(
    subject_type: SubjectType, written: str, path: str, violations: Violations
) -> Subject:
    """Return the normalised subject of an identifier; `path` is of the message around it."""
    try:
        return keys.normalise(Subject(type=subject_type, value=written))
    except InvalidArgumentError as error:
        violations.add(f"{path}.{subject_type.name.lower()}", error.message)
        return _NOBODY


def subjects(
    values: Sequence[pb.Subject], path: str, violations: Violations, *, distinct: bool
) -> tuple[Subject, ...]:
    """Return the normalised identifiers of one person, in their order."""
    if not values:
        violations.add(path, f"names nobody; name 1 to {limits.SUBJECTS_MAX} identifiers")
    if len(values) > limits.SUBJECTS_MAX:
        violations.add(
            path, f"has {len(values)} identifiers, at most {limits.SUBJECTS_MAX} are taken"
        )
        return ()
    read = tuple(
        subject(value, f"{path}[{index}]", violations) for index, value in enumerate(values)
    )
    if distinct:
        for index, one in enumerate(read):
            if one is not _NOBODY and one in read[:index]:
                violations.add(
                    f"{path}[{index}]", f"is the same as {path}[{read.index(one)}]; name it once"
                )
    return read


def scope(
    value: pb.Scope, path: str, violations: Violations, default: Channel = Channel.ANY
) -> Scope:
    """Return a scope; one that names no channel has the default one."""
    if len(value.topic) <= limits.TOPIC_CHARACTERS_MAX:
        known = _known_scope(value.channel or default, value.topic)
        if known is not None:
            return known
    if value.channel:
        CHANNELS.read(value.channel, f"{path}.channel", violations, default)
    topic_name(value.topic, f"{path}.topic", violations)
    return _NO_SCOPE


def origin(value: pb.Origin, path: str, violations: Violations) -> Origin:
    """Return who says so."""
    decided_time = None
    if value.HasField("decided_time"):
        decided_time = instant(value.decided_time, f"{path}.decided_time", violations)
    said = (value.source, value.actor, value.method, value.jurisdiction, value.reference)
    characters = (
        len(value.source) + len(value.actor) + len(value.reference) + len(value.jurisdiction)
    )
    if characters <= _ORIGIN_CHARACTERS_MAX:
        known = _known_origin(*said, decided_time)
        if known is not None:
            return known
    return _origin(*said, decided_time, path, violations)


def jurisdiction(value: str, path: str, violations: Violations) -> str:
    """Return where a person is; empty: that is not known."""
    if value and _JURISDICTION.fullmatch(value) is None:
        violations.add(path, "must be of ISO 3166-1 or 3166-2: `DE`, `US-CA`, or empty")
    return value


def required_origin(
    message_has_it: bool,  # noqa: FBT001 - what HasField said
    value: pb.Origin,
    violations: Violations,
) -> Origin:
    """Return the origin of a call that must have one, in its field `origin`."""
    if not message_has_it:
        violations.add("origin", "is required: who says so; set its source at least")
        return _NO_ORIGIN
    return origin(value, "origin", violations)


def quiet_hours(value: pb.QuietHours, path: str, violations: Violations) -> Hours:
    """Return when it is quiet."""
    name = value.time_zone
    if zone_of(name) is None:
        near = difflib.get_close_matches(name[: hours.ZONE_CHARACTERS_MAX], zone_names(), n=1)
        hint = f"did you mean `{near[0]}`?" if near else "write `Europe/Vienna`"
        violations.add(
            f"{path}.time_zone", f"is no time zone of the IANA database {ZONES_VERSION}; {hint}"
        )
        name = ""
    if not 1 <= len(value.periods) <= limits.QUIET_PERIODS_MAX:
        violations.add(
            f"{path}.periods",
            f"has {len(value.periods)} periods; say 1 to {limits.QUIET_PERIODS_MAX}",
        )
        return NO_HOURS
    periods = tuple(
        _quiet_period(one, f"{path}.periods[{index}]", violations)
        for index, one in enumerate(value.periods)
    )
    return Hours(time_zone=name, periods=periods)


def _quiet_period(value: pb.QuietPeriod, path: str, violations: Violations) -> QuietPeriod:
    minutes = {"start_minute": value.start_minute, "end_minute": value.end_minute}
    for name, minute in minutes.items():
        if not 0 <= minute < DAY_MINUTES:
            violations.add(f"{path}.{name}", f"must be 0 to {DAY_MINUTES - 1}, since midnight")
            minutes[name] = 0
    if len(value.days) > len(set(value.days)):
        violations.add(f"{path}.days", "names a day twice; name each once")
    days = tuple(
        DAYS.read(day, f"{path}.days[{at}]", violations, DayOfWeek.MONDAY)
        for at, day in enumerate(value.days[: len(DayOfWeek)])
    )
    return QuietPeriod(**minutes, days=days)


def evidence(value: pb.Evidence, path: str, violations: Violations) -> Evidence:
    """Return what the person was shown and did."""

    def required(name: str, written: str) -> str:
        return text(
            written, f"{path}.{name}", violations, limits.EVIDENCE_CHARACTERS_MAX, required=True
        )

    language = required("language", value.language)
    if language and _LANGUAGE.fullmatch(language) is None:
        violations.add(f"{path}.language", "must be of BCP 47: `de-AT`")
    return Evidence(
        notice=required("notice", value.notice),
        notice_version=required("notice_version", value.notice_version),
        act=required("act", value.act),
        language=language,
        truncated_ip=_truncated_ip(value.truncated_ip, f"{path}.truncated_ip", violations),
    )


@lru_cache(maxsize=REMEMBERED_MAX)
def _known_scope(channel: int, topic: str) -> Scope | None:
    """A scope by its parts, since many choose at the same; None if one is malformed."""
    violations = Violations()
    read = Scope(
        channel=CHANNELS.read(channel, "", violations, Channel.ANY),
        topic=topic_name(topic, "", violations),
    )
    return None if violations.count else read


@lru_cache(maxsize=REMEMBERED_MAX)
def _known_origin(
    source: str,
    actor: str,
    method: int,
    place: str,
    reference: str,
    decided_time: Instant | None,
) -> Origin | None:
    """An origin by its parts, since one system says much; None if one is malformed."""
    violations = Violations()
    read = _origin(source, actor, method, place, reference, decided_time, "", violations)
    return None if violations.count else read


def _origin(
    source: str,
    actor: str,
    method: int,
    place: str,
    reference: str,
    decided_time: Instant | None,
    path: str,
    violations: Violations,
) -> Origin:
    return Origin(
        source=text(
            source, f"{path}.source", violations, limits.SOURCE_CHARACTERS_MAX, required=True
        ),
        actor=text(actor, f"{path}.actor", violations, limits.ACTOR_CHARACTERS_MAX),
        method=METHODS.read(method, f"{path}.method", violations, Method.UNSPECIFIED),
        jurisdiction=jurisdiction(place, f"{path}.jurisdiction", violations),
        reference=text(reference, f"{path}.reference", violations, limits.REFERENCE_CHARACTERS_MAX),
        decided_time=decided_time,
    )


def _truncated_ip(value: str, path: str, violations: Violations) -> str:
    """The network in its canonical form. A single host, however written, is refused."""
    if not value:
        return ""
    try:
        network = ipaddress.ip_network(value) if "/" in value and "%" not in value else None
    except ValueError:
        network = None
    if network is None:
        violations.add(
            path, "must be a network without bits of a host, such as `192.0.2.0/24`, or empty"
        )
        return ""
    prefix_max = limits.IPV4_PREFIX_MAX if network.version == 4 else limits.IPV6_PREFIX_MAX  # noqa: PLR2004 - IPv4
    if network.prefixlen > prefix_max:
        violations.add(
            path, f"has the prefix /{network.prefixlen}; cut it to /{prefix_max} or shorter"
        )
    return str(network)


_NOBODY = Subject(type=SubjectType.USER, value="")
_NO_ORIGIN = Origin(source="")
_NO_SCOPE = Scope(channel=Channel.ANY)
_ORIGIN_CHARACTERS_MAX = (
    limits.SOURCE_CHARACTERS_MAX
    + limits.ACTOR_CHARACTERS_MAX
    + limits.REFERENCE_CHARACTERS_MAX
    + limits.JURISDICTION_CHARACTERS_MAX
)
"""Longer ones are not right, and would fill the memory with what is not."""
QUERY_CHANNEL_STAND_IN = Channel.EMAIL

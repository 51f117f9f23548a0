"""Bodies to the contract's messages, by which the service is asked as by every caller.

Laws:
- A message says no more than its body; what is wrong with it says `heed.wire`, whose paths the
  `…pointer` of a body leads back.
- What is said once in a body of several scopes is said of each: they are one call, atomic.
"""

import math
import re
from collections.abc import Sequence
from typing import Final

from google.protobuf.duration_pb2 import Duration
from msgspec import UNSET, UnsetType

from heed.wire.limits import WAIT_PROPAGATED_SECONDS_MAX
from heed.wire.violations import Violations
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_proto.v1 import watch_service_pb2 as watch
from heed_server.web.rest import asked, words
from heed_server.web.rest.words import read_clock, read_time

Chosen = (
    asked.OptOuts
    | asked.OptIns
    | asked.Pauses
    | asked.EndedPauses
    | asked.QuietHours
    | asked.EndedQuietHours
)
"""What one person chose, at one scope or several."""

_PART: Final = re.compile(r"[^.\[\]]+")
_OF_TIME: Final = re.compile(r"(_time|_until)\.(?:seconds|nanos)$")
_OF_CHOICE: Final = re.compile(
    r"choices(?:\[(\d+)\])?(?:\.(scope|opt_out|opt_in|pause|quiet_hours))?"
)


def pointer(path: str) -> str:
    """Return the JSON pointer of a path of a message whose members are its body's.

    `queries[0].subjects[1].email` is `/queries/0/subjects/1/email`.
    """
    return "".join(f"/{part}" for part in _PART.findall(_OF_TIME.sub(r"\1", path)))


def check(body: asked.Check) -> preference.CheckSuppressionRequest:
    """Return the message of a Check."""
    violations = Violations()
    message = preference.CheckSuppressionRequest(
        tenant=_said(body.tenant), query=_query(body, "", violations), token=_said(body.token)
    )
    violations.raise_if_any()
    return message


def check_pointer(path: str) -> str:
    """Return the place in a Check's body of a path of its message: its query is the body."""
    return pointer(path.removeprefix("query."))


def check_batch(body: asked.CheckBatch) -> preference.BatchCheckSuppressionRequest:
    """Return the message of a batch of Checks."""
    violations = Violations()
    message = preference.BatchCheckSuppressionRequest(
        tenant=_said(body.tenant),
        queries=[
            _query(one, f"/queries/{index}", violations) for index, one in enumerate(body.queries)
        ],
        token=_said(body.token),
    )
    violations.raise_if_any()
    return message


def lookup(body: asked.Lookup) -> preference.GetPreferencesRequest:
    """Return the message that asks what stands for a person."""
    violations = Violations()
    message = preference.GetPreferencesRequest(
        tenant=_said(body.tenant), subjects=_subjects(body.subjects, "/subjects", violations)
    )
    violations.raise_if_any()
    return message


def opt_outs(body: asked.OptOuts, key: str) -> preference.SetPreferenceRequest:
    """Return the message of opt-outs."""
    violations = Violations()
    opt_out = pb.OptOut(reach=_reach(words.REACHES, body.reach, violations))
    if body.no_ask_until is not UNSET:
        at = "/no_ask_until"
        opt_out.no_ask_until.CopyFrom(read_time(body.no_ask_until, at, violations))
    return _chosen(body, pb.Choice(opt_out=opt_out), key, violations)


def opt_ins(body: asked.OptIns, key: str) -> preference.SetPreferenceRequest:
    """Return the message of opt-ins."""
    violations = Violations()
    shown = body.evidence
    opt_in = pb.OptIn(
        evidence=pb.Evidence(
            notice=shown.notice,
            notice_version=shown.notice_version,
            act=shown.act,
            language=shown.language,
            truncated_ip=shown.truncated_ip,
        )
    )
    if body.end_time is not UNSET:
        opt_in.end_time.CopyFrom(read_time(body.end_time, "/end_time", violations))
    return _chosen(body, pb.Choice(opt_in=opt_in), key, violations)


def pauses(body: asked.Pauses, key: str) -> preference.SetPreferenceRequest:
    """Return the message of pauses."""
    violations = Violations()
    pause = pb.Pause(
        end_time=read_time(body.end_time, "/end_time", violations),
        reach=_reach(words.PAUSE_REACHES, body.reach, violations),
    )
    return _chosen(body, pb.Choice(pause=pause), key, violations)


def ended_pauses(body: asked.EndedPauses, key: str) -> preference.SetPreferenceRequest:
    """Return the message that ends pauses."""
    return _chosen(body, pb.Choice(end_pause=pb.EndPause()), key, Violations())


def quiet_hours(body: asked.QuietHours, key: str) -> preference.SetPreferenceRequest:
    """Return the message of quiet hours."""
    violations = Violations()
    hours = pb.QuietHours(
        time_zone=body.time_zone,
        periods=[
            _period(one, f"/periods/{index}", violations) for index, one in enumerate(body.periods)
        ],
        reach=_reach(words.PAUSE_REACHES, body.reach, violations),
    )
    return _chosen(body, pb.Choice(quiet_hours=hours), key, violations)


def ended_quiet_hours(body: asked.EndedQuietHours, key: str) -> preference.SetPreferenceRequest:
    """Return the message that ends quiet hours."""
    return _chosen(body, pb.Choice(end_quiet_hours=pb.EndQuietHours()), key, Violations())


def applied(body: asked.Applied) -> watch.ReportAppliedRequest:
    """Return the message that says how far a stream's reader is."""
    violations = Violations()
    for name in ("applied_revision", "probe"):
        if abs(getattr(body, name)) > asked.NUMBER_MAX:
            violations.add(f"/{name}", f"is too large; at most {asked.NUMBER_MAX} is taken")
    violations.raise_if_any()
    return watch.ReportAppliedRequest(
        tenant=_said(body.tenant),
        stream_id=body.stream_id,
        applied_revision=body.applied_revision,
        probe=body.probe,
    )


def choices_pointer(path: str) -> str:
    """Return the place in a body of choices of a path of its message."""
    found = _OF_CHOICE.match(path)
    if found is None:
        return pointer(path.replace("wait_propagated", "wait_propagated_seconds"))
    index, part = found.groups()
    left = pointer(path[found.end() :])
    left = left.removesuffix("_minute")
    if part is None or part == "scope":
        return "/scopes" + ("" if index is None else f"/{index}") + left
    return left


def _chosen(
    body: Chosen,
    act: pb.Choice,
    key: str,
    violations: Violations,
) -> preference.SetPreferenceRequest:
    """The message that says one act at every scope of a body."""
    message = preference.SetPreferenceRequest(
        tenant=_said(body.tenant),
        idempotency_key=key,
        subjects=_subjects(body.subjects, "/subjects", violations),
        origin=_origin(body.origin, "/origin", violations),
    )
    scopes = [asked.Scope()] if body.scopes is UNSET else body.scopes
    for index, scope in enumerate(scopes):
        choice = message.choices.add()
        choice.CopyFrom(act)
        choice.scope.topic = scope.topic
        choice.scope.channel = pb.Channel.ValueType(
            words.CHANNELS.number(scope.channel, f"/scopes/{index}/channel", violations)
        )
    if body.wait_propagated_seconds is not UNSET:
        message.wait_propagated.CopyFrom(_duration(body.wait_propagated_seconds))
    violations.raise_if_any()
    return message


def _origin(
    body: asked.Origin | asked.Act | asked.Decided, at: str, violations: Violations
) -> pb.Origin:
    origin = pb.Origin(
        source=body.source,
        actor=body.actor,
        jurisdiction=body.jurisdiction,
        reference=body.reference,
    )
    if body.method is not UNSET:
        known = words.METHODS if isinstance(body, asked.Origin) else words.PERSONAL_METHODS
        origin.method = pb.Method.ValueType(known.number(body.method, f"{at}/method", violations))
    if body.decided_time is not UNSET:
        origin.decided_time.CopyFrom(read_time(body.decided_time, f"{at}/decided_time", violations))
    return origin


def _period(body: asked.QuietPeriod, at: str, violations: Violations) -> pb.QuietPeriod:
    return pb.QuietPeriod(
        start_minute=read_clock(body.start, f"{at}/start", violations),
        end_minute=read_clock(body.end, f"{at}/end", violations),
        days=[
            pb.DayOfWeek.ValueType(words.DAYS.number(day, f"{at}/days/{index}", violations))
            for index, day in enumerate(body.days)
        ],
    )


def _query(body: asked.Query, at: str, violations: Violations) -> pb.Query:
    return pb.Query(
        subjects=_subjects(body.subjects, f"{at}/subjects", violations),
        channel=pb.Channel.ValueType(
            words.MESSAGE_CHANNELS.number(body.channel, f"{at}/channel", violations)
        ),
        topic=body.topic,
        campaign=body.campaign,
        reference=body.reference,
    )


def _subjects(bodies: Sequence[asked.Subject], at: str, violations: Violations) -> list[pb.Subject]:
    return [_subject(one, f"{at}/{index}", violations) for index, one in enumerate(bodies)]


def _subject(body: asked.Subject, at: str, violations: Violations) -> pb.Subject:
    named = {name: value for name in _IDENTIFIERS if (value := getattr(body, name)) is not UNSET}
    if len(named) > 1:
        violations.add(at, f"names {' and '.join(named)}; each subject is one, list them all")
        return pb.Subject()
    return pb.Subject(**named)


def _reach(taken: words.Words, word: str, violations: Violations) -> pb.Reach.ValueType:
    return pb.Reach.ValueType(taken.number(word, "/reach", violations))


def _duration(seconds: float) -> Duration:
    """A duration; of what is out of bounds one that is too."""
    most = WAIT_PROPAGATED_SECONDS_MAX + 1
    told = Duration()
    told.FromMilliseconds(math.ceil(1_000 * min(max(seconds, -1), most)))
    return told


def _said(value: str | UnsetType) -> str:
    return "" if value is UNSET else value


_IDENTIFIERS: Final = asked.Subject.__struct_fields__

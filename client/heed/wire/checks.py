"""Messages of Checks to values: the one path that is made for speed.

Every constraint is that of `heed.wire.parse`: whatever is not plainly right here is read again
there, slowly, for all its violations. What queries ask is remembered by its parts, since senders
ask the same of many people.
"""

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError

from heed.errors import InvalidArgumentError
from heed.keys import LookupKeys
from heed.model import Query, SubjectKey, SubjectType
from heed.wire import limits, parse, values
from heed.wire.asked import BatchAsked, CheckAsked, Given, StreamAsked
from heed.wire.violations import Violations, too_large
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb

QUERIES_REMEMBERED_MAX: Final = 8_192
"""So many different (channel, topic, campaign); one more and all are forgotten. Some 4 MiB."""

_EMAIL: Final = SubjectType.EMAIL
_TYPES: Final = {
    "email": SubjectType.EMAIL,
    "phone": SubjectType.PHONE,
    "user": SubjectType.USER,
    "device": SubjectType.DEVICE,
}

_read_check = preference.CheckSuppressionRequest.FromString

# Only ever what `parse.query` returned for the same parts, so that threads may race for it.
_queries: dict[tuple[int, str, str], Query] = {}


def check(data: bytes) -> CheckAsked:
    """Read a CheckSuppressionRequest. Its subjects are as they were given; `keys` reads them."""
    try:
        asked = _read_check(data)
    except DecodeError:
        raise parse.malformed(preference.CheckSuppressionRequest, data) from None
    wanted = asked.query
    named = wanted.subjects
    # Nearly every query, without a call: what `_given` says of it.
    if len(named) == 1 and (email := named[0].email):
        subjects: list[Given] = [(_EMAIL, email)]
    else:
        subjects = _given(wanted)
    query = _queries.get((wanted.channel, wanted.topic, wanted.campaign)) or _learn(wanted)
    reference = wanted.reference
    if query is None or not subjects or (reference and not parse.is_reference(reference)):
        raise _refusal([wanted], ["query"])
    return CheckAsked(asked.tenant, asked.token, subjects, query, reference)


def batch_check(data: bytes) -> BatchAsked:
    """Read a BatchCheckSuppressionRequest, likewise."""
    asked = parse.message(preference.BatchCheckSuppressionRequest, data)
    wanted = asked.queries
    _require_count(len(wanted), limits.QUERIES_MAX)
    batch = BatchAsked(asked.tenant, asked.token, [], [], [], {})
    if len(_add(wanted, batch)) < len(wanted):
        raise _refusal(wanted, [f"queries[{index}]" for index in range(len(wanted))])
    return batch


def stream_check(data: bytes) -> StreamAsked:
    """Read a StreamCheckSuppressionRequest, likewise; a malformed query refuses no other.

    Raises:
        InvalidArgumentError: it is no message, or has no queries or too many; nobody knows then
            how many answers it wants.
    """
    asked = parse.message(preference.StreamCheckSuppressionRequest, data)
    wanted = asked.queries
    _require_count(len(wanted), limits.STREAM_QUERIES_MAX)
    batch = BatchAsked(asked.tenant, asked.token, [], [], [], {})
    added = _add(wanted, batch)
    refused: dict[int, InvalidArgumentError] = {}
    if len(added) < len(wanted):
        odd = set(range(len(wanted))).difference(added)
        refused = {at: _refusal([wanted[at]], [f"queries[{at}]"]) for at in sorted(odd)}
    return StreamAsked(asked.sequence, batch, refused)


def keys(asked: CheckAsked | BatchAsked, lookup: LookupKeys) -> list[SubjectKey]:
    """Return the key of each subject, in order; of several lookup keys, `lookup.count` of each.

    Raises:
        InvalidArgumentError: with a violation for each one that is malformed.
    """
    try:
        if lookup.count != 1:
            return [key for one in asked.subjects for key in lookup.all_as_given(*one)]
        key_of = lookup.key_of
        if len(asked.subjects) == 1:
            subject_type, value = asked.subjects[0]
            return [key_of(subject_type, value)]
        return [key_of(subject_type, value) for subject_type, value in asked.subjects]
    except InvalidArgumentError:
        raise _malformed_subjects(asked) from None


def stream_keys(asked: StreamAsked, lookup: LookupKeys) -> list[SubjectKey]:
    """Return the keys of each subject of the well-formed queries, in order, as `keys`.

    A query with a malformed subject is moved to those that are refused.
    """
    try:
        return keys(asked.batch, lookup)
    except InvalidArgumentError:
        _move_malformed(asked)
        return keys(asked.batch, lookup)


def _require_count(count: int, count_max: int) -> None:
    if count > count_max:
        raise too_large("queries", count, count_max)
    if not count:
        raise _empty(count_max)


def _add(wanted: Sequence[pb.Query], batch: BatchAsked) -> Sequence[int]:
    """Add the queries that are well-formed but for their subjects' values; return which are."""
    added: list[int] = []
    recall = _queries.get
    for at, one in enumerate(wanted):
        given = _given(one)
        query = recall((one.channel, one.topic, one.campaign)) or _learn(one)
        if query is None or not given:
            continue
        if reference := one.reference:
            if not parse.is_reference(reference):
                continue
            batch.references[len(batch.queries)] = reference
        batch.subjects += given
        batch.counts.append(len(given))
        batch.queries.append(query)
        added.append(at)
    return added


def _given(query: pb.Query) -> list[Given]:
    """The subjects of a query as they were given; none if it does not name 1 to 8 properly."""
    named = query.subjects
    if len(named) == 1 and (email := named[0].email):
        return [(_EMAIL, email)]
    given: list[Given] = []
    for subject in named:
        email = subject.email
        if email:
            given.append((_EMAIL, email))
            continue
        kind = subject.WhichOneof("identifier")
        if kind is None:
            return []
        given.append((_TYPES[kind], getattr(subject, kind)))
    return given if len(given) <= limits.SUBJECTS_MAX else []


def _learn(wanted: pb.Query) -> Query | None:
    """What a query asks, to be remembered; None if that is malformed."""
    violations = Violations()
    query = parse.query(wanted, "query", violations)
    if violations.count:
        return None
    if len(_queries) >= QUERIES_REMEMBERED_MAX:
        _queries.clear()
    return _queries.setdefault((wanted.channel, wanted.topic, wanted.campaign), query)


def _refusal(wanted: Sequence[pb.Query], paths: Sequence[str]) -> InvalidArgumentError:
    violations = Violations()
    for one, path in zip(wanted, paths, strict=True):
        values.subjects(one.subjects, f"{path}.subjects", violations, distinct=False)
        parse.query(one, path, violations)
        parse.reference(one.reference, f"{path}.reference", violations)
    return violations.as_error()


def _malformed_subjects(asked: CheckAsked | BatchAsked) -> InvalidArgumentError:
    violations = Violations()
    for path, (subject_type, value) in zip(_paths(asked), asked.subjects, strict=True):
        values.given_subject(subject_type, value, path, violations)
    return violations.as_error()


def _paths(asked: CheckAsked | BatchAsked) -> list[str]:
    if isinstance(asked, CheckAsked):
        return [f"query.subjects[{at}]" for at in range(len(asked.subjects))]
    return [
        f"queries[{index}].subjects[{at}]"
        for index, count in enumerate(asked.counts)
        for at in range(count)
    ]


def _move_malformed(asked: StreamAsked) -> None:
    """Refuse the queries that have a malformed subject, each for its own."""
    batch = asked.batch
    places = [at for at in range(asked.count) if at not in asked.refused]
    left = BatchAsked(batch.tenant, batch.token, [], [], [], {})
    begin = 0
    parts = zip(places, batch.queries, batch.counts, strict=True)
    for at, (place, query, count) in enumerate(parts):
        given = batch.subjects[begin : begin + count]
        begin += count
        violations = Violations()
        for index, (subject_type, value) in enumerate(given):
            path = f"queries[{place}].subjects[{index}]"
            values.given_subject(subject_type, value, path, violations)
        if violations.count:
            asked.refused[place] = violations.as_error()
            continue
        if at in batch.references:
            left.references[len(left.queries)] = batch.references[at]
        left.subjects += given
        left.counts.append(count)
        left.queries.append(query)
    asked.batch = left


def _empty(count_max: int) -> InvalidArgumentError:
    violations = Violations()
    violations.add("queries", f"is empty; ask 1 to {count_max}")
    return violations.as_error()

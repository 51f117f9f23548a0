"""The requests that the load sends, encoded before anything is timed."""

import uuid
from collections.abc import Iterator

from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as types

CHECK = "/heed.v1.PreferenceService/CheckSuppression"
BATCH_CHECK = "/heed.v1.PreferenceService/BatchCheckSuppression"
CHECK_STREAM = "/heed.v1.PreferenceService/StreamCheckSuppression"
SET = "/heed.v1.PreferenceService/SetPreference"
BATCH_SET = "/heed.v1.PreferenceService/BatchSetPreferences"
TOPIC = "marketing.weekly"


def email(number: int) -> str:
    """The address of a made-up person."""
    return f"person{number:08d}@example.com"


def checks(people: Iterator[int]) -> list[bytes]:
    """One request for each person."""
    return [
        preference.CheckSuppressionRequest(query=_query(number)).SerializeToString()
        for number in people
    ]


def batch_checks(people: Iterator[int], *, calls: int, size: int) -> list[bytes]:
    """Requests of so many queries each, every one about another person."""
    return [
        preference.BatchCheckSuppressionRequest(
            queries=[_query(next(people)) for _ in range(size)]
        ).SerializeToString()
        for _ in range(calls)
    ]


def stream_checks(people: Iterator[int], *, calls: int, size: int) -> list[bytes]:
    """Requests of a stream, likewise; their numbers are not looked at."""
    return [
        preference.StreamCheckSuppressionRequest(
            queries=[_query(next(people)) for _ in range(size)], sequence=1
        ).SerializeToString()
        for _ in range(calls)
    ]


def sets(people: Iterator[int], *, calls: int) -> list[bytes]:
    """Opt-outs, each with a key of its own."""
    return [
        preference.SetPreferenceRequest(
            idempotency_key=str(uuid.uuid4()),
            subjects=[types.Subject(email=email(next(people)))],
            choices=[_opt_out()],
            origin=_origin(),
        ).SerializeToString()
        for _ in range(calls)
    ]


def batch_sets(people: Iterator[int], *, calls: int, size: int) -> list[bytes]:
    """Batches of opt-outs, each with a key of its own."""
    return [
        preference.BatchSetPreferencesRequest(
            idempotency_key=str(uuid.uuid4()),
            people=[
                preference.PersonChoices(
                    subjects=[types.Subject(email=email(next(people)))], choices=[_opt_out()]
                )
                for _ in range(size)
            ],
            origin=_origin(),
        ).SerializeToString()
        for _ in range(calls)
    ]


def query_of(address: str) -> types.Query:
    """What a sender asks about one person."""
    return types.Query(
        subjects=[types.Subject(email=address)], channel=types.CHANNEL_EMAIL, topic=TOPIC
    )


def _query(number: int) -> types.Query:
    return query_of(email(number))


def _opt_out() -> types.Choice:
    return types.Choice(
        scope=types.Scope(channel=types.CHANNEL_EMAIL, topic="marketing"), opt_out=types.OptOut()
    )


def _origin() -> types.Origin:
    return types.Origin(
        source="preference-page", actor="person", method=types.METHOD_WEB_FORM, jurisdiction="AT"
    )

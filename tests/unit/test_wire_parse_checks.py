"""Checks to values: what is right is read as it was meant, what is wrong is named in full."""

import pytest

from heed.errors import ErrorReason, InvalidArgumentError
from heed.keys import LookupKey, LookupKeys
from heed.model import Channel, Query, SubjectType
from heed.wire import checks, limits
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from tests.support import requests as ask
from tests.support.requests import violations_of

KEYER = LookupKeys([LookupKey(1, bytes(32))])

BOTH = LookupKeys([LookupKey(1, bytes(32)), LookupKey(2, bytes([1] * 32))])


def read_check(data: bytes) -> None:
    """A Check, with its subjects."""
    checks.keys(checks.check(data), KEYER)


def read_batch(data: bytes) -> None:
    """A batch of them."""
    checks.keys(checks.batch_check(data), KEYER)


def test_a_check_is_read_as_it_was_asked() -> None:
    asked = ask.check("Ada@Example.com", token="t")
    asked.tenant = "shop"
    asked.query.campaign = "spring"

    read = checks.check(asked.SerializeToString())

    assert (read.tenant, read.token) == ("shop", "t")
    assert read.query == Query(channel=Channel.EMAIL, topic="marketing.weekly", campaign="spring")
    assert checks.keys(read, KEYER) == [KEYER.key_of(SubjectType.EMAIL, "ada@example.com")]


def test_of_two_lookup_keys_each_subject_has_a_key_of_each() -> None:
    read = checks.check(ask.check("Ada@Example.com").SerializeToString())

    assert checks.keys(read, BOTH) == [*BOTH.all_as_given(SubjectType.EMAIL, "ada@example.com")]


def test_subjects_of_every_type_are_keyed_in_their_order() -> None:
    asked = preference.CheckSuppressionRequest(
        query=pb.Query(
            subjects=[
                pb.Subject(phone="+43 660 1234567"),
                pb.Subject(user="u-1"),
                pb.Subject(device="d-1"),
                pb.Subject(email="a@example.com"),
            ],
            channel=pb.CHANNEL_SMS,
        )
    )

    read = checks.check(asked.SerializeToString())

    assert checks.keys(read, KEYER) == [
        KEYER.key_of(SubjectType.PHONE, "+436601234567"),
        KEYER.key_of(SubjectType.USER, "u-1"),
        KEYER.key_of(SubjectType.DEVICE, "d-1"),
        KEYER.key_of(SubjectType.EMAIL, "a@example.com"),
    ]


def test_a_batch_keeps_the_order_of_its_queries() -> None:
    asked = ask.batch_check(3)
    asked.queries[1].subjects.append(ask.subject("second@example.com"))

    read = checks.batch_check(asked.SerializeToString())

    assert read.counts == [1, 2, 1]
    assert [value for _, value in read.subjects] == [
        "user0@example.com",
        "user1@example.com",
        "second@example.com",
        "user2@example.com",
    ]
    assert {query.topic for query in read.queries} == {"marketing.weekly"}


def test_an_empty_check_names_all_that_is_missing() -> None:
    found = violations_of(read_check, preference.CheckSuppressionRequest())

    assert found.keys() == {"query.subjects", "query.channel"}


def test_every_wrong_field_of_a_check_is_named() -> None:
    asked = preference.CheckSuppressionRequest(
        query=pb.Query(
            subjects=[pb.Subject(), pb.Subject(email="nobody"), pb.Subject(phone="0660 123")],
            channel=pb.Channel.ValueType(77),
            topic="Marketing!",
            campaign="c" * 201,
        )
    )

    assert violations_of(read_check, asked).keys() == {
        "query.subjects[0]",
        "query.subjects[1].email",
        "query.subjects[2].phone",
        "query.channel",
        "query.topic",
        "query.campaign",
    }


def test_a_wrong_channel_is_told_with_the_right_ones() -> None:
    asked = ask.check()
    asked.query.channel = pb.CHANNEL_ANY

    (description,) = violations_of(read_check, asked).values()

    before, _, right = description.partition("; say one of ")
    assert before == "cannot be CHANNEL_ANY"
    assert right.startswith("CHANNEL_EMAIL, CHANNEL_SMS")
    assert "CHANNEL_ANY" not in right


def test_a_number_that_no_channel_has_is_told_as_it_came() -> None:
    asked = ask.check()
    asked.query.channel = 99  # type: ignore[assignment]  # of a later contract

    (description,) = violations_of(read_check, asked).values()

    assert description.startswith("cannot be 99; say one of ")


def test_wrong_addresses_of_a_check_are_named_and_never_repeated() -> None:
    asked = ask.check("ada.lovelace@exam ple.com")
    asked.query.subjects.append(pb.Subject(phone="call me on 5551234"))

    found = violations_of(read_check, asked)

    assert found.keys() == {"query.subjects[0].email", "query.subjects[1].phone"}
    assert "lovelace" not in str(found)
    assert "555" not in str(found)


def test_a_wrong_address_in_a_batch_is_named_by_its_query() -> None:
    asked = ask.batch_check(3)
    asked.queries[2].subjects.append(ask.subject("nobody"))

    assert violations_of(read_batch, asked).keys() == {"queries[2].subjects[1].email"}


def test_every_wrong_query_of_a_batch_is_named_also_those_after_the_first() -> None:
    asked = ask.batch_check(4)
    asked.queries[1].channel = pb.CHANNEL_UNSPECIFIED
    asked.queries[3].topic = "a..b"
    del asked.queries[3].subjects[:]

    assert violations_of(read_batch, asked).keys() == {
        "queries[1].channel",
        "queries[3].topic",
        "queries[3].subjects",
    }


def test_a_batch_of_nothing_is_refused() -> None:
    assert violations_of(read_batch, preference.BatchCheckSuppressionRequest()).keys() == {
        "queries"
    }


def test_more_queries_than_a_batch_may_carry_are_refused() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        checks.batch_check(ask.batch_check(limits.QUERIES_MAX + 1).SerializeToString())

    assert refused.value.reason is ErrorReason.BATCH_TOO_LARGE
    assert refused.value.metadata == {"field": "queries", "items": "10001", "items_max": "10000"}


@pytest.mark.parametrize("count", [0, 9])
def test_a_query_names_1_to_8_identifiers(count: int) -> None:
    asked = ask.check()
    del asked.query.subjects[:]
    asked.query.subjects.extend(ask.subject(f"user{at}@example.com") for at in range(count))

    assert violations_of(read_check, asked).keys() == {"query.subjects"}


def test_the_same_identifier_twice_in_a_check_is_tolerated() -> None:
    asked = ask.check()
    asked.query.subjects.append(ask.subject("ADA@example.com"))

    first, second = checks.keys(checks.check(asked.SerializeToString()), KEYER)

    assert first == second


def test_queries_that_are_remembered_do_not_grow_without_bound() -> None:
    for at in range(limits.QUERIES_MAX):
        asked = ask.check()
        asked.query.campaign = f"c{at}"
        checks.check(asked.SerializeToString())

    assert len(checks._queries) <= checks.QUERIES_REMEMBERED_MAX


def test_fields_that_are_not_known_are_tolerated() -> None:
    later = b"\xfa\x3f\x03abc"

    assert checks.check(ask.check().SerializeToString() + later).query.topic == "marketing.weekly"


def test_at_most_100_violations_are_named_and_all_are_counted() -> None:
    asked = ask.batch_check(150)
    for query in asked.queries:
        query.channel = pb.CHANNEL_UNSPECIFIED

    with pytest.raises(InvalidArgumentError) as refused:
        checks.batch_check(asked.SerializeToString())

    assert len(refused.value.violations) == limits.VIOLATIONS_MAX
    assert refused.value.metadata["violations"] == "150"
    assert "and 149 more" in refused.value.message


LONG = "x" * limits.MESSAGE_REFERENCE_CHARACTERS_MAX


@pytest.mark.parametrize("reference", ["", "<1@mail.example.com>", LONG, "Nachricht ä"])
def test_a_reference_is_read_as_it_was_given(reference: str) -> None:
    asked = ask.check()
    asked.query.reference = reference

    assert checks.check(asked.SerializeToString()).reference == reference


@pytest.mark.parametrize("reference", [LONG + "x", "a\0b", "a\x1bb"])
def test_a_reference_that_breaks_its_constraint_is_refused(reference: str) -> None:
    asked, batch = ask.check(), ask.batch_check(3)
    asked.query.reference = batch.queries[1].reference = reference

    assert violations_of(read_check, asked).keys() == {"query.reference"}
    assert violations_of(read_batch, batch).keys() == {"queries[1].reference"}


def test_the_references_of_a_batch_stand_by_the_positions_of_their_queries() -> None:
    asked = ask.batch_check(4)
    asked.queries[1].reference, asked.queries[3].reference = "one", "three"

    assert checks.batch_check(asked.SerializeToString()).references == {1: "one", 3: "three"}


def test_what_is_refused_of_a_stream_leaves_the_references_of_the_others() -> None:
    asked = ask.stream_check(5)
    for at, query in enumerate(asked.queries):
        query.reference = str(at)
    asked.queries[0].channel = pb.CHANNEL_UNSPECIFIED
    asked.queries[2].subjects[0].email = "no address"
    asked.queries[3].reference = LONG + "x"

    read = checks.stream_check(asked.SerializeToString())
    checks.stream_keys(read, KEYER)

    assert read.refused.keys() == {0, 2, 3}
    assert read.batch.references == {0: "1", 1: "4"}

"""MakeLinks on the wire: what is asked, what is refused, what is heard."""

import pytest

import heed
from heed.errors import ErrorReason, InvalidArgumentError, UnavailableError
from heed.model import Channel, Scope, Subject, SubjectType
from heed.wire import ask, limits, parse, read
from heed.wire.asked import LinkTarget
from heed_proto.v1 import preference_service_pb2 as preference


def test_a_target_is_read_normalised_and_of_any_channel_unless_said() -> None:
    asked = ask.make_links("shop", [heed.LinkTarget(subject=heed.email("Ada@EXAMPLE.com"))])

    found = parse.make_links(asked.SerializeToString())

    assert found.tenant == "shop"
    assert found.targets == (
        LinkTarget(
            subject=Subject(type=SubjectType.EMAIL, value="ada@example.com"),
            scope=Scope(channel=Channel.ANY),
        ),
    )


def test_every_target_that_is_wrong_is_named() -> None:
    asked = preference.MakeLinksRequest(targets=[preference.LinkTarget(), preference.LinkTarget()])
    asked.targets[1].subject.user = "u-1"
    asked.targets[1].scope.topic = "No Topic"

    with pytest.raises(InvalidArgumentError) as refused:
        parse.make_links(asked.SerializeToString())

    assert [one.field for one in refused.value.violations] == [
        "targets[0].subject",
        "targets[1].scope.topic",
    ]


def test_none_is_refused_and_so_are_too_many() -> None:
    many = preference.MakeLinksRequest(targets=[preference.LinkTarget()] * (limits.LINKS_MAX + 1))

    with pytest.raises(InvalidArgumentError) as none:
        parse.make_links(b"")
    with pytest.raises(InvalidArgumentError) as too_many:
        parse.make_links(many.SerializeToString())

    assert none.value.reason is ErrorReason.INVALID_FIELD
    assert too_many.value.reason is ErrorReason.BATCH_TOO_LARGE


def test_an_answer_with_other_links_than_asked_for_is_none() -> None:
    answer = preference.MakeLinksResponse(links=[preference.Link(url="https://a.example/u/1")])

    assert read.links(answer, asked=1) == (heed.Link(url="https://a.example/u/1"),)
    with pytest.raises(UnavailableError):
        read.links(answer, asked=2)


def test_a_link_does_not_show_in_a_repr() -> None:
    assert "example" not in repr(heed.Link(url="https://a.example/u/1"))

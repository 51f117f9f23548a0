"""MakeLinks and MakePageLinks on the wire: what is asked, what is refused, what is heard."""

from datetime import UTC, datetime

import pytest

import heed
from heed.errors import ErrorReason, InvalidArgumentError, UnavailableError
from heed.model import Channel, Scope, Subject, SubjectType
from heed.wire import ask, limits, parse, read
from heed.wire.asked import LinkTarget, PageTarget
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


def test_whose_page_is_asked_for_is_read_normalised_and_in_order() -> None:
    asked = ask.make_page_links(
        "shop",
        [heed.PageTarget(email="Ada@EXAMPLE.com", user="u-1", jurisdiction="US-CA")],
    )

    found = parse.make_page_links(asked.SerializeToString())

    assert found.tenant == "shop"
    assert found.targets == (
        PageTarget(
            subjects=(
                Subject(type=SubjectType.EMAIL, value="ada@example.com"),
                Subject(type=SubjectType.USER, value="u-1"),
            ),
            jurisdiction="US-CA",
        ),
    )


def test_every_page_that_is_wrong_is_named() -> None:
    nobody, twice = preference.PageTarget(), preference.PageTarget(jurisdiction="California")
    twice.subjects.add().user = "u-1"
    twice.subjects.add().user = "u-1"

    with pytest.raises(InvalidArgumentError) as refused:
        parse.make_page_links(
            preference.MakePageLinksRequest(targets=[nobody, twice]).SerializeToString()
        )

    assert [one.field for one in refused.value.violations] == [
        "targets[0].subjects",
        "targets[1].subjects[1]",
        "targets[1].jurisdiction",
    ]


def test_pages_of_nobody_are_refused_and_so_are_too_many() -> None:
    many = preference.MakePageLinksRequest(
        targets=[preference.PageTarget()] * (limits.LINKS_MAX + 1)
    )

    with pytest.raises(InvalidArgumentError) as none:
        parse.make_page_links(b"")
    with pytest.raises(InvalidArgumentError) as too_many:
        parse.make_page_links(many.SerializeToString())

    assert none.value.reason is ErrorReason.INVALID_FIELD
    assert too_many.value.reason is ErrorReason.BATCH_TOO_LARGE


def test_page_links_are_heard_with_their_end_and_never_for_somebody_else() -> None:
    answer = preference.MakePageLinksResponse(
        links=[preference.PageLink(url="https://a.example/p/1")]
    )
    end = datetime(2026, 11, 28, tzinfo=UTC)
    answer.links[0].expire_time.FromDatetime(end)

    (link,) = read.page_links(answer, asked=1)

    assert link == heed.PageLink(url="https://a.example/p/1", expire_time=end)
    assert "example" not in repr(link)
    with pytest.raises(UnavailableError):
        read.page_links(answer, asked=2)

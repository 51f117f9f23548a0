"""Which record stands in a slot, and the bytes that records are kept in."""

from dataclasses import fields
from dataclasses import replace as with_fields
from functools import reduce
from itertools import permutations
from typing import cast
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import UnavailableError
from heed.hours import hours_of
from heed.model import OF_ONE_SLOT, Cause, Channel, Instant, Reach, Record, RecordKind, Revision
from heed.records import (
    REVISION_MAX,
    DamagedRecordError,
    decode_records,
    encode_records,
    merge,
    remove,
    replace,
)
from tests.support import scenarios

quick = settings(max_examples=100, deadline=None)
INSTANT_MAX = 253_402_300_799_999_999

some_record = scenarios.drawn(scenarios.record)
some_instant = st.integers(min_value=-(2**62), max_value=2**62).map(Instant)
any_record = st.builds(
    Record,
    kind=st.sampled_from((*RecordKind, cast("RecordKind", 9))),
    cause=st.sampled_from((*Cause, cast("Cause", 15))),
    reach=st.sampled_from((*Reach, cast("Reach", 0), cast("Reach", 7))),
    channel=st.sampled_from((*Channel, cast("Channel", 0), cast("Channel", 15))),
    topic=st.text(st.sampled_from("az09_-."), max_size=200),
    decided_time=some_instant,
    end_time=st.none() | some_instant,
    revision=st.integers(min_value=0, max_value=REVISION_MAX).map(Revision),
    no_ask_until=st.none() | some_instant,
).flatmap(
    lambda made: st.sampled_from(scenarios.HOURS).map(
        lambda hours: with_fields(
            made, quiet_hours=hours if made.kind == RecordKind.QUIET_HOURS else None
        )
    )
)


def record(
    kind: RecordKind,
    decided: int,
    end: int | None = None,
    *,
    reach: Reach = Reach.PROMOTIONAL,
    cause: Cause = Cause.NONE,
    revision: int = 1,
) -> Record:
    return Record(
        kind,
        cause,
        reach,
        Channel.EMAIL,
        "news",
        Instant(decided),
        None if end is None else Instant(end),
        Revision(revision),
    )


def opt_out(decided: int, end: int | None = None, revision: int = 1) -> Record:
    return record(RecordKind.OPT_OUT, decided, end, revision=revision)


def opt_in(decided: int, end: int | None = None, revision: int = 1) -> Record:
    return record(RecordKind.OPT_IN, decided, end, reach=Reach.ALL, revision=revision)


def pause(decided: int, end: int, reach: Reach = Reach.PROMOTIONAL, revision: int = 1) -> Record:
    return record(RecordKind.PAUSE, decided, end, reach=reach, revision=revision)


def bounce(decided: int, end: int | None = None, revision: int = 1) -> Record:
    return record(
        RecordKind.SUPPRESSION,
        decided,
        end,
        cause=Cause.BOUNCE,
        reach=Reach.ALL,
        revision=revision,
    )


def quiet(decided: int, hours: str | None, end: int | None = None, revision: int = 1) -> Record:
    return with_fields(
        record(RecordKind.QUIET_HOURS, decided, end, revision=revision),
        quiet_hours=None if hours is None else hours_of(hours),
    )


def effect(one: Record) -> Record:
    return with_fields(one, revision=Revision(0))


@st.composite
def of_one_slot(draw: st.DrawFn) -> list[Record]:
    """Two to four records that meet in one slot, and say differently what they may within it."""
    first = draw(some_record | scenarios.drawn(scenarios.later_record))
    same = st.builds(
        lambda decided, end, reach, hours, no_ask_until: with_fields(
            first,
            decided_time=decided,
            end_time=end,
            reach=reach if first.kind in OF_ONE_SLOT else first.reach,
            quiet_hours=hours if first.kind == RecordKind.QUIET_HOURS else None,
            no_ask_until=no_ask_until if first.kind == RecordKind.OPT_OUT else None,
        ),
        st.sampled_from(scenarios.TIMES[:3]),
        st.sampled_from(scenarios.ENDS),
        st.sampled_from((*Reach, cast("Reach", 0), cast("Reach", 7))),
        st.sampled_from(scenarios.HOURS),
        st.sampled_from(scenarios.ENDS),
    )
    return draw(st.lists(same, min_size=2, max_size=4))


@quick
@given(met=of_one_slot())
def test_the_order_of_arrival_does_not_change_what_stands(met: list[Record]) -> None:
    stands = {effect(reduce(merge, order)) for order in permutations(met)}

    assert len(stands) == 1


@quick
@given(met=of_one_slot())
def test_it_does_not_matter_what_is_merged_with_what_first(met: list[Record]) -> None:
    one_by_one = reduce(merge, met)
    rest_first = merge(met[0], reduce(merge, met[1:]))

    assert effect(one_by_one) == effect(rest_first)


@quick
@given(met=of_one_slot())
def test_what_stands_meets_itself_and_every_part_of_it_unchanged(met: list[Record]) -> None:
    standing = reduce(merge, met)

    assert merge(standing, standing) is standing
    assert all(merge(standing, one) is standing for one in met)


def test_the_first_record_of_a_slot_stands() -> None:
    assert merge(None, opt_out(5)) == opt_out(5)


def test_records_of_two_slots_do_not_meet() -> None:
    with pytest.raises(ValueError, match="two slots"):
        merge(opt_out(5), opt_in(5))


@pytest.mark.parametrize(
    ("current", "new", "stands"),
    [
        pytest.param(opt_out(5), opt_out(7, revision=2), opt_out(7, revision=2), id="later out"),
        pytest.param(
            with_fields(opt_out(5), no_ask_until=Instant(20)),
            opt_out(7, revision=2),
            with_fields(opt_out(7, revision=2), no_ask_until=Instant(20)),
            id="later out that does not say until when not to ask",
        ),
        pytest.param(
            with_fields(opt_out(5), no_ask_until=Instant(20)),
            with_fields(opt_out(7, revision=2), no_ask_until=Instant(10)),
            with_fields(opt_out(7, revision=2), no_ask_until=Instant(20)),
            id="later out that says an earlier time not to ask before",
        ),
        pytest.param(
            opt_out(7),
            with_fields(opt_out(5, revision=2), no_ask_until=Instant(20)),
            with_fields(opt_out(7, revision=2), no_ask_until=Instant(20)),
            id="an earlier one arrives that says until when not to ask",
        ),
        pytest.param(
            quiet(5, "UTC: 01:00-02:00"),
            quiet(7, "UTC: 03:00-04:00", revision=2),
            quiet(7, "UTC: 03:00-04:00", revision=2),
            id="later quiet hours",
        ),
        pytest.param(
            quiet(5, "UTC: 01:00-02:00"),
            quiet(5, "UTC: 03:00-04:00", revision=2),
            quiet(5, "UTC: 01:00-02:00; 03:00-04:00", revision=2),
            id="quiet hours of one time: both",
        ),
        pytest.param(
            quiet(5, "UTC: 01:00-02:00"),
            quiet(5, "Europe/Vienna: 03:00-04:00", revision=2),
            quiet(5, None, revision=2),
            id="quiet hours of one time in two zones: every hour",
        ),
        pytest.param(
            quiet(5, "UTC: 01:00-02:00"),
            quiet(5, "", 5, revision=2),
            quiet(5, "UTC: 01:00-02:00"),
            id="quiet hours and their end of one time: they stand",
        ),
        pytest.param(opt_out(7), opt_out(5, revision=2), opt_out(7), id="an earlier one arrives"),
        pytest.param(opt_out(5), opt_out(5, revision=2), opt_out(5), id="the same again"),
        pytest.param(
            opt_out(5, end=9),
            opt_out(5, revision=2),
            opt_out(5, revision=2),
            id="an opt-out without end outlasts one with",
        ),
        pytest.param(
            opt_in(5),
            opt_in(7, end=8, revision=2),
            opt_in(7, end=8, revision=2),
            id="a later opt-in, its end included",
        ),
        pytest.param(
            opt_in(7, end=8), opt_in(5, revision=2), opt_in(7, end=8), id="not the earlier's end"
        ),
        pytest.param(
            opt_in(5),
            opt_in(5, end=9, revision=2),
            opt_in(5, end=9, revision=2),
            id="of opt-ins at a tie the one that ends sooner",
        ),
        pytest.param(
            opt_in(5, end=9),
            opt_in(5, end=20, revision=2),
            opt_in(5, end=9),
            id="of opt-ins at a tie the one that ends sooner, arrived first",
        ),
        pytest.param(
            pause(5, 50), pause(6, 10, revision=2), pause(6, 10, revision=2), id="a later pause"
        ),
        pytest.param(
            pause(5, 50),
            pause(8, 8, revision=2),
            pause(8, 8, revision=2),
            id="the end of a pause replaces it",
        ),
        pytest.param(
            pause(5, 50),
            pause(5, 5, revision=2),
            pause(5, 50),
            id="a pause outlasts its end at a tie",
        ),
        pytest.param(
            pause(5, 50),
            pause(5, 10, Reach.TRANSACTIONAL, revision=2),
            pause(5, 50, Reach.TRANSACTIONAL, revision=2),
            id="of pauses at a tie the later end and the wider reach",
        ),
        pytest.param(
            pause(5, 50, Reach.TRANSACTIONAL),
            pause(5, 50, cast("Reach", 0), revision=2),
            pause(5, 50, cast("Reach", 0), revision=2),
            id="a reach not known here is the widest",
        ),
        pytest.param(
            bounce(5), bounce(7, end=9, revision=2), bounce(7, revision=2), id="never shortened"
        ),
        pytest.param(
            bounce(7, end=9), bounce(5, revision=2), bounce(7, revision=2), id="never made older"
        ),
        pytest.param(
            bounce(7, end=9), bounce(5, end=8, revision=2), bounce(7, end=9), id="nothing added"
        ),
        pytest.param(
            bounce(5, end=8),
            bounce(7, end=9, revision=2),
            bounce(7, end=9, revision=2),
            id="a longer and later one",
        ),
    ],
)
def test_what_stands_where_two_records_meet(current: Record, new: Record, stands: Record) -> None:
    assert merge(current, new) == stands


def test_where_nothing_changes_the_very_record_that_stood_is_given_back() -> None:
    current = bounce(7)

    assert merge(current, bounce(7, revision=2)) is current
    assert merge(current, bounce(3, end=4, revision=3)) is current


def test_a_kind_not_known_here_is_kept_like_a_suppression() -> None:
    unknown = with_fields(bounce(5, end=8), kind=cast("RecordKind", 9))

    merged = merge(unknown, with_fields(unknown, decided_time=Instant(3), end_time=None))

    assert merged.decided_time == 5
    assert merged.end_time is None


def test_a_record_takes_its_slot_and_the_rest_is_ordered_by_kind_topic_and_channel() -> None:
    sms = with_fields(opt_out(1), channel=Channel.SMS)
    root = with_fields(opt_out(1), topic="")
    before = replace(replace(replace((), pause(1, 9)), sms), root)

    after = replace(before, opt_out(3, revision=4))

    assert before == (root, sms, pause(1, 9))
    assert after == (root, opt_out(3, revision=4), sms, pause(1, 9))
    assert replace(after, opt_out(5)) == (root, opt_out(5), sms, pause(1, 9))


@quick
@given(written=st.lists(some_record, max_size=6))
def test_the_order_of_what_is_kept_does_not_depend_on_the_order_of_writing(
    written: list[Record],
) -> None:
    distinct = list({one.slot: one for one in written}.values())

    nothing: tuple[Record, ...] = ()

    assert reduce(replace, distinct, nothing) == reduce(replace, reversed(distinct), nothing)


def test_a_record_is_removed_by_its_slot() -> None:
    standing = replace(replace((), opt_out(1)), bounce(2))

    assert remove(standing, bounce(99).slot) == (opt_out(1),)
    assert remove(standing, opt_in(1).slot) == standing


@quick
@given(written=st.lists(any_record, max_size=5))
def test_records_are_decoded_as_they_were_encoded(written: list[Record]) -> None:
    decoded = decode_records(encode_records(written))

    assert decoded == tuple(written)
    assert [hash(one) for one in decoded] == [hash(one) for one in written]


def test_a_known_number_is_decoded_as_its_member() -> None:
    (decoded,) = decode_records(encode_records([bounce(1)]))

    assert decoded.kind is RecordKind.SUPPRESSION
    assert decoded.cause is Cause.BOUNCE
    assert decoded.reach is Reach.ALL
    assert decoded.channel is Channel.EMAIL


def test_a_record_has_the_fields_that_the_bytes_hold() -> None:
    """A field that is added to `Record` needs another version of the bytes."""
    assert [field.name for field in fields(Record)] == [
        "kind",
        "cause",
        "reach",
        "channel",
        "topic",
        "decided_time",
        "end_time",
        "revision",
        "quiet_hours",
        "no_ask_until",
    ]


def test_a_typical_record_takes_22_bytes_and_its_topic() -> None:
    assert len(encode_records([opt_out(1)])) == 22 + len("news")
    assert len(encode_records([opt_in(1, end=2)])) == 30 + len("news")


def test_version_1_is_what_it_was() -> None:
    """Indexes of version 1 are on disks: these bytes never change."""
    encoded = encode_records(
        [
            Record(
                RecordKind.SUPPRESSION,
                Cause.LEGAL,
                Reach.PROMOTIONAL,
                Channel.VOICE,
                "a.b",
                Instant(1_700_000_000_000_000),
                Instant(INSTANT_MAX),
                Revision(0x0102_0304_0506),
            )
        ]
    )

    assert encoded.hex() == (
        "01" "1ddb50da"
        "54" "95" "03" "00401e18240a0600" "06050403" "0201" "ff5f73cc0c448403" "612e62"
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(written=st.lists(any_record, max_size=3), data=st.data())
def test_damaged_bytes_raise_and_never_give_another_record(
    written: list[Record], data: st.DataObject
) -> None:
    encoded = bytearray(encode_records(written))
    bit = data.draw(st.integers(min_value=0, max_value=len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8

    with pytest.raises(DamagedRecordError):
        decode_records(bytes(encoded))


@settings(max_examples=60, deadline=None)
@given(written=st.lists(any_record, min_size=1, max_size=3), data=st.data())
def test_bytes_that_were_cut_short_raise(written: list[Record], data: st.DataObject) -> None:
    encoded = encode_records(written)
    size = data.draw(st.integers(min_value=0, max_value=len(encoded) - 1))

    with pytest.raises(DamagedRecordError):
        decode_records(encoded[:size])


@quick
@given(noise=st.binary(max_size=80))
def test_noise_raises(noise: bytes) -> None:
    with pytest.raises(DamagedRecordError):
        decode_records(noise)


def sealed(body: bytes) -> bytes:
    return b"\x01" + crc32(body).to_bytes(4, "little") + body


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(encode_records([opt_out(1)])[5:-1], id="the topic is cut"),
        pytest.param(encode_records([opt_out(1)])[5:-6], id="the record is cut"),
        pytest.param(encode_records([pause(1, 2)])[5:24], id="the end is cut"),
        pytest.param(encode_records([opt_out(1)])[5:-1] + b"\xff", id="the topic is not ASCII"),
    ],
)
def test_a_body_that_is_no_records_raises_though_its_checksum_is_right(body: bytes) -> None:
    with pytest.raises(DamagedRecordError):
        decode_records(sealed(body))


def test_version_2_is_what_it_was() -> None:
    """It is of subjects of whom some record says more; these bytes never change."""
    encoded = encode_records(
        [
            opt_out(1, revision=2),
            with_fields(opt_out(3, revision=4), no_ask_until=Instant(5)),
            quiet(6, "Europe/Vienna: 22:00-08:00", revision=7),
            quiet(8, None, revision=9),
        ]
    )

    body = bytes.fromhex(
        "011204 0100000000000000 020000000000 6e657773 00"
        "011204 0300000000000000 040000000000 6e657773 01 0500000000000000"
        "051204 0600000000000000 070000000000 6e657773 02 1a00"
    )
    body += b"Europe/Vienna: 22:00-08:00"
    body += bytes.fromhex("051204 0800000000000000 090000000000 6e657773 00")
    assert encoded == b"\x02" + crc32(body).to_bytes(4, "little") + body


def test_who_says_no_more_is_kept_as_ever() -> None:
    """So that nobody's look-up takes longer for what others say."""
    assert encode_records([opt_out(1)])[0] == 1


@pytest.mark.parametrize(
    "text",
    [b"Europe/Vienna: 22:00-25:00", b"Europe/Vienna: 8:00-9:00", b"\xe4", b"a\nb: 1:00-2:00"],
)
def test_hours_that_nobody_writes_are_no_answer(text: bytes) -> None:
    body = encode_records([quiet(1, "UTC: 01:00-02:00")])[5:-18] + bytes([len(text), 0]) + text

    with pytest.raises(DamagedRecordError):
        decode_records(b"\x02" + crc32(body).to_bytes(4, "little") + body)


def test_a_version_not_known_here_raises() -> None:
    with pytest.raises(DamagedRecordError, match="version 3"):
        decode_records(b"\x03" + encode_records([opt_out(1)])[1:])


def test_damage_that_reaches_a_sender_is_no_answer() -> None:
    assert issubclass(DamagedRecordError, UnavailableError)


@pytest.mark.parametrize(
    "unfit",
    [
        pytest.param(with_fields(opt_out(1), kind=cast("RecordKind", 16)), id="kind"),
        pytest.param(with_fields(opt_out(1), cause=cast("Cause", 16)), id="cause"),
        pytest.param(with_fields(opt_out(1), reach=cast("Reach", 8)), id="reach"),
        pytest.param(with_fields(opt_out(1), channel=cast("Channel", -1)), id="channel"),
        pytest.param(opt_out(1, revision=REVISION_MAX + 1), id="revision"),
        pytest.param(opt_out(2**63), id="decided time"),
        pytest.param(opt_out(1, end=2**63), id="end"),
        pytest.param(with_fields(opt_out(1), topic="x" * 256), id="a long topic"),
        pytest.param(with_fields(opt_out(1), topic="ä"), id="a topic beyond ASCII"),
    ],
)
def test_a_record_that_does_not_fit_is_refused_when_it_is_encoded(unfit: Record) -> None:
    with pytest.raises(ValueError):
        encode_records([unfit])

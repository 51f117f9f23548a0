"""The times that vendors write, read on the side that protects."""

import pytest

from heed.formats.times import instant
from tests.support.imported import iso

READ = {
    "2019-12-17T08:58:33-05:00": "2019-12-17T13:58:33Z",
    "2019-12-17t13:58:33z": "2019-12-17T13:58:33Z",
    "2020-04-10T21:03:05.077000-07:00": "2020-04-11T04:03:05.077000Z",
    "2026-05-01T10:00:00.123456789Z": "2026-05-01T10:00:00.123456Z",
    "2026-05-01T10:00Z": "2026-05-01T10:00:00Z",
    "2026-05-01 10:00:00+0530": "2026-05-01T04:30:00Z",
    "2026-05-01 10:00:00 UTC": "2026-05-01T10:00:00Z",
    "2021-03-04 05:06:07.890123 +0000 UTC": "2021-03-04T05:06:07.890123Z",
    "2021-03-04 05:06:07 +0100 CET m=+0.000000001": "2021-03-04T04:06:07Z",
    "2021-03-04 05:06:07 +0300 +03": "2021-03-04T02:06:07Z",
    "Fri, 21 Oct 2011 11:02:55 GMT": "2011-10-21T11:02:55Z",
    "Tue, 07 Jan 2025 19:25:45 UTC": "2025-01-07T19:25:45Z",
    "Tue, 7 Jan 2025 19:25:45 -0000": "2025-01-07T19:25:45Z",
    "7 Jan 2025 20:25:45 +0100 (CET)": "2025-01-07T19:25:45Z",
    "1790083507": "2026-09-22T13:25:07Z",
    "1586552585.077": "2020-04-10T21:03:05.077000Z",
    "1790083507123": "2026-09-22T13:25:07.123000Z",
    "1790083507123456": "2026-09-22T13:25:07.123456Z",
    "2016-12-31T23:59:60Z": "2017-01-01T00:00:00Z",
    "  2026-05-01T10:00:00Z ": "2026-05-01T10:00:00Z",
}


@pytest.mark.parametrize("written", READ)
def test_a_time_is_read_as_it_is_written(written: str) -> None:
    found = instant(written)

    assert found is not None
    assert iso(found) == READ[written]


AS_LATE_AS_IT_CAN_MEAN = {
    "2013-06-25 17:38:27": "2013-06-26T05:38:27Z",
    "2013-06-25T17:38:27": "2013-06-26T05:38:27Z",
    "2013-06-25": "2013-06-26T11:59:59.999999Z",
    "2013-06-25 17:38:27 CST": "2013-06-26T05:38:27Z",
    "Tue, 25 Jun 2013 17:38:27": "2013-06-26T05:38:27Z",
    "Tue, 25 Jun 2013 17:38:27 EST": "2013-06-26T05:38:27Z",
}


@pytest.mark.parametrize("written", AS_LATE_AS_IT_CAN_MEAN)
def test_a_time_without_zone_is_read_as_late_as_it_can_mean(written: str) -> None:
    found = instant(written)

    assert found is not None
    assert iso(found) == AS_LATE_AS_IT_CAN_MEAN[written]


@pytest.mark.parametrize(
    "written",
    [
        None,
        "",
        "   ",
        "0001-01-01T00:00:00Z",
        "0001-01-01 00:00:00 +0000 UTC",
        "Mon, 01 Jan 0001 00:00:00 UTC",
        "0000-00-00 00:00:00",
        "1970-01-01T00:00:00Z",
        "1970-01-01 00:00:00",
        "0",
        0,
        0.0,
    ],
)
def test_a_zero_means_that_the_time_is_not_known(written: object) -> None:
    assert instant(written) is None


@pytest.mark.parametrize(
    "written",
    [
        "yesterday",
        "12/31/2025 14:05",
        "31.12.2025",
        "2025-13-01",
        "2025-02-30T00:00:00Z",
        "2025-02-28T25:00:00Z",
        "2025-02-28T12:61:00Z",
        "1 Foo 2025 00:00:00 UTC",
        "-5",
        "1e9",
        "9" * 30,
        "2025-01-01T00:00:00Z" * 10,
        "1969-12-31T23:59:59Z",
        -1,
        float("nan"),
        float("inf"),
        10**30,
        10**400,
        True,
        [],
        {},
    ],
)
def test_what_is_no_time_is_refused(written: object) -> None:
    with pytest.raises(ValueError):
        instant(written)


def test_numbers_are_read_as_texts_are() -> None:
    assert instant(1586552585.077) == instant("1586552585.077")
    assert instant(1790083507) == instant("1790083507")

"""Big files as vendors export them, for tests and the bench. The same arguments, the same bytes."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

FIRST_SECOND: Final = 1_700_000_000
"""2023-11-14: when the first row was decided."""
_LINES_AT_ONCE: Final = 10_000
_REASONS: Final = (
    '"550 5.1.1 The email account that you tried to reach does not exist, try ""{0}"" again"',
    '"550 5.1.1 <{0}>: Recipient address rejected: User unknown in virtual mailbox table"',
    '"550 5.7.1 Message rejected\nas spam, see https://mail.example/why?id={1}"',
    "554 delivery error: This user doesn't have an account",
)
_MERGE_FIELDS: Final = (
    '2,"2013-06-25 17:38:27",,"2013-06-25 17:38:27",192.0.2.17,47.6614000,-122.2930000,-8,-7,'
    "America/Los_Angeles,US,WA"
)


def address(number: int) -> str:
    """Return the address of a row, each another."""
    return f"first.last{number}@mail{number % 977}.example.com"


def write_ses_csv(path: Path, rows: int, first: int = 0) -> None:
    """Write a bulk file of SES: every third row a complaint, the others bounces."""
    _write(
        path,
        "",
        (
            f"{address(number)},{'BOUNCE' if number % 3 else 'COMPLAINT'}\n"
            for number in range(first, first + rows)
        ),
    )


def write_sendgrid_csv(path: Path, rows: int, first: int = 0) -> None:
    """Write an export of SendGrid's bounces, with reasons that need every rule of quoting."""
    _write(
        path,
        "status,reason,email,created\n",
        (
            f"5.1.1,{_REASONS[number % len(_REASONS)].format(address(number), number)},"
            f"{address(number)},{FIRST_SECOND + number}\n"
            for number in range(first, first + rows)
        ),
    )


def write_mailchimp_csv(path: Path, rows: int, first: int = 0) -> None:
    """Write an export of Mailchimp's unsubscribed members, with two merge fields."""
    _write(
        path,
        "Email Address,First Name,Last Name,MEMBER_RATING,OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,"
        "CONFIRM_IP,LATITUDE,LONGITUDE,GMTOFF,DSTOFF,TIMEZONE,CC,REGION,UNSUB_TIME,"
        "UNSUB_CAMPAIGN_TITLE,UNSUB_CAMPAIGN_ID,UNSUB_REASON,UNSUB_REASON_OTHER,LEID,EUID,NOTES,"
        "TAGS\n",
        (
            f'{address(number)},Ada,"King, {number}",{_MERGE_FIELDS},"2021-05-04 09:08:07",'
            f'"News, May",8f2a,NORMAL,,{number},e{number:x},,"""vip"""\n'
            for number in range(first, first + rows)
        ),
    )


def write_mailgun_csv(path: Path, rows: int, first: int = 0) -> None:
    """Write an export of Mailgun's unsubscribes, some of a tag."""
    _write(
        path,
        "address,tags,created_at\r\n",
        (
            f"{address(number)},{'*' if number % 4 else 'weekly'},"
            f'"Tue, 07 Jan 2025 19:{number // 60 % 60:02}:{number % 60:02} UTC"\r\n'
            for number in range(first, first + rows)
        ),
    )


def write_postmark_json(path: Path, rows: int, first: int = 0) -> None:
    """Write a dump of Postmark's suppressions: one array, whatever its length."""
    kinds = (
        ("HardBounce", "Recipient"),
        ("SpamComplaint", "Recipient"),
        ("ManualSuppression", "Recipient"),
        ("ManualSuppression", "Customer"),
    )

    def members() -> Iterator[str]:
        for number in range(first, first + rows):
            reason, origin = kinds[number % len(kinds)]
            yield ("," if number > first else "") + json.dumps(
                {
                    "EmailAddress": address(number),
                    "SuppressionReason": reason,
                    "Origin": origin,
                    "CreatedAt": "2019-12-17T08:58:33-05:00",
                }
            )
        yield "]}"

    _write(path, '{"Suppressions":[', members())


def _write(path: Path, header: str, lines: Iterator[str]) -> None:
    """Write many lines, a constant number of them at once."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(header)
        while block := "".join(islice(lines, _LINES_AT_ONCE)):
            file.write(block)

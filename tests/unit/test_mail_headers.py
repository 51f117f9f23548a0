"""A link in a mail that Python's own library writes: as it is, or where no provider finds it."""

from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy, default

import pytest

import heed

LINK = heed.Link(url="https://news.example.com/u/v1.3a4aa294." + "aB3_-" * 100)


def written(policy: EmailPolicy) -> bytes:
    mail = EmailMessage(policy=policy)
    for name, value in LINK.headers.items():
        mail[name] = value
    mail.set_content("Hello\n")
    return mail.as_bytes()


@pytest.mark.parametrize("policy", [default, SMTP], ids=["default", "SMTP"])
def test_with_longer_lines_the_headers_stand_as_they_are(policy: EmailPolicy) -> None:
    mail = written(policy.clone(max_line_length=998))

    assert f"List-Unsubscribe: <{LINK.url}>".encode() in mail.splitlines()
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click" in mail.splitlines()


@pytest.mark.parametrize("policy", [default, SMTP], ids=["default", "SMTP"])
def test_by_the_librarys_own_policies_no_provider_would_find_the_link(policy: EmailPolicy) -> None:
    """The reason why docs/unsubscribe.md says how: once this fails, it need not any more."""
    assert LINK.url.encode() not in written(policy)

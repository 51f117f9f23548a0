"""Making rows: the few forms that every vendor's records become.

Laws:
- A suppression is of an address: it stands at the root, on the channels of the subject's type.
- An opt-out stands at the topic that its label is mapped to, else at the operator's topic, which
  is the root unless said.
"""

from typing import Final

from heed.formats.rows import ImportedRow, Options
from heed.model import TOPIC_ROOT, Cause, Channel, Instant, Reach, SubjectType

TEMPORARY_FAILURE_DAYS: Final = 7
"""Days from a temporary failure to the end of its suppression, where the file names no end."""

_DAY: Final = 86_400_000_000
_EMAIL = SubjectType.EMAIL
_NONE = Cause.NONE
"""Python 3.11 looks a member up on its enum some ten times slower than a name."""


def email_opt_out(
    address: str,
    decided_time: Instant | None,
    options: Options,
    *,
    topic: str | None = None,
    reach: Reach | None = None,
) -> ImportedRow:
    """Return the opt-out of an email address; no topic: the operator's."""
    return ImportedRow(
        _EMAIL,
        address,
        _NONE,
        reach,
        options.channel,
        options.topic if topic is None else topic,
        decided_time,
    )


def email_suppression(
    address: str,
    cause: Cause,
    decided_time: Instant | None,
    *,
    reason: str = "",
    end_time: Instant | None = None,
) -> ImportedRow:
    """Return the suppression of an email address."""
    return ImportedRow(
        _EMAIL, address, cause, None, None, TOPIC_ROOT, decided_time, end_time, reason
    )


def end_of_temporary(seen: Instant | None, options: Options) -> Instant:
    """Return when a temporary failure stops suppressing.

    One that has ended already is imported as what it was, and suppresses nothing.
    """
    return Instant((options.day_end if seen is None else seen) + TEMPORARY_FAILURE_DAYS * _DAY)


def sms_stop(number: str, decided_time: Instant | None, options: Options) -> ImportedRow:
    """Return the opt-out of a phone number from all text messages: what STOP means."""
    return ImportedRow(
        SubjectType.PHONE,
        number,
        _NONE,
        Reach.ALL,
        options.channel or Channel.SMS,
        options.topic,
        decided_time,
    )

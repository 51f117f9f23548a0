"""Lines of the decision log: one decision each, as JSON.

Laws:
- A line has all that Explain needs to give the decision back, but for whom it was about: that is
  there as the keyed hash alone.
- What is not said is left out: an empty campaign, a message without a reference.
- While the clock was doubted, a decision is by two instants (ADR 0013): it is that of `now`, unless
  that allows; then it is that of `other_now`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from heed.model import RULE_VERSION, Channel, Decision, Instant, Query, Rule, SubjectKey, Verdict
from heed.wire.encoded import Position


class Noted(NamedTuple):
    """What one request was answered, as it is handed to the log."""

    time: Instant
    """By this host's clock."""
    tenant: str
    keys: Sequence[SubjectKey]
    """Of every query, in one row."""
    counts: Sequence[int]
    """How many of the keys are of each query."""
    queries: Sequence[Query]
    references: Mapping[int, str]
    """The senders' own names of the messages that have one, by position."""
    decisions: Sequence[Decision | None]
    """None: that query was refused, which is no decision."""
    position: Position
    now: Instant
    other_now: Instant | None


class _Line(msgspec.Struct, omit_defaults=True):
    time: str
    tenant: str
    subjects: list[str]
    channel: str
    verdict: str
    rule: str
    revision: int
    now: str
    rule_version: int
    token: str
    topic: str = ""
    campaign: str = ""
    reference: str = ""
    other_now: str = ""


def lines_of(noted: Noted) -> Iterator[bytes]:
    """Yield a line for each decision, its end included."""
    encode = _ENCODER.encode
    time, now = _written(noted.time), _written(noted.now)
    other_now = "" if noted.other_now is None else _written(noted.other_now)
    end = 0
    for at, (query, decision) in enumerate(zip(noted.queries, noted.decisions, strict=True)):
        begin, end = end, end + noted.counts[at]
        if decision is None:
            continue
        line = _Line(
            time=time,
            tenant=noted.tenant,
            subjects=[key.hex() for key in noted.keys[begin:end]],
            channel=_CHANNELS[query.channel],
            verdict=_VERDICTS[decision.verdict],
            rule=_RULES[decision.reasons[0].rule],
            revision=noted.position.revision,
            now=now,
            rule_version=RULE_VERSION,
            token=noted.position.token,
            topic=query.topic,
            campaign=query.campaign,
            reference=noted.references.get(at, ""),
            other_now=other_now,
        )
        yield encode(line) + b"\n"


def _written(instant: Instant) -> str:
    seconds, microseconds = divmod(instant, 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{microseconds:06}Z"


_ENCODER: Final = msgspec.json.Encoder()
# By number: a look-up is much quicker than an enum's name.
_CHANNELS: Final = {int(one): one.name.lower() for one in Channel}
_VERDICTS: Final = {int(one): one.name.lower() for one in Verdict}
_RULES: Final = {int(one): one.name.lower() for one in Rule}

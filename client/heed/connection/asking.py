"""The checks of a stream: which are asked next, and whose an answer is. It sends nothing itself.

Laws:
- Answers are told apart by their order; a response that is not of the oldest request unanswered
  is not read, and ends the stream.
- A stream that ends, or breaks, takes no check with it: what was not answered is asked again over
  the next stream, before what came later, but no check more than `ATTEMPTS_MAX` times.
- What refuses the caller (its credential, a right, a limit) refuses every check that waits.
- Every check is settled once: with an answer or with an error of its own.
"""

import random
from collections import deque
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Final

from heed.answers import CheckAnswer
from heed.connection.calls import CheckStreamSpec
from heed.connection.failures import advised, decoded
from heed.connection.options import ATTEMPTS_MAX
from heed.errors import (
    ErrorReason,
    ExhaustedError,
    FieldViolation,
    HeedError,
    InvalidArgumentError,
    UnavailableError,
)
from heed.wire import read
from heed.wire.limits import STREAM_QUERIES_MAX
from heed_proto.v1 import preference_service_pb2 as preference

STREAM_BACKOFF_SECONDS: Final = (0.02, 0.5)
"""The wait before a next stream after one that broke, doubled each time, and its upper end; the
half of it is left to chance."""
REQUESTS_IN_FLIGHT_MAX: Final = 4
"""Requests sent and not answered. Higher: fewer queries go together, and wait longer behind others.
Lower: the server waits for the network."""
_DOUBLINGS_MAX: Final = 10

CHECKS_WAITING_MAX: Final = 10_000
"""Checks of one stream that were not sent yet; one more is OVERLOADED."""


@dataclass(slots=True, eq=False)
class Question:
    """One check that somebody waits for."""

    request: preference.CheckSuppressionRequest
    settle: Callable[[CheckAnswer | HeedError], None]
    """Called once, by whoever reads the stream."""
    attempts: int = 0
    is_over: bool = False
    """Whether nobody waits any more: it is not sent, and its answer falls to the ground."""


class Asking:
    """The checks of one caller. Whoever uses it sees to it that only one thread does at a time."""

    def __init__(self, spec: CheckStreamSpec, address: str) -> None:
        """`address` is for messages."""
        self._spec = spec
        self._address = address
        self._waiting: deque[Question] = deque()
        self._in_flight: deque[tuple[int, list[Question]]] = deque()
        self._sequence = 0
        self._is_answering = False
        """Whether the stream that is open has answered something."""
        self._broken_in_a_row = 0
        self._chance = random.Random()  # noqa: S311 - it spreads reconnects, and hides nothing

    @property
    def pause_seconds(self) -> float:
        """How long to wait before the next stream; 0 after one that ended well."""
        first, most = STREAM_BACKOFF_SECONDS
        longest = min(first * 2 ** (self._broken_in_a_row - 1), most)
        return self._chance.uniform(0.5, 1) * longest if self._broken_in_a_row else 0.0

    @property
    def has_waiting(self) -> bool:
        """Whether something is to be sent."""
        return bool(self._waiting)

    def add(self, question: Question) -> None:
        """Have a check asked.

        Raises:
            ExhaustedError: OVERLOADED.
        """
        if len(self._waiting) >= CHECKS_WAITING_MAX:
            raise ExhaustedError(
                f"{CHECKS_WAITING_MAX} checks wait for this stream; wait, then ask again",
                reason=ErrorReason.OVERLOADED,
                metadata={"limit": "CHECKS_WAITING_MAX"},
            )
        self._waiting.append(question)

    def next_request(self) -> bytes | None:
        """Return the next request to send; None: nothing waits, or enough is under way."""
        # A stream that is refused says so most clearly to whoever is not sending just then.
        if len(self._in_flight) >= (REQUESTS_IN_FLIGHT_MAX if self._is_answering else 1):
            return None
        together = self._together()
        if not together:
            return None
        self._sequence += 1
        self._in_flight.append((self._sequence, together))
        first = together[0].request
        return preference.StreamCheckSuppressionRequest(
            tenant=first.tenant,
            queries=[one.request.query for one in together],
            token=first.token,
            sequence=self._sequence,
        ).SerializeToString()

    def take(self, data: bytes) -> None:
        """Hand out what came.

        Raises:
            UnavailableError: it answers nothing that can be told apart; end the stream.
        """
        answer = decoded(data, self._spec, address=self._address, idempotency_key="")
        sequence, together = self._in_flight[0] if self._in_flight else (0, [])
        if answer.sequence != sequence or not together:
            raise self.broken(f"the answer to request {answer.sequence} came out of turn")
        told = read.check_stream(answer, asked=len(together))
        self._in_flight.popleft()
        self._is_answering = True
        self._broken_in_a_row = 0
        for at, (question, one) in enumerate(zip(together, told, strict=True)):
            self._settle(
                question,
                one if isinstance(one, CheckAnswer) else advised(_of_one(one, at), self._spec, ""),
            )

    def ended(self, error: HeedError | None) -> None:
        """Note that the stream ended, with an error or without one."""
        unanswered = [one for _, together in self._in_flight for one in together]
        self._in_flight.clear()
        self._is_answering = False
        if error is not None:
            self._broken_in_a_row = min(self._broken_in_a_row + 1, _DOUBLINGS_MAX)
        if error is not None and not isinstance(error, UnavailableError):
            self.refuse(error, unanswered)
            return
        again: list[Question] = []
        for question in unanswered:
            if question.attempts < ATTEMPTS_MAX:
                again.append(question)
            else:
                told = error or self.broken("the stream ended before it answered")
                self._settle(question, copy(told))
        self._waiting.extendleft(reversed(again))

    def refuse(self, error: HeedError, unanswered: list[Question] | None = None) -> None:
        """Settle every check that waits with an error."""
        refused = [*(unanswered or ()), *self._waiting]
        refused += [one for _, together in self._in_flight for one in together]
        self._in_flight.clear()
        self._waiting.clear()
        for question in refused:
            self._settle(question, copy(error))

    def broken(self, why: str) -> HeedError:
        """Return the error of checks that were not answered."""
        problem = f"no answer from {self._address}: {why}"
        return advised(
            UnavailableError(problem, reason=ErrorReason.SERVER_UNREACHABLE), self._spec, ""
        )

    def late(self, seconds: float) -> HeedError:
        """Return the error of a check that waited for so long."""
        return self.broken(f"not within {seconds:g} s")

    def _together(self) -> list[Question]:
        """The oldest that wait, as far as they can be asked in one request."""
        together: list[Question] = []
        while self._waiting and len(together) < STREAM_QUERIES_MAX:
            question = self._waiting[0]
            if together and not _go_together(together[0], question):
                break
            self._waiting.popleft()
            if not question.is_over:
                question.attempts += 1
                together.append(question)
        return together

    def _settle(self, question: Question, told: CheckAnswer | HeedError) -> None:
        if question.is_over:
            return
        question.is_over = True
        question.settle(told)


def _of_one(error: HeedError, at: int) -> HeedError:
    """The error as the caller of one check knows it, who asked no list of queries."""
    if not isinstance(error, InvalidArgumentError):
        return error
    path = f"queries[{at}]"
    metadata = {name: value.replace(path, "query") for name, value in error.metadata.items()}
    return InvalidArgumentError(
        error.message.replace(path, "query"),
        violations=[
            FieldViolation(one.field.replace(path, "query"), one.description)
            for one in error.violations
        ],
        reason=error.reason,
        metadata=metadata,
    )


def _go_together(one: Question, other: Question) -> bool:
    return (one.request.tenant, one.request.token) == (other.request.tenant, other.request.token)

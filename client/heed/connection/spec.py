"""What is said of one call: its path, its messages, its deadline, whether it is retried."""

import enum
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from heed.requests import require_seconds

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
Q_co = TypeVar("Q_co", bound=Message, covariant=True)
A_co = TypeVar("A_co", bound=Message, covariant=True)


class Kind(enum.Enum):
    """What a call is, which is what its failure means."""

    DECISION = "decision"
    """Asks whether to send: without an answer, do not."""
    READ = "read"
    WRITE = "write"
    """Without an answer it may or may not have happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSpec(Generic[Q_co, A_co]):
    """One call."""

    service: str
    name: str
    request: type[Q_co]
    answer: type[A_co]
    kind: Kind
    timeout_seconds: float
    """How long a caller waits who does not say: all attempts together."""
    is_retried: bool = True

    @property
    def path(self) -> str:
        """What the call is named on the wire."""
        return f"/{self.service}/{self.name}"

    def seconds_within(self, *said: float | None) -> float:
        """How long a call may take: the first time that a caller said, else its own.

        Raises:
            InvalidArgumentError: what was said is no number of seconds.
        """
        for timeout in said:
            if timeout is not None:
                require_seconds(timeout, "timeout")
                return timeout
        return self.timeout_seconds

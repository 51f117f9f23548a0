"""Why something is not published now. None of these reaches a caller of heed."""

from heed.errors import UnavailableError


class NatsAwayError(UnavailableError):
    """NATS cannot be reached, or does not answer in time. What was under way may be stored."""


class OvertakenError(UnavailableError):
    """Somebody else has published to the stream since this node looked; nothing was added."""


class StreamRefusedError(UnavailableError):
    """The stream is not one that can be published to without doubt; an operator has to look."""

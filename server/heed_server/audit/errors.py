"""What keeps a log from being signed."""

from heed_server.store import LogDamagedError


class LogNotSignedError(LogDamagedError):
    """The rows are not those that were signed before, or not what they say. Nothing is signed."""

"""What goes wrong with keys. No message holds any part of one."""

from heed.errors import UnavailableError


class SecretsError(UnavailableError):
    """A key is not there, is not the one that was used, or is open to others; says what to do."""

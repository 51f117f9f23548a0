"""The one error of everything here that checks."""


class ProofError(ValueError):
    """What was given does not prove what it claims to; it says where and why."""

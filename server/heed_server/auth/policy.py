"""What a caller may do: rights, the principal that has them, and the one question about them.

Laws:
- Denied by default: a principal has exactly the rights it was given; no right implies another.
- The tenant comes from the principal. A request's own tenant may only narrow it
  (`heed_server.service`).
Source: design, section 6; docs/operations.md has the table of which call needs which right.
"""

import enum
from dataclasses import dataclass

from heed.errors import RightRequiredError


class Right(enum.StrEnum):
    """One thing a principal may be allowed to do."""

    CHECK = "check"
    """Ask for decisions, and list topics."""
    WATCH = "watch"
    """Follow the log. It comes with the lookup key, by which guessed addresses can be tested."""
    WRITE = "write"
    """Record choices, and read what stands for a person; an opt-in needs `consent` besides."""
    CONSENT = "consent"
    """Record opt-ins, where `write` is there too."""
    SUPPRESS = "suppress"
    """Add, import and release suppressions."""
    ADMIN = "admin"
    """Create and list tenants; declare, loosen and retire topics."""
    AUDIT = "audit"
    """Explain decisions, with who said so."""
    OPERATE = "operate"
    """Place, lift and list holds."""
    EXPORT = "export"
    """List suppressions and export records, with readable addresses."""


EVERY_TENANT = ""
"""The tenant of a principal that is bound to none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls, what they may do, and in which tenant."""

    name: str
    """For logs and counters: a key's name, never a secret."""
    rights: frozenset[Right]
    tenant: str = EVERY_TENANT
    """A tenant's name, or `EVERY_TENANT`."""

    @property
    def identity(self) -> tuple[str, str]:
        """What tells it from others: those of other tenants may have the same name."""
        return self.tenant, self.name


OPEN = Principal(name="open", rights=frozenset(Right))
"""Whoever calls a server that listens on loopback without asking for keys."""


def require(principal: Principal, right: Right) -> None:
    """Return if the principal has the right.

    Raises:
        RightRequiredError: it has not; the metadata names the right.
    """
    if right not in principal.rights:
        raise RightRequiredError(
            f"{principal.name!r} lacks the right {right.value!r}; ask for a credential that has it",
            metadata={"right": right.value},
        )

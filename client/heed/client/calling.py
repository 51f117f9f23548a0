"""What every group of a client's methods stands on."""

from collections.abc import Callable

from heed.connection.calls import AsyncCalls


class Calling:
    """A connection, and what goes with every call over it."""

    def __init__(self, calls: AsyncCalls, *, tenant: str, new_key: Callable[[], str]) -> None:
        """`tenant` is meant where a call names none; `new_key` makes idempotency keys."""
        self._calls = calls
        self._tenant = tenant
        self._new_key = new_key

    def _tenant_or(self, tenant: str | None) -> str:
        return self._tenant if tenant is None else tenant

    def _key_or(self, idempotency_key: str | None) -> str:
        """The key of one call: all its attempts have the same."""
        return self._new_key() if idempotency_key is None else idempotency_key

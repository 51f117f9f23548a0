"""The client's methods of AdminService about webhooks."""

from collections.abc import AsyncIterator, Sequence

from heed.client.calling import Calling
from heed.connection import methods
from heed.webhooks import DeadLetter, WebhookTarget
from heed.wire import ask_webhooks, read_webhooks


class WebhookMethods(Calling):
    """Where webhooks stand, and what was given up."""

    async def list_webhook_targets(
        self, *, tenant: str | None = None, timeout: float | None = None
    ) -> tuple[WebhookTarget, ...]:
        """Ask where webhooks stand: every target that the tenant has had, by name."""
        request = ask_webhooks.list_webhook_targets(self._tenant_or(tenant))
        answer = await self._calls.unary(methods.LIST_WEBHOOK_TARGETS, request, timeout=timeout)
        return read_webhooks.webhook_targets(answer)

    async def list_dead_letters(
        self, target: str, *, tenant: str | None = None, timeout: float | None = None
    ) -> AsyncIterator[DeadLetter]:
        """Yield the events that were given up for a target, the longest ago first.

        Raises:
            NotFoundError: WEBHOOK_TARGET_UNKNOWN.
        """
        page_token = ""
        while True:
            request = ask_webhooks.list_dead_letters(self._tenant_or(tenant), target, page_token)
            page = await self._calls.unary(methods.LIST_DEAD_LETTERS, request, timeout=timeout)
            for letter in page.letters:
                yield read_webhooks.dead_letter(letter)
            page_token = page.next_page_token
            if not page_token:
                return

    async def replay_dead_letters(
        self,
        target: str,
        letter_ids: Sequence[str] | None,
        *,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Have events sent anew, each with all of its subject's since; None: all of the target's.

        Returns how many there were. Sent again it finds none.

        Raises:
            NotFoundError: WEBHOOK_TARGET_UNKNOWN.
        """
        request = ask_webhooks.replay_dead_letters(self._tenant_or(tenant), target, letter_ids)
        answer = await self._calls.unary(methods.REPLAY_DEAD_LETTERS, request, timeout=timeout)
        return answer.letters

    async def discard_dead_letters(
        self,
        target: str,
        letter_ids: Sequence[str] | None,
        *,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete events that were given up; None: all of the target's. The log keeps its changes.

        Returns how many there were. Sent again it finds none.

        Raises:
            NotFoundError: WEBHOOK_TARGET_UNKNOWN.
        """
        request = ask_webhooks.discard_dead_letters(self._tenant_or(tenant), target, letter_ids)
        answer = await self._calls.unary(methods.DISCARD_DEAD_LETTERS, request, timeout=timeout)
        return answer.letters

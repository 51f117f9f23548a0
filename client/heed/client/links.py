"""The client's methods that make links: what a message carries, so that it can be stopped."""

from collections.abc import Iterable

from heed.client.calling import Calling
from heed.connection import methods
from heed.links import Link
from heed.model import TOPIC_ROOT, Channel, Subject
from heed.requests import LinkTarget
from heed.wire import ask, read


class LinkMethods(Calling):
    """Links by which recipients stop messages (docs/unsubscribe.md)."""

    async def make_link(
        self,
        subject: Subject,
        *,
        channel: Channel | str = Channel.ANY,
        topic: str = TOPIC_ROOT,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> Link:
        """Return a link that stops messages to a subject at a scope; nothing is written.

            link = await client.make_link(heed.email(address), topic="marketing.weekly")
            message["List-Unsubscribe"] = link.headers["List-Unsubscribe"]

        Without channel and topic it stops everything that is not transactional. A target has one
        link, which never ends: it may be kept and used again. `timeout` is in seconds, 5 if not
        given.

        Raises:
            ConflictError: LINKS_NOT_SERVED, the server does not know where its links are served.
            HeedError: any other refusal.
        """
        target = LinkTarget(subject=subject, channel=channel, topic=topic)
        (link,) = await self.make_links([target], tenant=tenant, timeout=timeout)
        return link

    async def make_links(
        self,
        targets: Iterable[LinkTarget],
        *,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> tuple[Link, ...]:
        """Return links for up to 1,000 targets, in their order. Raises as `make_link`."""
        request = ask.make_links(self._tenant_or(tenant), targets)
        answer = await self._calls.unary(methods.MAKE_LINKS, request, timeout=timeout)
        return read.links(answer, asked=len(request.targets))

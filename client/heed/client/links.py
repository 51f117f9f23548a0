"""The client's methods that make links: what messages carry to be stopped by, and page links."""

from collections.abc import Iterable, Sequence

from heed.client.calling import Calling
from heed.connection import methods
from heed.links import Link, PageLink
from heed.model import TOPIC_ROOT, Channel, Subject
from heed.requests import Identifiers, LinkTarget, PageTarget
from heed.wire import ask, read


class LinkMethods(Calling):
    """Links by which recipients stop messages, and see to their choices (docs/unsubscribe.md)."""

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

    async def make_page_link(
        self,
        *,
        email: Identifiers = None,
        phone: Identifiers = None,
        user: Identifiers = None,
        device: Identifiers = None,
        subjects: Sequence[Subject] = (),
        jurisdiction: str = "",
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> PageLink:
        """Return a link that opens one person's preference page; nothing is written.

            link = await client.make_page_link(email=address, user=user_id)

        Name every identifier that is known of them. Whoever has the link sees what stands for that
        person, and chooses for them, until it expires; from then on it can only stop. So give it
        only to the person: behind their sign-in, or in a message that they asked for. `timeout` is
        in seconds, 5 if not given.

        Raises:
            ConflictError: LINKS_NOT_SERVED, the server does not know where its links are served.
            RightRequiredError: the right `consent`, or `write`, is missing.
            HeedError: any other refusal.
        """
        target = PageTarget(
            email=email,
            phone=phone,
            user=user,
            device=device,
            subjects=subjects,
            jurisdiction=jurisdiction,
        )
        (link,) = await self.make_page_links([target], tenant=tenant, timeout=timeout)
        return link

    async def make_page_links(
        self,
        targets: Iterable[PageTarget],
        *,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> tuple[PageLink, ...]:
        """Return page links of up to 1,000 people, in their order. Raises as `make_page_link`."""
        request = ask.make_page_links(self._tenant_or(tenant), targets)
        answer = await self._calls.unary(methods.MAKE_PAGE_LINKS, request, timeout=timeout)
        return read.page_links(answer, asked=len(request.targets))

"""The client's methods of PreferenceService: check, set, get."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from heed.answers import BatchSetAnswer, CheckAnswer, Preferences, SetAnswer
from heed.client.cached import CachedCalling
from heed.client.check_stream import CheckStream
from heed.connection import methods
from heed.hours import QuietPeriod
from heed.model import TOPIC_ROOT, Channel, Evidence, Method, Reach, Subject
from heed.names import named
from heed.requests import (
    Choice,
    EndPause,
    EndQuietHours,
    Identifiers,
    OptIn,
    OptOut,
    Origin,
    Pause,
    PersonChoices,
    Query,
    QuietHours,
    subjects_of,
)
from heed.wire import ask, read


class PreferenceMethods(CachedCalling):
    """Check before sending; record what people choose."""

    async def check(
        self,
        *,
        channel: Channel | str,
        topic: str = TOPIC_ROOT,
        campaign: str = "",
        email: Identifiers = None,
        phone: Identifiers = None,
        user: Identifiers = None,
        device: Identifiers = None,
        subjects: Sequence[Subject] = (),
        reference: str = "",
        token: str = "",
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> CheckAnswer:
        """Ask whether one message may be sent now; send only if `answer.allowed`.

        Name every identifier that is known of the person: naming one more never allows more.
        `token`, of an earlier answer: this answer is of that revision or later. `reference` is your
        own name of the message, kept by a server with a decision log; no address belongs there.
        `timeout` is in seconds; if it is not given 0.05, once the client has made its first
        connection.

        With a cache the answer is of this host where that is young enough for it, and the policy's
        where no server answers (docs/cache.md); `answer.source` and `answer.age` say so.

        Raises:
            UnavailableError: no answer; the safe one is to suppress, that is not to send.
            InvalidArgumentError: something asked is malformed.
            HeedError: any other refusal; whatever it is, do not send.
        """
        cache = self._cache or self._opened_cache()
        if cache is not None:
            answer = cache.recall(
                channel, topic, campaign, email, phone, user, device, subjects, token, tenant
            )
            if answer is not None:
                return answer
        query = Query(
            channel=channel,
            topic=topic,
            campaign=campaign,
            email=email,
            phone=phone,
            user=user,
            device=device,
            subjects=subjects,
            reference=reference,
        )
        if cache is not None:
            return await self._check_cached(cache, query, token, tenant, timeout)
        request = ask.check(self._tenant_or(tenant), query, token)
        return read.check(await self._calls.unary(methods.CHECK, request, timeout=timeout))

    async def check_many(
        self,
        queries: Iterable[Query],
        *,
        token: str = "",
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> tuple[CheckAnswer, ...]:
        """Ask about up to 10,000 messages at one revision; the answers are in their order.

        `timeout` is in seconds, 1 if not given. A cache answers all of them or asks about all.
        Raises as `check`.
        """
        cache = self._cache or self._opened_cache()
        if cache is not None:
            return await self._check_many_cached(cache, list(queries), token, tenant, timeout)
        request = ask.check_many(self._tenant_or(tenant), queries, token)
        answer = await self._calls.unary(methods.CHECK_MANY, request, timeout=timeout)
        return read.check_many(answer, asked=len(request.queries))

    def check_stream(
        self, *, tenant: str | None = None, timeout: float | None = None
    ) -> CheckStream:
        """Return a stream of checks, for `async with`: for many that are asked at the same time.

            async with client.check_stream() as stream:
                answer = await stream.check(email=address, channel="email", topic="marketing")

        It always asks a server, also with a cache. `timeout` is of each check, 1 s if not given.
        A stream that the server ends is opened again, and what was not answered is asked again.
        """
        return CheckStream(
            self._calls.conversation(methods.CHECK_STREAM, timeout=timeout),
            tenant=self._tenant_or(tenant),
        )

    async def set_preference(
        self,
        *,
        choices: Sequence[Choice],
        origin: Origin,
        email: Identifiers = None,
        phone: Identifiers = None,
        user: Identifiers = None,
        device: Identifiers = None,
        subjects: Sequence[Subject] = (),
        wait_propagated: float | None = None,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> SetAnswer:
        """Record the choices of one person, under each identifier named, all or none.

        Returns once they are committed and fsynced. `idempotency_key`: a new one if not given; all
        attempts of this call share it. `timeout` is in seconds, 2 if not given.
        `wait_propagated`: wait up to so many seconds more, 30 at most, until every subscriber has
        applied it; the answer says in `propagated` whether they have. Waiting fails nothing.

        Raises:
            OutcomeUnknownError: it may or may not have happened; call again with the key in
                `error.metadata["idempotency_key"]`.
            ConflictError: CONSENT_REQUIRED, it would weaken a protection without the person's act.
            HeedError: any other refusal; nothing changed.
        """
        key = self._key_or(idempotency_key)
        person = PersonChoices(
            choices=choices,
            email=email,
            phone=phone,
            user=user,
            device=device,
            subjects=subjects,
        )
        request = ask.set_preference(
            self._tenant_or(tenant), key, person, origin, wait_propagated=wait_propagated
        )
        if wait_propagated is not None and timeout is None:
            # The server waits for nine tenths of what is left, and then still has to answer.
            timeout = methods.SET_PREFERENCE.timeout_seconds + max(wait_propagated, 0) / 0.9
        answer = await self._calls.unary(
            methods.SET_PREFERENCE, request, timeout=timeout, idempotency_key=key
        )
        return read.set_preference(answer, key)

    async def opt_out(
        self,
        *,
        source: str,
        channel: Channel | str = Channel.ANY,
        topic: str = TOPIC_ROOT,
        reach: Reach | str = Reach.PROMOTIONAL,
        email: Identifiers = None,
        phone: Identifiers = None,
        user: Identifiers = None,
        device: Identifiers = None,
        subjects: Sequence[Subject] = (),
        actor: str = "",
        method: Method | str = Method.UNSPECIFIED,
        jurisdiction: str = "",
        reference: str = "",
        decided_time: datetime | None = None,
        no_ask_until: datetime | None = None,
        wait_propagated: float | None = None,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> SetAnswer:
        """Record that the person wants no more of this; `set_preference` with one `OptOut`.

        Without channel and topic it is "unsubscribe from all": every message channel, every topic.
        Without `decided_time` it counts from its commit. `no_ask_until`: until then the person is
        not to be asked to opt in again; it is kept for pages that would ask.
        """
        return await self.set_preference(
            choices=[OptOut(channel=channel, topic=topic, reach=reach, no_ask_until=no_ask_until)],
            origin=Origin(
                source=source,
                actor=actor,
                method=named(Method, method, "method"),
                jurisdiction=jurisdiction,
                reference=reference,
                decided_time=decided_time,
            ),
            email=email,
            phone=phone,
            user=user,
            device=device,
            subjects=subjects,
            wait_propagated=wait_propagated,
            idempotency_key=idempotency_key,
            tenant=tenant,
            timeout=timeout,
        )

    async def opt_in(
        self,
        *,
        source: str,
        channel: Channel | str,
        topic: str,
        evidence: Evidence,
        method: Method | str,
        decided_time: datetime,
        end_time: datetime | None = None,
        email: Identifiers = None,
        phone: Identifiers = None,
        user: Identifiers = None,
        device: Identifiers = None,
        subjects: Sequence[Subject] = (),
        actor: str = "",
        jurisdiction: str = "",
        reference: str = "",
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> SetAnswer:
        """Record that the person wants this; `set_preference` with one `OptIn`.

        Nothing of it is defaulted: what they were shown, how and when they decided, and for what.
        It lifts earlier opt-outs of these subjects at this scope or beneath a wider one's; those
        that still stand are in the answer's `standing`.
        """
        return await self.set_preference(
            choices=[OptIn(channel=channel, topic=topic, evidence=evidence, end_time=end_time)],
            origin=Origin(
                source=source,
                actor=actor,
                method=named(Method, method, "method"),
                jurisdiction=jurisdiction,
                reference=reference,
                decided_time=decided_time,
            ),
            email=email,
            phone=phone,
            user=user,
            device=device,
            subjects=subjects,
            idempotency_key=idempotency_key,
            tenant=tenant,
            timeout=timeout,
        )

    async def pause(
        self,
        *,
        source: str,
        end_time: datetime,
        channel: Channel | str = Channel.ANY,
        topic: str = TOPIC_ROOT,
        reach: Reach | str = Reach.PROMOTIONAL,
        email: Identifiers = None,
        phone: Identifiers = None,
        user: Identifiers = None,
        device: Identifiers = None,
        subjects: Sequence[Subject] = (),
        actor: str = "",
        method: Method | str = Method.UNSPECIFIED,
        jurisdiction: str = "",
        reference: str = "",
        decided_time: datetime | None = None,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> SetAnswer:
        """Record that the person wants none of this until `end_time`; one `Pause`.

        Its end restores exactly what stood before. Shortening a pause that stands needs `method`.
        """
        return await self.set_preference(
            choices=[Pause(channel=channel, topic=topic, reach=reach, end_time=end_time)],
            origin=Origin(
                source=source,
                actor=actor,
                method=named(Method, method, "method"),
                jurisdiction=jurisdiction,
                reference=reference,
                decided_time=decided_time,
            ),
            email=email,
            phone=phone,
            user=user,
            device=device,
            subjects=subjects,
            idempotency_key=idempotency_key,
            tenant=tenant,
            timeout=timeout,
        )

    async def end_pause(
        self,
        *,
        source: str,
        method: Method | str,
        channel: Channel | str = Channel.ANY,
        topic: str = TOPIC_ROOT,
        email: Identifiers = None,
        phone: Identifiers = None,
        user: Identifiers = None,
        device: Identifiers = None,
        subjects: Sequence[Subject] = (),
        actor: str = "",
        jurisdiction: str = "",
        reference: str = "",
        decided_time: datetime | None = None,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> SetAnswer:
        """Record that the person ends their own pause at exactly this scope; one `EndPause`."""
        return await self.set_preference(
            choices=[EndPause(channel=channel, topic=topic)],
            origin=Origin(
                source=source,
                actor=actor,
                method=named(Method, method, "method"),
                jurisdiction=jurisdiction,
                reference=reference,
                decided_time=decided_time,
            ),
            email=email,
            phone=phone,
            user=user,
            device=device,
            subjects=subjects,
            idempotency_key=idempotency_key,
            tenant=tenant,
            timeout=timeout,
        )

    async def quiet_hours(
        self,
        *,
        source: str,
        time_zone: str,
        periods: Sequence[QuietPeriod | str],
        channel: Channel | str = Channel.ANY,
        topic: str = TOPIC_ROOT,
        reach: Reach | str = Reach.PROMOTIONAL,
        email: Identifiers = None,
        phone: Identifiers = None,
        user: Identifiers = None,
        device: Identifiers = None,
        subjects: Sequence[Subject] = (),
        actor: str = "",
        method: Method | str = Method.UNSPECIFIED,
        jurisdiction: str = "",
        reference: str = "",
        decided_time: datetime | None = None,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> SetAnswer:
        """Record at which hours the person wants none of this; one `QuietHours`.

        `periods` are by the clock of `time_zone`: `["22:00-08:00", "sat,sun 08:00-10:00"]`. At one
        scope the latest replaces the earlier; what leaves an hour free needs `method`.
        """
        return await self.set_preference(
            choices=[
                QuietHours(
                    channel=channel, topic=topic, reach=reach, time_zone=time_zone, periods=periods
                )
            ],
            origin=Origin(
                source=source,
                actor=actor,
                method=named(Method, method, "method"),
                jurisdiction=jurisdiction,
                reference=reference,
                decided_time=decided_time,
            ),
            email=email,
            phone=phone,
            user=user,
            device=device,
            subjects=subjects,
            idempotency_key=idempotency_key,
            tenant=tenant,
            timeout=timeout,
        )

    async def end_quiet_hours(
        self,
        *,
        source: str,
        method: Method | str,
        channel: Channel | str = Channel.ANY,
        topic: str = TOPIC_ROOT,
        email: Identifiers = None,
        phone: Identifiers = None,
        user: Identifiers = None,
        device: Identifiers = None,
        subjects: Sequence[Subject] = (),
        actor: str = "",
        jurisdiction: str = "",
        reference: str = "",
        decided_time: datetime | None = None,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> SetAnswer:
        """Record that the person ends their own quiet hours at exactly this scope."""
        return await self.set_preference(
            choices=[EndQuietHours(channel=channel, topic=topic)],
            origin=Origin(
                source=source,
                actor=actor,
                method=named(Method, method, "method"),
                jurisdiction=jurisdiction,
                reference=reference,
                decided_time=decided_time,
            ),
            email=email,
            phone=phone,
            user=user,
            device=device,
            subjects=subjects,
            idempotency_key=idempotency_key,
            tenant=tenant,
            timeout=timeout,
        )

    async def set_preferences(
        self,
        people: Iterable[PersonChoices],
        *,
        origin: Origin | None = None,
        batch_id: str = "",
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> BatchSetAnswer:
        """Record the choices of up to 1,000 people in one transaction: all of them, or none.

        `origin` is that of people who have none of their own. With a `batch_id` it can be undone
        by `revert_batch`, with the other calls that named it. `timeout` is in seconds, 10 if not
        given. Raises as `set_preference`.
        """
        key = self._key_or(idempotency_key)
        request = ask.set_preferences(self._tenant_or(tenant), key, people, origin, batch_id)
        answer = await self._calls.unary(
            methods.SET_PREFERENCES, request, timeout=timeout, idempotency_key=key
        )
        return read.set_preferences(answer, key)

    async def get_preferences(
        self,
        *,
        email: Identifiers = None,
        phone: Identifiers = None,
        user: Identifiers = None,
        device: Identifiers = None,
        subjects: Sequence[Subject] = (),
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> Preferences:
        """Return every record that stands for a person, with who said so.

        Raises:
            UnavailableError: the server or its database does not answer.
            HeedError: any other refusal.
        """
        request = ask.get_preferences(
            self._tenant_or(tenant),
            subjects_of(email=email, phone=phone, user=user, device=device, subjects=subjects),
        )
        answer = await self._calls.unary(methods.GET_PREFERENCES, request, timeout=timeout)
        return read.preferences(answer)

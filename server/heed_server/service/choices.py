"""What people choose: SetPreference, BatchSetPreferences, GetPreferences.

An opt-in needs the right `consent` besides. Whether a choice may stand is judged under the log's
lock, by the store; whether the caller may make it at all, here.
"""

from heed.acts import Outcome, PersonChoices, SetPreferences, only_stops
from heed.model import ChoiceKind, Instant
from heed.still_sent import plan
from heed.wire import outcomes
from heed.wire.asked import PersonAsked, PersonQuery, PreferencesAsked, WriteCall
from heed_server.auth.policy import Principal, Right, require
from heed_server.rates import RateKind
from heed_server.service.capped import Capped
from heed_server.service.node import keyed
from heed_server.service.tenants import TenantContext
from heed_server.store import Standing
from heed_server.writes import Appended


class Choices(Capped):
    """Takes people's choices and tells what stands for them."""

    async def set_preference(self, principal: Principal, asked: PreferencesAsked) -> Appended:
        """Record one person's choices under each of their identifiers. Idempotent by key.

        Raises:
            RightRequiredError: the right `write`, or `consent` for an opt-in, is missing.
            ExhaustedError: RATE_LIMITED, or there is no place for it; never for stops alone.
            ConflictError: APPROVAL_REQUIRED, there are too many consents; never for stops alone.
            HeedError: as `Node.append`.
        """
        context = self.enter("SetPreference", principal, asked.call.tenant)
        _require_consent_right(principal, asked)
        (person,) = asked.people
        if only_stops(person.choices):
            return await self.record_choices(context, None, asked.call, person)
        self.admission.rates.take(RateKind.WRITES, principal)
        with self.admission.place(principal):
            return await self.record_choices(context, principal, asked.call, person)

    async def batch_set_preferences(
        self, principal: Principal, asked: PreferencesAsked
    ) -> Appended:
        """Record the choices of several people: all or none. Idempotent by key.

        Raises: as `set_preference`.
        """
        context = self.enter("BatchSetPreferences", principal, asked.call.tenant)
        _require_consent_right(principal, asked)
        records = sum(len(one.subjects) * len(one.choices) for one in asked.people)
        self.admission.rates.take(RateKind.RECORDS, principal, records)

        def encode_answer(outcome: Outcome) -> bytes:
            return outcomes.preferences_set(context.tenant.tenant_id, outcome, len(asked.people))

        act = SetPreferences(
            people=tuple(_keyed_person(context, one) for one in asked.people),
            batch_id=asked.batch_id,
        )
        return await self.append_capped(
            context, principal, "BatchSetPreferences", asked.call, act, encode_answer
        )

    async def get_preferences(
        self, principal: Principal, asked: PersonQuery
    ) -> tuple[TenantContext, Standing, Instant]:
        """Return what stands for a person, as the store has it.

        Raises:
            UnavailableError: the database does not answer.
        """
        context = self.enter("GetPreferences", principal, asked.tenant)
        keys = [key for keys in context.keys_of(asked.subjects) for key in keys]
        standing = await self.store.standing(context.tenant.tenant_id, keys)
        return context, standing, self.now()

    async def record_choices(
        self,
        context: TenantContext,
        capped: Principal | None,
        call: WriteCall,
        person: PersonAsked,
    ) -> Appended:
        """Record what somebody may choose; `capped` is whose caps it is under, if any.

        Raises: as `set_preference`, and never for a right.
        """
        still_sent = plan(context.follower.index.topics, person.choices)

        def encode_answer(outcome: Outcome) -> bytes:
            return outcomes.preference_set(context.tenant.tenant_id, outcome, still_sent)

        act = SetPreferences(people=(_keyed_person(context, person),))
        if capped is None:
            return await self.append(context, "SetPreference", call, act, encode_answer)
        return await self.append_capped(context, capped, "SetPreference", call, act, encode_answer)


def _require_consent_right(principal: Principal, asked: PreferencesAsked) -> None:
    if any(
        choice.kind is ChoiceKind.OPT_IN for person in asked.people for choice in person.choices
    ):
        require(principal, Right.CONSENT)


def _keyed_person(context: TenantContext, person: PersonAsked) -> PersonChoices:
    return PersonChoices(
        subjects=tuple(keyed(context, subject) for subject in person.subjects),
        choices=person.choices,
        origin=person.origin,
    )

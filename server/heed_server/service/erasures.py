"""What is known of one person: erased, but for the stops (ADR 0030)."""

from heed.acts import EraseSubjects, Outcome
from heed.wire import outcomes
from heed.wire.asked import ErasureAsked
from heed_server.auth.policy import Principal
from heed_server.service.node import Node
from heed_server.writes import Appended


class Erasures(Node):
    """Erases what is known of people."""

    async def erase_subject(
        self, principal: Principal, asked: ErasureAsked
    ) -> tuple[Appended, bool]:
        """Erase a person, and say whether what is erased is overwritten in the files too.

        A crash before the answer leaves an erasure that may be missing from the ledger; the same
        call again, or another erasure of the person, completes it.

        Raises:
            OutcomeUnknownError: it is in the log, but not in the ledger; send it again.
            HeedError: as `Node.append`.
        """
        context = self.enter("EraseSubject", principal, asked.call.tenant)
        keys = tuple(context.keyer.key(subject) for subject in asked.subjects)

        def encode_answer(outcome: Outcome) -> bytes:
            return outcomes.subject_erased(context.tenant.tenant_id, outcome)

        act = EraseSubjects(keys=keys, origin=asked.origin, reason=asked.reason)
        appended = await self.append(context, "EraseSubject", asked.call, act, encode_answer)
        is_overwritten = await self.store.finish_erasure(context.tenant.tenant_id, keys)
        return appended, is_overwritten

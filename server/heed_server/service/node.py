"""What every part of the service stands on: entering a tenant, and writing to its log.

Laws:
- A method authorises before it acts, by the one table (`rights`), and takes its tenant from the
  principal first.
- A write is answered only once this node's index has it: from then on no Check here is of before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from heed.acts import Act, KeyedSubject, Outcome, subjects_of, with_keys
from heed.errors import ErrorReason, OutcomeUnknownError, UnavailableError
from heed.model import Change, Instant, Revision, Subject, SubjectKey, TenantId
from heed.tokens import encode_token
from heed.wire.asked import WriteCall
from heed_server.audit import Prover
from heed_server.auth.policy import Principal, require
from heed_server.deadlines import DeadlineRules
from heed_server.propagation import Registry
from heed_server.service.activity import Activity
from heed_server.service.admission import Admission
from heed_server.service.answering import (
    INDEX_WAIT_SECONDS_MAX,
    Answering,
    MaxStaleness,
    other_time,
)
from heed_server.service.caps import Caps
from heed_server.service.link_keys import LinkKeys
from heed_server.service.opt_outs import OptOuts
from heed_server.service.rights import RIGHT_OF_METHOD
from heed_server.service.tally import Tally
from heed_server.service.tenants import TenantContext, Tenants
from heed_server.store import Store
from heed_server.watch import Watches
from heed_server.writes import Appended, Spender, Write

_PERSON: Final = b"heed-payload-v1"
"""Sets these hashes apart from those of subjects, under the same key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in the log an answer is true."""

    revision: Revision
    token: str


class Node(Answering):
    """One node's store, tenants and clock; the parts of the service derive from it."""

    def __init__(
        self,
        *,
        store: Store,
        tenants: Tenants,
        watches: Watches,
        registry: Registry,
        prover: Prover,
        now: Callable[[], Instant],
        new_hold_id: Callable[[], str],
        new_approval_id: Callable[[], str],
        new_lookup_key: Callable[[], bytes],
        max_staleness: MaxStaleness | None = None,
        now_by_boot: Callable[[], Instant] | None = None,
        admission: Admission | None = None,
        caps: Caps | None = None,
        public_url: str = "",
        page_link_hours: float = 24.0,
        rules: DeadlineRules | None = None,
        tallies_of_workers: Callable[[], Mapping[TenantId, Tally]] | None = None,
    ) -> None:
        """`public_url` is where links are served; empty: nowhere. `page_link_hours`: for how long
        a page link is good.

        `now_by_boot` is the time as the boot clock has it, which no one sets; None: as `now`.
        """
        super().__init__(now=now, max_staleness=max_staleness, admission=admission)
        self.store = store
        self.tenants = tenants
        self.watches = watches
        self.registry = registry
        self.prover = prover
        self._now_by_boot = now_by_boot or now
        self.new_hold_id = new_hold_id
        self.new_approval_id = new_approval_id
        self.new_lookup_key = new_lookup_key
        self.caps = caps or Caps()
        self.public_url = public_url
        self.page_link_seconds = round(page_link_hours * 3_600)
        self.link_keys = LinkKeys(tenants)
        self.rules = rules or DeadlineRules()
        self.tallies_of_workers = tallies_of_workers or dict
        self.opt_outs = OptOuts(store, self.rules)
        self.activity = Activity(tenants, self.tallies_of_workers, now)
        tenants.tell(self._stand_at_once)

    def _stand_at_once(self, context: TenantContext) -> None:
        """Have the registry know at once what this node's index of a tenant takes."""
        stand = _Stand(self.registry, context.tenant_id, context.follower.revision)
        context.follower.listen(stand)

    def enter(self, method: str, principal: Principal, tenant: str) -> TenantContext:
        """Return the tenant that a call is about, if the principal may make this call.

        Raises:
            RightRequiredError: it may not.
            NotFoundError, InvalidArgumentError: as `Tenants.of`.
        """
        right = RIGHT_OF_METHOD[method]
        if right not in principal.rights:  # a call saved
            require(principal, right)
        return self.tenants.of(principal, tenant)

    def doubted(self, now: Instant) -> Instant | None:
        """Return what time it may be instead of `now`; None while the wall clock is believed.

        Neither of the two is known to be right, so a message is allowed only where both allow it:
        a clock that jumps ends no pause, no hold and no suppression, and revives no consent.
        """
        return other_time(now, self._now_by_boot())

    def require_right(self, method: str, principal: Principal) -> None:
        """Return if the principal may make this call, which is about no one tenant.

        Raises:
            RightRequiredError: it may not.
        """
        require(principal, RIGHT_OF_METHOD[method])

    async def append(
        self,
        context: TenantContext,
        method: str,
        call: WriteCall,
        act: Act,
        encode_answer: Callable[[Outcome], bytes],
        *,
        spender: Spender | None = None,
    ) -> Appended:
        """Write to a tenant's log, and return once this node's index has it.

        Raises:
            OutcomeUnknownError: it is committed, but the index did not follow in time.
            HeedError: as `Store.append`.
        """

        def write() -> Write:
            return _write(context, method, call, act, encode_answer, spender)

        try:
            appended = await self.store.append(write())
        except UnavailableError as error:
            needed = error.metadata.get("needed")
            if error.reason is not ErrorReason.NODE_BEHIND or needed is None:
                raise
            # A lookup key was replaced a moment ago; with it this node makes other keys.
            if not await context.follower.reached(Revision(int(needed)), INDEX_WAIT_SECONDS_MAX):
                raise
            appended = await self.store.append(write())
        # A crash here leaves a committed write without an answer; its key tells.
        if not await context.follower.reached(appended.revision, INDEX_WAIT_SECONDS_MAX):
            raise OutcomeUnknownError(
                "the write is in the log, but this node cannot show it yet; "
                "send the same call with the same key again"
            )
        return appended


class _Stand:
    """Tells the registry of what this node's index of a tenant takes, when it does."""

    def __init__(self, registry: Registry, tenant_id: TenantId, revision: Revision) -> None:
        """`revision` is where it stands already."""
        self._registry = registry
        self._tenant_id = tenant_id
        registry.applied_here(tenant_id, revision)

    def took(self, changes: Sequence[Change]) -> None:
        """Tell of the last of them."""
        self._registry.applied_here(self._tenant_id, changes[-1].revision)

    def made_anew(self) -> None:
        """Tell nothing: where the index then stands is seen within a second."""


def _write(
    context: TenantContext,
    method: str,
    call: WriteCall,
    act: Act,
    encode_answer: Callable[[Outcome], bytes],
    spender: Spender | None,
) -> Write:
    """What the store is given, by the lookup keys that this node knows at this moment."""
    lookup = context.lookup
    named = subjects_of(act)
    older_keys: dict[SubjectKey, tuple[SubjectKey, ...]] = {}
    if lookup.count > 1:
        act = with_keys(act, {one.key: lookup.key(one.subject) for one in named})
        older_keys = {one.key: lookup.older_of(one.subject) for one in subjects_of(act)}
    payload_hash, *earlier = [
        _keyed_hash(one.key, call.payload_hash) for one in reversed(lookup.keys)
    ]
    return Write(
        tenant_id=context.tenant.tenant_id,
        idempotency_key=f"{method}:{call.idempotency_key}",
        payload_hash=payload_hash,
        earlier_payload_hashes=(*earlier, call.payload_hash),
        act=act,
        encode_answer=encode_answer,
        spender=spender,
        dry_run=call.dry_run,
        lookup_key_id=lookup.newest_id,
        older_keys=older_keys,
    )


def _keyed_hash(lookup_key: bytes, payload_hash: bytes) -> bytes:
    return blake2b(payload_hash, key=lookup_key, digest_size=32, person=_PERSON).digest()


def place(tenant_id: TenantId, epoch: bytes, revision: Revision, running_hash: bytes) -> Place:
    """Return where in the log an answer is true, with its token."""
    token = encode_token(
        epoch=epoch, tenant_id=tenant_id, revision=revision, running_hash=running_hash
    )
    return Place(revision=revision, token=token)


def keyed(context: TenantContext, subject: Subject) -> KeyedSubject:
    """Return a normalised subject with its key."""
    return KeyedSubject(key=context.lookup.key(subject), subject=subject)

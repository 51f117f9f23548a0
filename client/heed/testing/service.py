"""A heed in memory: it answers every call of the contract as a server does.

It decides by `heed.decide`, takes and refuses by `heed.judge`, reads and answers by `heed.wire`: by
the code that a server runs. It has no credentials and no staleness, and forgets everything when it
is dropped.
"""

import threading
from collections.abc import Iterator
from typing import Final

from heed.errors import (
    ConflictError,
    ErrorReason,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
)
from heed.model import Instant, TenantId
from heed.testing.approving import APPROVING
from heed.testing.auditing import AUDITS
from heed.testing.clock import FakeClock
from heed.testing.following import FOLLOWING, waited
from heed.testing.hooks import HOOKS
from heed.testing.linking import LINKING, stop_of
from heed.testing.memory import Memory
from heed.testing.reading import READS, export
from heed.testing.writing import WRITES, write
from heed.wire import format as told
from heed.wire import parse_admin
from heed_proto.v1 import admin_service_pb2 as admin

FIRST_TENANT: Final = "default"
_METHODS: Final = (READS, LINKING, AUDITS, APPROVING, FOLLOWING, HOOKS)


class FakeService:
    """Everything that fake clients share. Safe to share between threads."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        """`clock` is its own if none is given."""
        self.clock = clock or FakeClock()
        self.is_reachable = True
        """Set to False, it answers no call, as a server that is away."""
        # Guards the tenants and all that is in them.
        self._lock = threading.Lock()
        self._tenants: dict[str, Memory] = {}
        self._create_tenant(FIRST_TENANT)

    def answer(self, name: str, data: bytes) -> bytes:
        """Return the answer to a call, by the method's name.

        Raises:
            HeedError: what a server would refuse.
        """
        with self._lock:
            if name == "CreateTenant":
                memory = self._create_tenant(parse_admin.create_tenant(data))
                return admin.CreateTenantResponse(tenant=_tenant(memory)).SerializeToString()
            if name == "ListTenants":
                return self._list_tenants(data)
            if name in WRITES:
                asked = WRITES[name].read(data)
                memory = self._of(asked.call.tenant)
                return write(memory, name, asked, self.clock.instant()) + waited(memory, asked)
            method = next(one[name] for one in _METHODS if name in one)
            wanted = method.read(data)
            memory = self._of(wanted.tenant)
            return method.act(memory, wanted, self._now(memory))

    def press(self, url: str) -> None:
        """Stop what a link stops, as a mail program's button does; again: nothing is written.

        Raises:
            NotFoundError: no client of this service made it.
        """
        with self._lock:
            for memory in self._tenants.values():
                if url in memory.links:
                    stop = stop_of(memory, url)
                    break
            else:
                raise NotFoundError("this is no link that this fake made")
        if stop is not None:
            self.answer("SetPreference", stop.SerializeToString())

    def export(self, data: bytes) -> Iterator[bytes]:
        """Return the messages of the answer to ExportRecords, the one call that streams it.

        Raises:
            HeedError: what a server would refuse.
        """
        asked = parse_admin.export_records(data)
        with self._lock:
            memory = self._of(asked.tenant)
            messages = list(export(memory, asked, self._now(memory)))
        yield from messages

    def _now(self, memory: Memory) -> Instant:
        """The time of an answer: never before the last commit, also where the clock stands."""
        return max(self.clock.instant(), memory.head.commit_time)

    def _of(self, name: str) -> Memory:
        if not name and len(self._tenants) == 1:
            return next(iter(self._tenants.values()))
        if not name:
            raise InvalidArgumentError(
                "there are several tenants; name one in `tenant`",
                reason=ErrorReason.TENANT_REQUIRED,
                violations=[FieldViolation("tenant", "is required: there are several tenants")],
                metadata={"field": "tenant"},
            )
        found = self._tenants.get(name)
        if found is None:
            raise NotFoundError(
                f"there is no tenant {name[:63]!r}, or it is not yours to see",
                metadata={"tenant": name},
            )
        return found

    def _create_tenant(self, name: str) -> Memory:
        if name in self._tenants:
            raise ConflictError(
                f"there is a tenant {name!r} already",
                reason=ErrorReason.TENANT_EXISTS,
                metadata={"tenant": name},
            )
        self._tenants[name] = Memory(
            tenant_id=TenantId(len(self._tenants) + 1),
            name=name,
            create_time=self.clock.instant(),
        )
        return self._tenants[name]

    def _list_tenants(self, data: bytes) -> bytes:
        asked = parse_admin.list_tenants(data)
        left = [name for name in sorted(self._tenants) if name > asked.cursor]
        page = left[: asked.page_size]
        cursor = page[-1] if len(left) > len(page) else ""
        return admin.ListTenantsResponse(
            tenants=[_tenant(self._tenants[name]) for name in page],
            next_page_token=parse_admin.page_token("tenants", cursor),
        ).SerializeToString()


def _tenant(memory: Memory) -> admin.Tenant:
    return admin.Tenant(name=memory.name, create_time=told.timestamp(memory.create_time))

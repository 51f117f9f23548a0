"""Every method by every right, every tenant, and every kind and state of a credential.

Made from the descriptors: a method that is added to the contract is in it at once. What each needs
is read from the comments of the contract, never from the table that the server goes by. Every cell
passes through all of the server's code but gRPC's sockets, of which there is a sample at the end.

A cell is let through when its call is refused by none of the reasons of who calls: what the store
then says of it (no such hold, say) is nobody's business here.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from time import time
from typing import Final

import grpc
import pytest
from cryptography import x509

from heed.errors import ErrorReason, HeedError
from heed.model import Instant
from heed_server.auth.credentials import HANDED_ON, Authenticator
from heed_server.auth.identities import Identities
from heed_server.auth.keys import make_key
from heed_server.auth.policy import Right
from heed_server.key_store import ApiKey
from heed_server.rates import RateLimits
from heed_server.service import node, tenants
from heed_server.service.admission import Admission
from heed_server.service.rights import RIGHT_OF_METHOD
from heed_server.storage import SqlStore, SystemClock
from tests.support import requests as ask
from tests.support.identities import (
    ISSUER,
    JwtIssuer,
    bearing,
    by_hmac,
    grant_said,
    issuer_said,
    write_grants,
    write_jwks,
)
from tests.support.in_process import Edge, Ended
from tests.support.rights import rights_of_methods
from tests.support.served import Authority
from tests.support.servers import METHODS, Running, error_of, running_server

NEEDED: Final[Mapping[str, str]] = rights_of_methods()
BESIDES: Final[Mapping[str, frozenset[str]]] = {
    "ImportRecords": frozenset({"write"}),
    "MakePageLinks": frozenset({"write"}),
}
"""What the valid request of a method needs besides: it imports opt-outs, and opens a page."""

FOR_EVERY_TENANT_ONLY: Final = {"CreateTenant"}

OF_WHO_CALLS: Final = {
    ErrorReason.CREDENTIAL_INVALID,
    ErrorReason.RIGHT_REQUIRED,
    ErrorReason.TENANT_UNKNOWN,
    ErrorReason.TENANT_REQUIRED,
}
UNLIMITED: Final = RateLimits(
    writes_per_second_max=0, reads_per_second_max=0, streams_per_second_max=0
)
"""So that no cell is refused for how many there were before it."""

DEFAULT, OTHER, NOWHERE, EVERY = "default", "other", "nowhere", ""
RELATIONS: Final = (
    (DEFAULT, DEFAULT), (DEFAULT, ""), (DEFAULT, OTHER), (DEFAULT, NOWHERE),
    (EVERY, DEFAULT), (EVERY, NOWHERE),
)  # fmt: skip
"""The tenant that a principal is bound to, and the one that its call names."""

EVERY_RIGHT: Final = frozenset(right.value for right in Right)
RIGHTS: Final = (
    *(frozenset({right}) for right in sorted(EVERY_RIGHT)),
    *(EVERY_RIGHT - {right} for right in sorted(EVERY_RIGHT)),
)
"""Each right alone, and all but each."""

STATES: Final[Mapping[str, tuple[str, ...]]] = {
    "none": ("absent",),
    "key": ("valid", "expired", "revoked", "unknown", "other secret", "malformed"),
    "certificate": (
        "valid", "expired", "not yet valid", "not granted", "other trust domain", "two URIs",
        "authority", "wildcard", "handed on",
    ),
    "JWT": (
        "valid", "expired", "not yet valid", "not granted", "unknown key", "other key",
        "other audience", "other issuer", "none", "HS256", "bound", "malformed",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Role:
    """What a principal may do, and where."""

    rights: frozenset[str]
    tenant: str

    @property
    def name(self) -> str:
        return f"{'.'.join(sorted(self.rights))}/{self.tenant or 'every'}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One question, and the answer that it has to have."""

    method: str
    role: Role
    named: str
    kind: str
    state: str

    @property
    def is_allowed(self) -> bool:
        needed = {NEEDED[self.method]} | BESIDES.get(self.method, frozenset())
        if self.state != "valid" or not needed <= self.role.rights:
            return False
        if self.method in FOR_EVERY_TENANT_ONLY:
            return self.role.tenant == EVERY
        if "tenant" not in METHODS[self.method].input_type.fields_by_name:
            return True
        return self.named == DEFAULT or (self.named == "" and self.role.tenant == DEFAULT)


@dataclass(frozen=True, slots=True)
class Given:
    """What a call shows of its caller."""

    metadata: tuple[tuple[str, str | bytes], ...] = ()
    certificate: bytes | None = None


class Callers:
    """Makes every credential, once each."""

    def __init__(self, folder: Path) -> None:
        self._authority = Authority(folder)
        self._issuer = JwtIssuer()
        self._made = 0
        self._given: dict[tuple[str, str, Role], Given] = {}
        self._keys: list[ApiKey] = []
        roles = [Role(rights, tenant) for rights, tenant in product(RIGHTS, (DEFAULT, EVERY))]
        write_jwks(folder, self._issuer)
        self.grants_file = write_grants(
            folder, issuer_said(), *(section for role in roles for section in _grants(role))
        )
        for role, (kind, states) in product(roles, STATES.items()):
            for state in states:
                self._given[kind, state, role] = self._make(kind, state, role)

    def of(self, cell: Cell) -> Given:
        return self._given[cell.kind, cell.state, cell.role]

    async def authenticator(self, store: SqlStore) -> Authenticator:
        """An authenticator that knows all of them, as the store does from then on."""
        clock = SystemClock()
        if not await store.api_keys():
            for key in self._keys:
                await store.put_api_key(key)
        identities = Identities(
            self.grants_file, takes_certificates=True, now=clock.now, boot_seconds=clock.boot
        )
        await identities.open()
        return Authenticator(
            store,
            is_required=True,
            keys_kept_seconds=900,
            now=clock.now,
            boot_seconds=clock.boot,
            identities=identities,
        )

    def _make(self, kind: str, state: str, role: Role) -> Given:
        match kind:
            case "key":
                return Given(tuple(bearing(self._key(state, role))))
            case "JWT":
                return Given(tuple(bearing(self._jwt(state, role))))
            case "certificate":
                metadata = ((HANDED_ON, "1"),) if state == "handed on" else ()
                return Given(metadata, self._certificate(state, role))
            case _:
                return Given()

    def _key(self, state: str, role: Role) -> str:
        self._made += 1
        text, parsed = make_key(self._made.to_bytes)
        if state == "unknown":
            return text
        now = SystemClock().now()
        self._keys.append(
            ApiKey(
                key_id=parsed.key_id,
                secret_hash=bytes(32) if state == "other secret" else parsed.secret_hash,
                name=role.name[-60:],
                rights=role.rights,
                tenant=role.tenant,
                create_time=now,
                expire_time=Instant(now - 1) if state == "expired" else None,
                revoke_time=now if state == "revoked" else None,
            )
        )
        return text[:-1] if state == "malformed" else text

    def _jwt(self, state: str, role: Role) -> str:
        issuer, subject = self._issuer, role.name
        match state:
            case "expired":
                return issuer.jwt(sub=subject, exp=time() - 60)
            case "not yet valid":
                return issuer.jwt(sub=subject, nbf=time() + 600)
            case "not granted":
                return issuer.jwt(sub=subject + "x")
            case "unknown key":
                return JwtIssuer("key-2", issuer.key).jwt(sub=subject)
            case "other key":
                return _STRANGER.jwt(sub=subject)
            case "other audience":
                return issuer.jwt(sub=subject, aud=["other"])
            case "other issuer":
                return issuer.jwt(sub=subject, iss=ISSUER + "/")
            case "none":
                return issuer.jwt(sub=subject, header={"alg": "none"})
            case "HS256":
                _, claims, _ = issuer.jwt(sub=subject).split(".")
                header = b'{"alg": "HS256", "kid": "key-1"}'
                return issuer.signed(header, _decoded(claims), sign=by_hmac(issuer.public_key_pem))
            case "bound":
                return issuer.jwt(sub=subject, cnf={"x5t#S256": "x"})
            case "malformed":
                return issuer.jwt(sub=subject) + "x"
            case _:
                return issuer.jwt(sub=subject)

    def _certificate(self, state: str, role: Role) -> bytes:
        now = datetime.now(UTC)
        begin, end = now - timedelta(days=2), now + timedelta(days=1)
        names: list[x509.GeneralName] = [_uri(f"spiffe://example.org/{role.name}")]
        match state:
            case "expired":
                end = now - timedelta(seconds=1)
            case "not yet valid":
                begin = now + timedelta(hours=1)
            case "not granted":
                names = [_uri(f"spiffe://example.org/{role.name}x")]
            case "other trust domain":
                names = [_uri(f"spiffe://example.com/{role.name}")]
            case "two URIs":
                names.append(_uri("spiffe://example.org/second"))
            case "wildcard":
                names = [x509.DNSName("*.example.org")]
            case _:
                pass
        is_authority = state == "authority"
        certificate, _ = self._authority.issue_to_client(
            "client", *names, begin=begin, end=end, is_authority=is_authority
        )
        return certificate.read_bytes()


_STRANGER: Final = JwtIssuer()


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Callers:
    return Callers(tmp_path_factory.mktemp("callers"))


@pytest.fixture
async def guarded(tmp_path: Path, callers: Callers) -> AsyncIterator[tuple[Running, Edge]]:
    """A server with two tenants, and its handlers; both ask one authenticator."""
    made: list[Authenticator] = []

    def authenticator(store: SqlStore) -> Authenticator:
        made.append(_Later(store))
        return made[0]

    async with running_server(
        tmp_path, authenticator=authenticator, admission=Admission(rates=UNLIMITED)
    ) as running:
        await running.store.create_tenant(OTHER, bytes(32))
        await running.tenants.learn(await running.store.tenants())
        known = await callers.authenticator(running.store)
        await known.refresh()
        assert isinstance(made[0], _Later)
        made[0].become(known)
        yield running, Edge(running.service, known)


class _Later(Authenticator):
    """An authenticator that is made before its keys are."""

    def __init__(self, store: SqlStore) -> None:
        clock = SystemClock()
        super().__init__(
            store,
            is_required=True,
            keys_kept_seconds=900,
            now=clock.now,
            boot_seconds=clock.boot,
        )

    def become(self, known: Authenticator) -> None:
        self.__dict__.update(known.__dict__)


def cells(methods: Iterable[str] = tuple(METHODS)) -> Iterator[Cell]:
    """Every cell, what is to be refused first."""
    for name in methods:
        alone = [rights for rights in RIGHTS if len(rights) == 1]
        for rights, (tenant, named), (kind, states) in product(
            [*alone, EVERY_RIGHT - {NEEDED[name]}], RELATIONS, STATES.items()
        ):
            for state in states:
                yield Cell(name, Role(rights, tenant), named, kind, state)


def request(cell: Cell) -> bytes:
    """The valid request of a method, for the tenant that the cell names."""
    asked = ask.VALID[cell.method]()
    if "tenant" in asked.DESCRIPTOR.fields_by_name:
        setattr(asked, "tenant", cell.named)  # noqa: B010 - not every message has it
    return asked.SerializeToString()


async def asked(edge: Edge, callers: Callers, cell: Cell) -> Ended:
    given = callers.of(cell)
    return await edge.call(cell.method, request(cell), given.metadata, given.certificate)


def is_let_through(error: HeedError | None) -> bool:
    return error is None or error.reason not in OF_WHO_CALLS


async def unexpected(
    edge: Edge, callers: Callers, chosen: Iterable[Cell]
) -> tuple[list[Cell], list[Cell]]:
    """The cells that are let through and should not be, and those that should be and are not."""
    allowed: list[Cell] = []
    denied: list[Cell] = []
    for cell in chosen:
        through = is_let_through((await asked(edge, callers, cell)).error)
        if through != cell.is_allowed:
            (allowed if through else denied).append(cell)
    return allowed, denied


async def test_no_cell_is_let_through_that_should_not_be_and_none_is_kept_out(
    guarded: tuple[Running, Edge], callers: Callers
) -> None:
    running, edge = guarded
    every = list(cells())
    to_refuse = [cell for cell in every if not cell.is_allowed]
    to_allow = [cell for cell in every if cell.is_allowed]

    allowed, denied = await unexpected(edge, callers, to_refuse)
    heads = await running.heads()
    allowed_too, denied_too = await unexpected(edge, callers, to_allow)

    assert (allowed + allowed_too, denied + denied_too) == ([], [])
    assert heads == {DEFAULT: 0, OTHER: 0}, "a call that was refused wrote something"
    of_kinds = Counter(cell.kind for cell in to_allow)
    assert len(to_refuse) > 30_000
    assert set(of_kinds) == {"key", "certificate", "JWT"}
    # Each method is let through by each kind, for each tenant that it may be called for.
    assert {(cell.method, cell.kind) for cell in to_allow} >= {
        (name, kind) for name in METHODS if name not in BESIDES for kind in of_kinds
    }


async def test_another_tenants_name_is_answered_like_an_unknown_one(
    guarded: tuple[Running, Edge], callers: Callers
) -> None:
    _, edge = guarded
    for name in METHODS:
        if "tenant" not in METHODS[name].input_type.fields_by_name or name in BESIDES:
            continue
        told: list[tuple[ErrorReason, str, list[str]]] = []
        for named in (OTHER, NOWHERE):
            cell = Cell(name, Role(frozenset({NEEDED[name]}), DEFAULT), named, "key", "valid")
            error = (await asked(edge, callers, cell)).error
            assert error is not None, cell
            told.append((error.reason, error.message.replace(named, "…"), sorted(error.metadata)))

        assert told[0] == told[1]
        assert told[0][0] is ErrorReason.TENANT_UNKNOWN


async def test_a_right_that_is_asked_for_no_more_is_found(
    guarded: tuple[Running, Edge], callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, edge = guarded
    rows = {**RIGHT_OF_METHOD, "Explain": Right.CHECK}
    monkeypatch.setattr(node, "RIGHT_OF_METHOD", rows)

    allowed, denied = await unexpected(edge, callers, cells(["Explain"]))

    assert {cell.role.rights for cell in allowed} >= {frozenset({"check"}), EVERY_RIGHT - {"audit"}}
    assert {cell.role.rights for cell in denied} == {frozenset({"audit"})}


async def test_a_tenant_that_is_taken_from_the_call_alone_is_found(
    guarded: tuple[Running, Edge], callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, edge = guarded
    tenant_of = tenants.tenant_of
    monkeypatch.setattr(
        tenants,
        "tenant_of",
        lambda by_name, principal, name: tenant_of(by_name, replace(principal, tenant=name), name),
    )

    allowed, _ = await unexpected(edge, callers, cells(["GetPreferences"]))

    assert {(cell.role.tenant, cell.named, cell.state) for cell in allowed} == {
        (DEFAULT, OTHER, "valid")
    }


async def test_an_end_that_is_judged_no_more_is_found(
    guarded: tuple[Running, Edge], callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, _ = guarded
    known = await callers.authenticator(running.store)
    await known.refresh()
    monkeypatch.setattr(known, "_now", lambda: Instant(0))

    allowed, _ = await unexpected(Edge(running.service, known), callers, cells(["GetPreferences"]))

    assert {(cell.kind, cell.state) for cell in allowed} == {("key", "expired")}


async def test_a_sample_over_real_sockets_ends_as_in_process(
    guarded: tuple[Running, Edge], callers: Callers
) -> None:
    """Certificates need a handshake, and have tests of their own in test_identities."""
    running, edge = guarded
    draw = random.Random(4)
    every = [cell for cell in cells() if cell.kind != "certificate"]
    chosen = [
        *draw.sample([cell for cell in every if not cell.is_allowed], 240),
        *draw.sample([cell for cell in every if cell.is_allowed], 60),
    ]

    for cell in chosen:
        given = callers.of(cell)
        here = (await asked(edge, callers, cell)).error
        there = await _over_a_socket(running, cell, given)

        assert is_let_through(there) == is_let_through(here) == cell.is_allowed, cell
        if here is not None and not cell.is_allowed:
            assert there is not None
            assert (there.reason, there.message) == (here.reason, here.message)


async def _over_a_socket(running: Running, cell: Cell, given: Given) -> HeedError | None:
    key = str(dict(given.metadata).get("authorization", "")).removeprefix("Bearer ")
    try:
        answers = await running.send(cell.method, request(cell), key=key)
    except grpc.aio.AioRpcError as error:
        return error_of(error)
    if METHODS[cell.method].client_streaming:
        return Edge.refusal_within(cell.method, answers)
    return None


def _grants(role: Role) -> Iterator[str]:
    said = {
        "name": role.name[-60:],
        "rights": sorted(role.rights),
        "tenant": role.tenant,
        "every_tenant": True if role.tenant == EVERY else None,
    }
    yield grant_said(**said, spiffe_id=f"spiffe://example.org/{role.name}")
    yield grant_said(**said, issuer=ISSUER, subject=role.name)


def _uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def _decoded(text: str) -> bytes:
    import base64

    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

"""What certificates and JWTs are judged by: how soon a change counts, and what when it is away."""

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from time import time

import pytest
from cryptography import x509
from structlog.testing import capture_logs as recorded

from heed.errors import InvalidArgumentError, UnauthenticatedError, UnavailableError
from heed.model import Instant
from heed_server.auth import identities as module
from heed_server.auth.credentials import CALLER_CERTIFICATE, HANDED_ON, Authenticator
from heed_server.auth.fetching import FetchError
from heed_server.auth.identities import Identities, IdentityLimits
from heed_server.auth.jwks import JWKS_BYTES_MAX
from heed_server.auth.policy import OPEN, Principal, Right
from heed_server.key_store import ApiKey
from tests.support.identities import (
    ISSUER,
    SECOND,
    Connection,
    JwtIssuer,
    bearing,
    grant_said,
    issuer_said,
    jwks,
    write_grants,
    write_jwks,
)
from tests.support.served import Authority

URL = "https://id.example.com/jwks"
ID = "spiffe://example.org/mailer"
OF_JWT = grant_said(issuer=ISSUER, subject="mailer")
OF_ID = grant_said(spiffe_id=ID)


class NoKeys:
    """A store without API keys."""

    async def api_keys(self) -> Sequence[ApiKey]:
        return []


class World:
    """Identities with a clock and a source of keys of the test."""

    def __init__(self, folder: Path, *sections: str, takes_certificates: bool = True) -> None:
        self.folder = folder
        self.seconds = 1_000.0
        self.late_seconds = 0.0
        self.issuer = JwtIssuer()
        self.served: bytes | None = jwks(self.issuer.jwk())
        self.fetched: list[tuple[str, Path | None, float, int]] = []
        write_jwks(folder, self.issuer)
        write_grants(folder, *(sections or (issuer_said(), OF_JWT, OF_ID)))
        self.identities = Identities(
            folder / "grants.toml",
            takes_certificates=takes_certificates,
            now=self.now,
            boot_seconds=lambda: self.seconds,
            limits=IdentityLimits(),
            fetch=self._fetch,
        )
        self.authenticator = Authenticator(
            NoKeys(),
            is_required=True,
            keys_kept_seconds=900,
            now=self.now,
            boot_seconds=lambda: self.seconds,
            identities=self.identities,
        )

    def now(self) -> Instant:
        return Instant(round((time() + self.late_seconds) * SECOND))

    def pass_(self, seconds: float) -> None:
        self.seconds += seconds
        self.late_seconds += seconds

    def name_of(self, text: str) -> str:
        return self.authenticator.principal(bearing(text)).name

    def is_taken(self, text: str) -> bool:
        try:
            return bool(self.name_of(text))
        except UnauthenticatedError:
            return False

    def _fetch(
        self, url: str, *, ca_file: Path | None, seconds_max: float, bytes_max: int
    ) -> bytes:
        self.fetched.append((url, ca_file, seconds_max, bytes_max))
        if self.served is None:
            raise FetchError("away")
        return self.served


async def opened(folder: Path, *sections: str) -> World:
    world = World(folder, *sections)
    await world.identities.open()
    return world


def by_url(folder: Path, **said: str) -> tuple[str, str]:
    return issuer_said(jwks_file="", jwks_url=URL, **said), OF_JWT


async def test_a_jwt_is_its_grants_principal_and_is_verified_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await opened(tmp_path)
    text = world.issuer.jwt()
    first = world.authenticator.principal(bearing(text))
    monkeypatch.setattr(world.identities, "of_jwt", None)  # nothing is verified again

    assert world.authenticator.principal(bearing(text)) is first
    assert first == Principal(name="mailer", rights=frozenset({Right.CHECK}), tenant="default")


async def test_a_jwt_that_was_verified_ends_with_its_time(tmp_path: Path) -> None:
    world = await opened(tmp_path)
    text = world.issuer.jwt(exp=time() + 60)
    assert world.is_taken(text)

    world.pass_(89)
    assert world.is_taken(text)
    world.pass_(2)
    assert not world.is_taken(text)


async def test_without_a_grant_a_good_jwt_is_nobodys(tmp_path: Path) -> None:
    world = await opened(tmp_path)

    assert not world.is_taken(world.issuer.jwt(sub="somebody"))
    assert not world.is_taken(world.issuer.jwt(iss="https://other.example.com"))


async def test_a_grant_that_is_taken_away_ends_what_was_remembered(tmp_path: Path) -> None:
    world = await opened(tmp_path)
    text = world.issuer.jwt()
    assert world.is_taken(text)

    write_grants(tmp_path, issuer_said(), OF_ID)
    await world.identities.refresh()

    assert not world.is_taken(text)
    write_grants(tmp_path, issuer_said(), OF_JWT.replace("check", "write"))
    await world.identities.refresh()
    assert world.authenticator.principal(bearing(text)).rights == {Right.WRITE}


async def test_a_key_that_is_taken_away_ends_what_was_remembered(tmp_path: Path) -> None:
    world = await opened(tmp_path)
    text = world.issuer.jwt()
    assert world.is_taken(text)
    other = JwtIssuer("key-2")

    write_jwks(tmp_path, other)
    await world.identities.refresh()

    assert not world.is_taken(text)
    assert world.is_taken(other.jwt())


async def test_grants_that_are_wrong_change_nothing_are_told_and_end_after_their_time(
    tmp_path: Path,
) -> None:
    world = await opened(tmp_path)
    text = world.issuer.jwt(exp=time() + 90_000)
    with recorded() as events:
        for _ in range(2):
            write_grants(tmp_path, "nonsense")
            await world.identities.refresh()

        assert world.is_taken(text)
        world.pass_(900)
        await world.identities.refresh()
        assert world.is_taken(text)
        world.pass_(1)
        with pytest.raises(UnavailableError):
            world.name_of(text)

    assert [event["event"] for event in events].count("grants_not_read") == 1
    write_grants(tmp_path, issuer_said(), OF_JWT)
    await world.identities.refresh()
    assert world.is_taken(text)


async def test_a_file_of_grants_that_is_gone_is_like_one_that_is_wrong(tmp_path: Path) -> None:
    world = await opened(tmp_path)
    (tmp_path / "grants.toml").unlink()
    await world.identities.refresh()

    assert world.is_taken(world.issuer.jwt())
    world.pass_(901)
    with pytest.raises(UnavailableError):
        world.name_of(world.issuer.jwt())


async def test_a_url_is_asked_at_its_interval_with_its_bounds(tmp_path: Path) -> None:
    world = await opened(tmp_path, *by_url(tmp_path, jwks_ca_file="ca.pem"))
    await world.identities.refresh()
    assert len(world.fetched) == 1

    world.pass_(300)
    await world.identities.refresh()

    assert world.fetched == [(URL, tmp_path / "ca.pem", 5.0, JWKS_BYTES_MAX)] * 2


async def test_an_unknown_key_has_the_url_asked_early_once_an_interval(tmp_path: Path) -> None:
    world = await opened(tmp_path, *by_url(tmp_path))
    new = JwtIssuer("key-2")
    world.served = jwks(world.issuer.jwk(), new.jwk())

    with pytest.raises(UnavailableError, match="just being read"):
        world.name_of(new.jwt())
    with pytest.raises(UnavailableError):
        world.name_of(JwtIssuer("key-3").jwt())
    await world.identities.refresh()

    assert world.is_taken(new.jwt())
    assert len(world.fetched) == 2
    # A flood of ids that nobody has costs nothing more.
    assert not any(world.is_taken(JwtIssuer(f"id-{at}").jwt()) for at in range(20))
    await world.identities.refresh()
    assert len(world.fetched) == 2


async def test_the_loop_asks_early_as_soon_as_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 60)
    world = await opened(tmp_path, *by_url(tmp_path))
    new = JwtIssuer("key-2")
    world.served = jwks(new.jwk())
    changed = asyncio.Event()
    world.identities.tell(changed.set)

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        running = group.create_task(world.identities.run())
        with pytest.raises(UnavailableError):
            world.name_of(new.jwt())
        await changed.wait()
        running.cancel()

    assert world.is_taken(new.jwt())


async def test_while_the_url_is_away_its_keys_hold_for_their_time_and_no_longer(
    tmp_path: Path,
) -> None:
    world = await opened(tmp_path, *by_url(tmp_path))
    text = world.issuer.jwt(exp=time() + 90_000)
    world.served = None
    with recorded() as events:
        for _ in range(4):
            world.pass_(900)
            await world.identities.refresh()
            assert world.is_taken(text)
        world.pass_(1)
        with pytest.raises(UnavailableError):
            world.name_of(text)

    assert [event["event"] for event in events].count("jwks_not_read") == 1
    world.served = jwks(world.issuer.jwk())
    world.pass_(15)
    await world.identities.refresh()
    assert world.is_taken(text)


async def test_what_a_url_says_wrongly_changes_nothing(tmp_path: Path) -> None:
    world = await opened(tmp_path, *by_url(tmp_path))
    for wrong in (b"<html>", b'{"keys": 1}', b" " * (JWKS_BYTES_MAX + 1)):
        world.served = wrong
        world.pass_(300)
        await world.identities.refresh()

        assert world.is_taken(world.issuer.jwt())


async def test_a_start_without_the_url_lets_nobody_in_and_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path, *by_url(tmp_path))
    world.served = None
    await world.identities.open()

    with pytest.raises(UnavailableError):
        world.name_of(world.issuer.jwt())
    world.served = jwks(world.issuer.jwk())
    world.pass_(15)
    await world.identities.refresh()
    assert world.is_taken(world.issuer.jwt())


async def test_a_slow_source_holds_up_no_other(tmp_path: Path) -> None:
    """Each is asked in a thread of its own: the first to come lets the second go."""
    world = World(
        tmp_path,
        *by_url(tmp_path),
        issuer_said(jwks_file="", jwks_url=URL + "/2", name="https://id2.example.com"),
    )
    both = threading.Barrier(2, timeout=10)

    def fetch(url: str, **_: object) -> bytes:
        both.wait()
        return jwks(world.issuer.jwk())

    world.identities._fetch = fetch
    await world.identities.refresh()

    assert world.is_taken(world.issuer.jwt())


def test_a_start_with_grants_that_are_wrong_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError):
        World(tmp_path, "nonsense")
    with pytest.raises(InvalidArgumentError, match="client_ca_file"):
        World(tmp_path, OF_ID, takes_certificates=False)


async def test_a_start_without_a_named_file_of_keys_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path, issuer_said(jwks_file="nowhere.json"), OF_JWT)

    with pytest.raises(InvalidArgumentError, match=r"nowhere\.json"):
        await world.identities.open()


@pytest.fixture
def pem(tmp_path: Path) -> bytes:
    folder = tmp_path / "authority"
    folder.mkdir()
    certificate, _ = Authority(folder).issue_to_client("mailer", x509.UniformResourceIdentifier(ID))
    return certificate.read_bytes()


async def test_a_certificate_speaks_for_a_call_that_carries_nothing(
    tmp_path: Path, pem: bytes
) -> None:
    world = await opened(tmp_path)

    principal = world.authenticator.principal([("user-agent", "x")], Connection(pem))

    assert principal.name == "mailer"
    assert world.authenticator.principal((), Connection(pem)) is principal
    with pytest.raises(UnauthenticatedError):
        world.authenticator.principal((), Connection())


async def test_a_bad_credential_is_refused_whatever_the_certificate_says(
    tmp_path: Path, pem: bytes
) -> None:
    world = await opened(tmp_path)

    for bad in ("heed_nonsense", JwtIssuer().jwt(), ""):
        with pytest.raises(UnauthenticatedError):
            world.authenticator.principal(bearing(bad), Connection(pem))


async def test_a_certificate_never_speaks_for_a_call_that_is_handed_on(
    tmp_path: Path, pem: bytes
) -> None:
    world = await opened(tmp_path)

    with pytest.raises(UnauthenticatedError):
        world.authenticator.principal([(HANDED_ON, "1")], Connection(pem))
    text = world.issuer.jwt()
    handed_on = [*bearing(text), (HANDED_ON, "1")]
    assert world.authenticator.principal(handed_on, Connection(pem)).name == "mailer"


async def test_what_a_caller_says_of_its_certificate_is_believed_of_workers_alone(
    tmp_path: Path, pem: bytes
) -> None:
    world = await opened(tmp_path)
    told = [(CALLER_CERTIFICATE, pem)]
    owner = Authenticator(
        NoKeys(),
        is_required=True,
        keys_kept_seconds=900,
        now=world.now,
        boot_seconds=lambda: world.seconds,
        identities=world.identities,
        is_asked_by_workers=True,
    )

    assert owner.principal(told, Connection()).name == "mailer"
    with pytest.raises(UnauthenticatedError):
        owner.principal([*told, (HANDED_ON, "1")], Connection())
    with pytest.raises(UnauthenticatedError):
        world.authenticator.principal(told, Connection())
    with pytest.raises(UnauthenticatedError):
        world.authenticator.principal([("authorization", pem)], Connection())


async def test_a_certificate_that_was_taken_ends_with_its_time(tmp_path: Path, pem: bytes) -> None:
    world = await opened(tmp_path)
    world.authenticator.principal((), Connection(pem))

    world.pass_(86_401)
    await world.identities.refresh()

    with pytest.raises(UnauthenticatedError):
        world.authenticator.principal((), Connection(pem))


async def test_a_certificate_from_the_future_is_not_taken(tmp_path: Path, pem: bytes) -> None:
    world = await opened(tmp_path)
    world.late_seconds -= 400

    with pytest.raises(UnauthenticatedError):
        world.authenticator.principal((), Connection(pem))


async def test_without_grants_a_certificate_only_lets_the_connection_in(pem: bytes) -> None:
    authenticator = Authenticator(
        NoKeys(),
        is_required=False,
        keys_kept_seconds=900,
        now=lambda: Instant(0),
        boot_seconds=lambda: 0.0,
    )

    assert authenticator.principal((), Connection(pem)) is OPEN


async def test_every_bad_credential_is_told_alike_to_callers_and_by_its_reason_to_operators(
    tmp_path: Path, pem: bytes
) -> None:
    world = await opened(tmp_path)
    bad = [
        world.issuer.jwt(aud="other"),
        world.issuer.jwt(exp=time() - 60),
        world.issuer.jwt(sub="nobody"),
        JwtIssuer().jwt(),
        "heed_nonsense",
    ]
    answers: set[str] = set()
    with recorded() as events:
        for text in [*bad, *bad]:
            with pytest.raises(UnauthenticatedError) as refused:
                world.name_of(text)
            answers.add(repr((refused.value.message, refused.value.metadata)))

    assert len(answers) == 1
    told = [event for event in events if event["event"] == "credential_refused"]
    assert {event["why"] for event in told} == {
        "audience", "expired", "not_granted", "signature", "malformed",
    }  # fmt: skip
    assert len(told) == 5
    assert world.authenticator.refused == 10
    assert not any(text.split(".")[-1] in json.dumps(events) for text in bad)

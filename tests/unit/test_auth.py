"""Who calls: the text of keys, what of a credential is judged, and how soon a change is noticed."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.errors import ErrorReason, RightRequiredError, UnauthenticatedError, UnavailableError
from heed.model import Instant
from heed_server.auth import credentials
from heed_server.auth.credentials import Authenticator
from heed_server.auth.keys import make_key, parse_key
from heed_server.auth.policy import OPEN, Principal, Right, require
from tests.support.kept_keys import NOW, KeptKeys, new_key

SECOND = 1_000_000


class Clock:
    """Time that stands until it is moved."""

    def __init__(self) -> None:
        self.instant = NOW
        self.boot = 100.0

    def now(self) -> Instant:
        return self.instant

    def boot_seconds(self) -> float:
        return self.boot


def _bearing(text: str) -> list[tuple[str, str | bytes]]:
    return [("user-agent", "x"), ("authorization", f"Bearer {text}")]


def _authenticator(
    keys: KeptKeys, clock: Clock, *, is_required: bool | None = True
) -> Authenticator:
    return Authenticator(
        keys,
        is_required=is_required,
        keys_kept_seconds=60,
        now=clock.now,
        boot_seconds=clock.boot_seconds,
    )


@given(st.binary(min_size=32, max_size=32))
def test_a_key_that_was_made_can_be_read(secret: bytes) -> None:
    text, made = make_key(lambda size: secret[:size])

    assert parse_key(text) == made
    assert len(text) == len("heed_") + 12 + 1 + 43 + 1 + 6


def test_different_secrets_make_different_keys() -> None:
    made = [new_key() for _ in range(199)]

    assert len({text for text, _ in made}) == len({key.secret_hash for _, key in made}) == 199


@given(st.data())
def test_a_key_with_one_character_changed_is_no_key(data: st.DataObject) -> None:
    text, _ = make_key(lambda size: b"\x5a" * size)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda character: character != text[at]))

    assert parse_key(text[:at] + other + text[at + 1 :]) is None


@pytest.mark.parametrize("text", ["", "heed_", "heed__", "hello", "heed_" + "a" * 4000, "é"])
def test_anything_else_is_no_key(text: str) -> None:
    assert parse_key(text) is None


def test_the_hash_of_a_key_is_in_no_repr() -> None:
    text, key = new_key()

    shown = repr(key) + repr(parse_key(text))
    assert text.split("_")[2] not in shown
    assert key.secret_hash.hex() not in shown
    assert repr(key.secret_hash) not in shown


@pytest.mark.parametrize("right", Right)
def test_no_right_implies_another(right: Right) -> None:
    principal = Principal(name="p", rights=frozenset({right}))

    require(principal, right)
    for other in set(Right) - {right}:
        with pytest.raises(RightRequiredError) as refused:
            require(principal, other)
        assert refused.value.metadata == {"right": other.value}


async def test_a_good_key_is_its_principal() -> None:
    keys = KeptKeys()
    text, key = new_key(rights=(Right.CHECK, Right.WRITE), tenant="shop")
    await keys.put_api_key(key)
    authenticator = _authenticator(keys, Clock())
    await authenticator.refresh()

    principal = authenticator.principal(_bearing(text))

    assert principal == Principal(
        name="mailer", rights=frozenset({Right.CHECK, Right.WRITE}), tenant="shop"
    )
    assert authenticator.principal(_bearing(text)) is principal


async def test_every_bad_credential_gets_one_and_the_same_answer() -> None:
    keys, clock = KeptKeys(), Clock()
    good, key = new_key()
    unknown, _ = new_key()
    revoked, revoked_key = new_key()
    expired, expired_key = new_key(expire_time=Instant(NOW))
    _, other_secret = new_key()
    for stored in (key, replace(revoked_key, revoke_time=NOW), expired_key):
        await keys.put_api_key(stored)
    authenticator = _authenticator(keys, clock)
    await authenticator.refresh()
    stolen_id = good.split("_")
    stolen_id[2] = unknown.split("_")[2]

    bad: list[list[tuple[str, str | bytes]]] = [
        [],
        _bearing(unknown),
        _bearing(revoked),
        _bearing(expired),
        _bearing("_".join(stolen_id)),
        _bearing(good[:-1]),
        _bearing(""),
        [("authorization", good)],
        [("authorization", f"Basic {good}")],
        [("authorization", f"Bearer {good}".encode())],
        _bearing(good) + _bearing(good),
        _bearing("é" * 50),
    ]
    answers = set[tuple[str, str, str]]()
    for metadata in bad:
        with pytest.raises(UnauthenticatedError) as refused:
            authenticator.principal(metadata)
        error = refused.value
        answers.add((error.message, error.reason, repr(error.metadata)))

    assert len(answers) == 1
    assert authenticator.refused == len(bad)
    assert other_secret.key_id not in answers.pop()[0]


async def test_the_scheme_is_read_in_any_case() -> None:
    keys = KeptKeys()
    text, key = new_key()
    await keys.put_api_key(key)
    authenticator = _authenticator(keys, Clock())
    await authenticator.refresh()

    assert authenticator.principal([("authorization", f"bearer {text}")]).name == "mailer"


async def test_without_keys_required_a_caller_without_one_is_open_and_a_bad_one_is_refused() -> (
    None
):
    keys = KeptKeys()
    text, _ = new_key()
    authenticator = _authenticator(keys, Clock(), is_required=False)
    await authenticator.refresh()

    assert authenticator.principal([]) is OPEN
    with pytest.raises(UnauthenticatedError):
        authenticator.principal(_bearing(text))


async def test_the_first_key_closes_a_server_for_good() -> None:
    keys = KeptKeys()
    text, key = new_key()
    authenticator = _authenticator(keys, Clock(), is_required=None)
    await authenticator.refresh()
    assert authenticator.principal([]) is OPEN
    await keys.put_api_key(key)
    await authenticator.refresh()
    assert authenticator.principal(_bearing(text)).name == key.name

    for keep in (True, False):
        await keys.revoke_api_key(key.key_id, NOW)
        if not keep:
            keys.kept.clear()
        await authenticator.refresh()

        assert authenticator.is_required
        with pytest.raises(UnauthenticatedError):
            authenticator.principal([])


async def test_keys_that_are_there_at_the_start_close_a_server() -> None:
    keys = KeptKeys()
    await keys.put_api_key(new_key()[1])
    authenticator = _authenticator(keys, Clock(), is_required=None)

    await authenticator.refresh()

    assert authenticator.is_required


async def test_where_keys_are_never_required_the_first_one_closes_nothing() -> None:
    keys = KeptKeys()
    await keys.put_api_key(new_key()[1])
    authenticator = _authenticator(keys, Clock(), is_required=False)

    await authenticator.refresh()

    assert authenticator.principal([]) is OPEN


async def test_a_key_expires_between_two_calls_without_a_refresh() -> None:
    keys, clock = KeptKeys(), Clock()
    text, key = new_key(expire_time=Instant(NOW + SECOND))
    await keys.put_api_key(key)
    authenticator = _authenticator(keys, clock)
    await authenticator.refresh()
    authenticator.principal(_bearing(text))

    clock.instant = Instant(NOW + SECOND)

    with pytest.raises(UnauthenticatedError):
        authenticator.principal(_bearing(text))


async def test_a_revoked_key_is_refused_after_the_next_refresh() -> None:
    keys = KeptKeys()
    text, key = new_key()
    await keys.put_api_key(key)
    authenticator = _authenticator(keys, Clock())
    await authenticator.refresh()
    authenticator.principal(_bearing(text))

    await keys.revoke_api_key(key.key_id, NOW)
    await authenticator.refresh()

    with pytest.raises(UnauthenticatedError):
        authenticator.principal(_bearing(text))


async def test_while_the_store_is_away_known_keys_hold_for_the_bound_and_no_longer() -> None:
    keys, clock = KeptKeys(), Clock()
    text, key = new_key()
    await keys.put_api_key(key)
    authenticator = _authenticator(keys, clock)
    await authenticator.refresh()
    keys.is_away = True
    with pytest.raises(UnavailableError):
        await authenticator.refresh()

    clock.boot += 60
    authenticator.principal(_bearing(text))
    clock.boot += 0.1

    with pytest.raises(UnavailableError) as refused:
        authenticator.principal(_bearing(text))
    assert refused.value.reason is ErrorReason.STORE_UNAVAILABLE
    keys.is_away = False
    await authenticator.refresh()
    assert authenticator.principal(_bearing(text)).name == "mailer"


async def test_before_the_keys_were_read_no_credential_is_judged() -> None:
    text, _ = new_key()

    with pytest.raises(UnavailableError):
        _authenticator(KeptKeys(), Clock()).principal(_bearing(text))


async def test_the_loop_goes_on_reading_keys_after_the_store_was_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credentials, "REFRESH_SECONDS", 0)
    keys = KeptKeys()
    keys.is_away = True
    authenticator = _authenticator(keys, Clock())
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        running = group.create_task(authenticator.run())
        for _ in range(3):
            await keys.reads.get()
        keys.is_away = False
        _, key = new_key()
        await keys.put_api_key(key)
        for _ in range(2):
            await keys.reads.get()
        running.cancel()

    assert authenticator.key_count == 1


async def test_so_many_tokens_are_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "VERIFIED_TOKENS_MAX", 2)
    keys = KeptKeys()
    made = [new_key() for _ in range(5)]
    for _, key in made:
        await keys.put_api_key(key)
    authenticator = _authenticator(keys, Clock())
    await authenticator.refresh()

    for text, _ in made:
        authenticator.principal(_bearing(text))

    assert len(authenticator._verified) <= 2


async def test_a_right_of_a_later_version_gives_nothing() -> None:
    keys = KeptKeys()
    text, key = new_key()
    await keys.put_api_key(replace(key, rights=frozenset({"check", "teleport"})))
    authenticator = _authenticator(keys, Clock())
    await authenticator.refresh()

    assert authenticator.principal(_bearing(text)).rights == {Right.CHECK}

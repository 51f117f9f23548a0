"""The token of a position."""

import string
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.errors import ErrorReason, InvalidArgumentError
from heed.model import Revision, TenantId
from heed.tokens import Token, decode_token, encode_token

ALPHABET = string.ascii_letters + string.digits + "-_"

some_token = st.builds(
    Token,
    epoch=st.binary(min_size=8, max_size=8),
    tenant_id=st.integers(min_value=0, max_value=2**32 - 1).map(TenantId),
    revision=st.integers(min_value=0, max_value=2**64 - 1).map(Revision),
    running_hash=st.binary(min_size=8, max_size=8),
)


def encoded(token: Token) -> str:
    return encode_token(
        epoch=token.epoch,
        tenant_id=token.tenant_id,
        revision=token.revision,
        running_hash=token.running_hash,
    )


def assert_refused(token: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        decode_token(token)

    assert raised.value.reason is ErrorReason.BAD_TOKEN
    assert [violation.field for violation in raised.value.violations] == ["token"]


@settings(deadline=None)
@given(token=some_token)
def test_a_token_is_decoded_as_it_was_encoded(token: Token) -> None:
    assert decode_token(encoded(token)) == token


@settings(deadline=None)
@given(token=some_token)
def test_a_token_is_39_characters_that_need_no_quoting(token: Token) -> None:
    written = encoded(token)

    assert len(written) == 39
    assert set(written) <= set(ALPHABET)


def test_a_token_is_laid_out_as_documented() -> None:
    written = encode_token(
        epoch=b"epoch-08",
        tenant_id=TenantId(7),
        revision=Revision(99),
        running_hash=bytes(range(32)),
    )

    packed = b"\x01epoch-08" + (7).to_bytes(4, "big") + (99).to_bytes(8, "big") + bytes(range(8))
    assert written == urlsafe_b64encode(packed).decode().rstrip("=")


@settings(deadline=None)
@given(token=some_token, data=st.data())
def test_a_token_has_one_spelling(token: Token, data: st.DataObject) -> None:
    """A changed character is another position or a refusal, never the same position."""
    written = encoded(token)
    place = data.draw(st.integers(min_value=0, max_value=len(written) - 1))
    character = data.draw(st.sampled_from(ALPHABET).filter(lambda one: one != written[place]))
    changed = written[:place] + character + written[place + 1 :]

    try:
        other = decode_token(changed)
    except InvalidArgumentError:
        return

    assert other != token
    assert encoded(other) == changed


@settings(deadline=None)
@given(noise=st.text(max_size=60))
def test_noise_is_refused(noise: str) -> None:
    assert_refused(noise)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "A" * 38,
        "A" * 40,
        "A" * 39,
        "é" * 39,
        "\ud800" * 39,
        "=" * 39,
        "A" * 35 + "====",
        " " * 39,
        "A" * 38 + "\n",
        "A" * 100_000,
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    assert_refused(token)


def test_a_token_in_the_other_alphabet_is_refused() -> None:
    written = encode_token(
        epoch=b"\xff" * 8, tenant_id=TenantId(1), revision=Revision(1), running_hash=b"\xff" * 8
    )

    assert_refused(written.replace("_", "/"))


def test_a_version_not_known_here_is_refused() -> None:
    assert_refused(urlsafe_b64encode(b"\x02" + bytes(28)).decode().rstrip("="))


@pytest.mark.parametrize(("epoch", "running_hash"), [(b"7 bytes", bytes(32)), (bytes(8), bytes(7))])
def test_a_token_needs_a_whole_epoch_and_hash(epoch: bytes, running_hash: bytes) -> None:
    with pytest.raises(ValueError, match="8 bytes of epoch"):
        encode_token(
            epoch=epoch, tenant_id=TenantId(1), revision=Revision(1), running_hash=running_hash
        )


@pytest.mark.parametrize(("tenant_id", "revision"), [(2**32, 1), (1, -1), (1, 2**64)])
def test_a_number_that_does_not_fit_is_refused(tenant_id: int, revision: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode_token(
            epoch=bytes(8),
            tenant_id=TenantId(tenant_id),
            revision=Revision(revision),
            running_hash=bytes(8),
        )

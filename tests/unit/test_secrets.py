"""The root keys: what they wrap is theirs alone, and their file survives whatever happens to it."""

import os
from pathlib import Path

import pytest

from heed.model import TenantId
from heed_server.secrets.errors import SecretsError
from heed_server.secrets.keysets import Keyset, key_id_of
from heed_server.secrets.names import (
    ADDRESSES,
    PURPOSES,
    SECRETS,
    address_keyset_name,
    lookup_key_name,
)
from heed_server.secrets.root import RootKeys
from heed_server.secrets.root_file import RootFile

NAME = lookup_key_name(TenantId(1))
SECRET = b"a secret of thirty-two bytes now"


@pytest.fixture
def file(tmp_path: Path) -> RootFile:
    made = RootFile(tmp_path / "root.json")
    made.create()
    return made


def test_what_was_wrapped_is_opened_by_the_same_root_keys_alone() -> None:
    root = RootKeys.generate()
    wrapped = root.wrap(NAME, SECRET)

    assert SECRET not in wrapped
    assert RootKeys.from_json(root.to_json()).unwrap(NAME, wrapped) == SECRET
    with pytest.raises(SecretsError, match="cannot be read by the keys"):
        RootKeys.generate().unwrap(NAME, wrapped)


def test_a_wrapped_secret_under_another_name_is_refused() -> None:
    root = RootKeys.generate()
    wrapped = root.wrap(NAME, SECRET)

    with pytest.raises(SecretsError):
        root.unwrap(lookup_key_name(TenantId(2)), wrapped)


@pytest.mark.parametrize("byte", range(0, 65, 8))
def test_a_changed_byte_is_refused(byte: int) -> None:
    root = RootKeys.generate()
    wrapped = bytearray(root.wrap(NAME, SECRET))
    wrapped[byte] ^= 1

    with pytest.raises(SecretsError):
        root.unwrap(NAME, bytes(wrapped))


def test_the_same_secret_is_never_wrapped_to_the_same_bytes() -> None:
    root = RootKeys.generate()

    assert root.wrap(NAME, SECRET) != root.wrap(NAME, SECRET)


@pytest.mark.parametrize("name", ["", "lookup-key", "other/lookup-key", "secrets/", "secrets"])
def test_a_name_without_purpose_wraps_nothing(name: str) -> None:
    with pytest.raises(ValueError, match="begins with one of"):
        RootKeys.generate().wrap(name, SECRET)


def test_a_new_key_wraps_and_the_old_ones_still_open() -> None:
    root = RootKeys.generate()
    wrapped = root.wrap(NAME, SECRET)

    rotated = root.changed(PURPOSES, lambda keyset: keyset.with_new_key(is_primary=True))

    assert rotated.unwrap(NAME, wrapped) == SECRET
    assert root.is_current(NAME, wrapped)
    assert not rotated.is_current(NAME, wrapped)
    assert rotated.is_current(NAME, rotated.wrap(NAME, SECRET))
    with pytest.raises(SecretsError):
        root.unwrap(NAME, rotated.wrap(NAME, SECRET))


def test_a_key_that_waits_opens_before_it_wraps() -> None:
    keyset = Keyset.generate()
    waiting = keyset.with_new_key(is_primary=False)
    chosen = waiting.with_last_as_primary()

    assert waiting.primary_id == keyset.primary_id
    assert waiting.decrypt(chosen.encrypt(SECRET, b""), b"") == SECRET
    assert key_id_of(chosen.encrypt(SECRET, b"")) == chosen.key_ids[-1]


def test_what_an_old_key_wrapped_is_lost_with_it_and_only_in_its_purpose() -> None:
    root = RootKeys.generate()
    address_keyset = address_keyset_name(TenantId(1))
    old_address, old_secret = root.wrap(address_keyset, SECRET), root.wrap(NAME, SECRET)
    rotated = root.changed(PURPOSES, lambda keyset: keyset.with_new_key(is_primary=True))

    left = rotated.changed([ADDRESSES], lambda keyset: keyset.without_old_keys())

    assert len(left.keyset(ADDRESSES).key_ids) == 1
    assert left.keyset(SECRETS).key_ids == rotated.keyset(SECRETS).key_ids
    assert left.unwrap(NAME, old_secret) == SECRET
    with pytest.raises(SecretsError):
        left.unwrap(address_keyset, old_address)


def test_dropping_old_keys_keeps_one_that_waits() -> None:
    keyset = Keyset.generate().with_new_key(is_primary=True).with_new_key(is_primary=False)

    assert keyset.without_old_keys().key_ids == keyset.key_ids[1:]


def test_no_key_shows_in_a_repr() -> None:
    root = RootKeys.generate()
    shown = repr(root) + repr(root.keyset(SECRETS)) + repr(RootFile(Path("x")))

    assert "value" not in shown
    assert str(root.keyset(SECRETS).primary_id) in shown


@pytest.mark.parametrize("foreign", [b"", b"\x00" * 40, b"\x01abc"])
def test_what_is_no_ciphertext_names_no_key(foreign: bytes) -> None:
    assert key_id_of(foreign) is None


@pytest.mark.parametrize("damaged", [b"", b"\xff\xff", b"\x08\x01"])
def test_bytes_that_are_no_keyset_are_refused(damaged: bytes) -> None:
    with pytest.raises(SecretsError, match="damaged"):
        Keyset.from_bytes(damaged)


def test_a_new_file_is_this_users_alone(file: RootFile) -> None:
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.path.parent.iterdir()] == ["root.json"]


def test_a_file_that_is_there_is_never_made_anew(file: RootFile) -> None:
    before = file.path.read_bytes()

    with pytest.raises(SecretsError, match="is there already"):
        file.create()

    assert file.path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o602, 0o644])
def test_a_file_that_others_can_read_is_refused(file: RootFile, mode: int) -> None:
    file.path.chmod(mode)

    with pytest.raises(SecretsError, match="chmod 600"):
        RootFile(file.path).keys()


def test_opening_it_to_others_is_noticed_while_a_server_runs(file: RootFile) -> None:
    file.keys()
    file.path.chmod(0o644)

    with pytest.raises(SecretsError, match="chmod 600"):
        file.keys()


@pytest.mark.skipif(os.geteuid() == 0, reason="for root every file is its own")
def test_a_file_of_another_user_is_refused_by_the_system(file: RootFile) -> None:
    file.path.chmod(0)

    with pytest.raises(SecretsError, match="Permission"):
        RootFile(file.path).keys()


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SecretsError, match="heed-server keys root create"):
        RootFile(tmp_path / "nowhere").keys()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"format": "heed root keys 2"}',
        b'{"format": "heed root keys 1"}',
    ],
)
def test_a_file_of_something_else_is_refused_without_its_text(file: RootFile, text: bytes) -> None:
    file.path.write_bytes(text)

    with pytest.raises(SecretsError, match="cannot be used"):
        RootFile(file.path).keys()


def test_a_change_is_seen_by_who_has_read_it_before(file: RootFile) -> None:
    other = RootFile(file.path)
    before = other.keys()

    after = file.change(
        lambda keys: keys.changed(PURPOSES, lambda keyset: keyset.with_new_key(is_primary=True))
    )

    assert other.keys().keyset(SECRETS).key_ids == after.keyset(SECRETS).key_ids
    assert before.keyset(SECRETS).key_ids != after.keyset(SECRETS).key_ids


def test_a_change_that_fails_leaves_the_file_as_it_was(file: RootFile) -> None:
    before = file.path.read_bytes()

    def fails(keys: RootKeys) -> RootKeys:
        raise SecretsError("no")

    with pytest.raises(SecretsError, match="no"):
        file.change(fails)

    assert file.path.read_bytes() == before


def test_what_a_crash_left_half_written_is_in_nobodys_way(file: RootFile) -> None:
    (file.path.parent / ".root.json.new").write_text("half")

    file.change(lambda keys: keys)

    assert [path.name for path in file.path.parent.iterdir()] == ["root.json"]
    assert len(RootFile(file.path).keys().keyset(SECRETS).key_ids) == 1


def test_a_folder_that_cannot_be_written_is_said(file: RootFile, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("no folder")

    with pytest.raises(SecretsError, match="cannot be made"):
        RootFile(tmp_path / "plain" / "root.json").create()

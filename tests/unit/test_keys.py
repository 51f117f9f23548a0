"""The normaliser and the key, by their vectors and their laws (docs/normaliser.md)."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import idna
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from heed.errors import ErrorReason, InvalidArgumentError
from heed.keys import DOMAINS_CACHED_MAX, Keyer, LookupKey, LookupKeys, normalise
from heed.model import NORMALISER_VERSION, SUBJECT_CHARACTERS_MAX, Subject, SubjectType

SUITE: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "cases" / "normaliser.json").read_text(encoding="utf-8")
)
VECTORS: list[dict[str, Any]] = SUITE["vectors"]
ACCEPTED = [vector for vector in VECTORS if "refused" not in vector]
REFUSED = [vector for vector in VECTORS if "refused" in vector]
KEYER = Keyer(bytes.fromhex(SUITE["lookup_key"]))

quick = settings(max_examples=300, deadline=None)
some_type = st.sampled_from(SubjectType)
some_domain_text = st.text(
    st.sampled_from("aAbz09-_.。Ä ß\u1e9e\u0308\u200d\uff41\uff0e@/İ\u0131ς例xn-❤\u00ad\ud800"),
    max_size=20,
)
some_local_text = st.text(
    st.sampled_from(
        "aAzZ09.+-_'\"\\@,(: ßẞİıΣςǰᾳ\u0345\u0301\u0308\u037e\uff21例\u200b\u200d\x00\ud800"
    ),
    max_size=12,
)
some_email = st.builds("{}@{}".format, some_local_text, some_domain_text)
some_phone = st.text(
    st.sampled_from("+\uff0b0123456789٣\uff13 ().-/\u2011\u00a0\u202ax(0)"), max_size=24
)
some_value = st.one_of(
    some_email, some_phone, st.text(max_size=30), st.text(st.characters(), max_size=30)
)


def title(vector: dict[str, Any]) -> str:
    return f"{vector['type']}: {vector['why']} {vector['given'][:20]!a}"


def subject_of(vector: dict[str, Any]) -> Subject:
    return Subject(type=SubjectType[vector["type"].upper()], value=vector["given"])


def tried(subject: Subject) -> Subject | None:
    try:
        return normalise(subject)
    except InvalidArgumentError:
        return None


def is_taken_by_idna(label: str) -> bool:
    try:
        idna.alabel(label)
    except UnicodeError:
        return False
    return True


@pytest.mark.parametrize("vector", ACCEPTED, ids=title)
def test_a_vector_is_normalised_and_keyed_as_it_says(vector: dict[str, Any]) -> None:
    subject = subject_of(vector)

    normalised = normalise(subject)

    assert normalised == Subject(type=subject.type, value=vector["normalised"])
    assert KEYER.key(normalised).hex() == vector["key"]
    assert KEYER.key_of(subject.type, subject.value).hex() == vector["key"]


@pytest.mark.parametrize("vector", REFUSED, ids=title)
def test_a_vector_is_refused_as_it_says(vector: dict[str, Any]) -> None:
    subject = subject_of(vector)

    with pytest.raises(InvalidArgumentError) as raised:
        normalise(subject)
    with pytest.raises(InvalidArgumentError):
        KEYER.key_of(subject.type, subject.value)

    assert raised.value.reason is ErrorReason.INVALID_FIELD
    (violation,) = raised.value.violations
    assert violation.field == vector["type"]
    assert violation.description == raised.value.message


def test_the_vectors_are_of_this_version_and_at_least_60() -> None:
    assert SUITE["normaliser_version"] == NORMALISER_VERSION
    assert len(VECTORS) >= 60
    assert {vector["type"].upper() for vector in ACCEPTED} == {kind.name for kind in SubjectType}


@quick
@given(subject_type=some_type, value=some_value)
def test_normalising_twice_is_normalising_once(subject_type: SubjectType, value: str) -> None:
    once = tried(Subject(type=subject_type, value=value))

    if once is not None:
        assert normalise(once) == once


def test_every_character_that_folding_changes_is_folded_once_and_for_all() -> None:
    for character in map(chr, range(0x80, 0x11_0000)):
        if character == unicodedata.normalize("NFC", character).casefold():
            continue
        once = tried(Subject(type=SubjectType.EMAIL, value=f"{character}\u0345@a"))
        if once is not None:
            assert normalise(once) == once


@quick
@given(value=some_email)
def test_spellings_that_unicode_holds_equivalent_are_one_email(value: str) -> None:
    composed = tried(Subject(type=SubjectType.EMAIL, value=unicodedata.normalize("NFC", value)))
    decomposed = tried(Subject(type=SubjectType.EMAIL, value=unicodedata.normalize("NFD", value)))

    assert composed == decomposed


@quick
@given(subject_type=some_type, value=some_value)
def test_the_quick_way_to_a_key_is_the_slow_way(subject_type: SubjectType, value: str) -> None:
    normalised = tried(Subject(type=subject_type, value=value))

    if normalised is None:
        with pytest.raises(InvalidArgumentError):
            KEYER.key_of(subject_type, value)
    else:
        assert KEYER.key_of(subject_type, value) == KEYER.key(normalised)


@settings(max_examples=600, deadline=None)
@given(domain=some_domain_text)
def test_a_domain_is_what_idna_makes_of_it(domain: str) -> None:
    """Only all of ASCII may be taken that IDNA 2008 refuses; whatever it takes is the same."""
    try:
        expected = idna.encode(domain, uts46=True, std3_rules=False, transitional=False).decode()
    except UnicodeError:
        expected = None

    ours = tried(Subject(type=SubjectType.EMAIL, value=f"ada@{domain}"))

    if expected is not None:
        assert ours is not None
        assert ours.value == "ada@" + expected.lower().removesuffix(".")
    elif ours is not None:
        mapped = idna.uts46_remap(domain, std3_rules=False, transitional=False)
        assert any(label.isascii() and not is_taken_by_idna(label) for label in mapped.split("."))


@quick
@given(subject_type=some_type, value=some_value)
def test_a_refusal_does_not_repeat_the_address(subject_type: SubjectType, value: str) -> None:
    assume(tried(Subject(type=subject_type, value=value)) is None)

    with pytest.raises(InvalidArgumentError) as raised:
        normalise(Subject(type=subject_type, value=value))

    told = f"{raised.value} {raised.value.violations} {raised.value.metadata}"
    assert len(value) < 6 or value not in told
    assert raised.value.__context__ is None or raised.value.__suppress_context__


def test_what_two_types_of_subject_have_in_common_does_not_make_one_key() -> None:
    keys = {
        KEYER.key(Subject(type=subject_type, value="+436601234567")) for subject_type in SubjectType
    }

    assert len(keys) == len(SubjectType)


def test_another_lookup_key_makes_other_keys() -> None:
    subject = Subject(type=SubjectType.EMAIL, value="ada@example.com")

    assert Keyer(bytes(32)).key(subject) != KEYER.key(subject)


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_lookup_key_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Keyer(bytes(size))


def test_a_keyer_remembers_a_bounded_number_of_domains() -> None:
    keyer = Keyer(bytes(32))

    for number in range(DOMAINS_CACHED_MAX + 10):
        keyer.key_of(SubjectType.EMAIL, f"ada@d{number}.example")

    assert len(keyer._domains) <= DOMAINS_CACHED_MAX


def test_what_grows_beyond_the_limit_when_folded_is_refused() -> None:
    given = "ß" * (SUBJECT_CHARACTERS_MAX // 2) + "@example.com"

    with pytest.raises(InvalidArgumentError, match="at most 320"):
        normalise(Subject(type=SubjectType.EMAIL, value=given))


def test_a_normal_subject_is_given_back_as_it_is() -> None:
    subject = Subject(type=SubjectType.EMAIL, value="ada@example.com")

    assert normalise(subject) is subject


def test_a_subject_is_looked_up_under_each_lookup_key_that_of_the_newest_first() -> None:
    older, newer = LookupKey(1, bytes(32)), LookupKey(2, bytes([1] * 32))
    ada = normalise(Subject(type=SubjectType.EMAIL, value="Ada@Example.com"))
    expected = (Keyer(newer.key).key(ada), Keyer(older.key).key(ada))

    keys = LookupKeys([newer, older])

    assert (keys.keys, keys.newest_id, keys.count) == ((older, newer), 2, 2)
    assert keys.all_of(ada) == keys.all_as_given(SubjectType.EMAIL, "ADA@example.com") == expected
    assert keys.older_of(ada) == expected[1:]


def test_a_lookup_key_is_not_shown() -> None:
    key = LookupKey(1, b"secret-secret-secret-secret-secr")

    assert "secret" not in repr(key)
    assert "1" in repr(key)

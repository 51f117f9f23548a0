"""The one normaliser of subjects, and the key made from what it returns.

Laws:
- Every path that reads a subject goes through `normalise`, so that one person's two spellings of an
  address have one key. It is idempotent, and versioned (`heed.model.NORMALISER_VERSION`).
- It refuses rather than guesses: a refused address is an error somebody sees, a wrong guess is an
  opt-out that nobody finds.
- Characters that this Python's Unicode has not assigned are refused, so that two versions of
  Unicode give the same answer or one of them gives none (case folding and NFC of assigned
  characters never change).
- No message repeats an address.

The specification is docs/normaliser.md, its vectors tests/cases/normaliser.json. Sources: UTS 46
non-transitional, UAX 15 (NFC), RFC 7693 (BLAKE2b), RFC 6531, E.164.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple, assert_never

from heed.errors import FieldViolation, InvalidArgumentError
from heed.model import SUBJECT_CHARACTERS_MAX, Subject, SubjectKey, SubjectType

LOOKUP_KEY_BYTES = 32
DOMAIN_CHARACTERS_MAX = 253
DOMAIN_LABEL_CHARACTERS_MAX = 63
PHONE_DIGITS_MIN = 7
PHONE_DIGITS_MAX = 15
DOMAINS_CACHED_MAX = 4_096
"""How many spellings of domains a `Keyer` remembers; at most about 3 MiB."""

_PERSON = b"heed-subject-v1"
_KEY_BYTES = 16

_ATOM = b"abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~."
"""What stands for itself in the lower-cased local part of nearly every address."""
_NEEDS_QUOTES = frozenset('()<>[]:;,\\"@')
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)+"')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_TO_ESCAPE = re.compile(r'["\\]')
_JOINERS = frozenset("\u200c\u200d")
"""They change how a word looks in the scripts that use them; other format characters are unseen."""
_ASCII_LABEL = re.compile(rf"[a-z0-9_-]{{1,{DOMAIN_LABEL_CHARACTERS_MAX}}}")
_PHONE_PUNCTUATION = frozenset(" \u00a0\u2007\u2009\u202f\u3000()-./") | frozenset(
    "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d\uff08\uff09\uff0e\uff0f"
)
_UNSEEN_IN_PHONE = frozenset("\u00ad\u200b\u200e\u200f\u2060\ufeff") | frozenset(
    chr(mark) for mark in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
)
"""What copying from a telephone's contacts brings along."""
_PLUS = frozenset("+\uff0b")
_TRUNK_ZERO = re.compile(r"[(\uff08]\s*0\s*[)\uff09]")


class Keyer:
    """Makes the keys of one tenant's subjects. Safe to share between threads."""

    def __init__(self, lookup_key: bytes) -> None:
        if len(lookup_key) != LOOKUP_KEY_BYTES:
            raise ValueError(
                f"a lookup key has {LOOKUP_KEY_BYTES} bytes, this one has {len(lookup_key)}"
            )
        self._keyed = blake2b(key=lookup_key, digest_size=_KEY_BYTES, person=_PERSON)
        # With the key's block taken in already, which is half of the work of a short address.
        self._keyed_email = self._keyed.copy()
        self._keyed_email.update(_TYPE_BYTE[_EMAIL])
        self._domains: dict[str, bytes] = {}
        """What follows the local part, by the domain as it was given."""

    def key(self, subject: Subject) -> SubjectKey:
        """Return the key of a subject that `normalise` returned."""
        hashing = self._keyed.copy()
        hashing.update(_TYPE_BYTE[subject.type] + subject.value.encode())
        return SubjectKey(hashing.digest())

    def key_of(self, subject_type: SubjectType, value: str) -> SubjectKey:
        """Return the key of a subject as it was given: `key(normalise(…))`, quicker.

        Raises:
            InvalidArgumentError: as `normalise`.
        """
        if subject_type == _EMAIL and value.isascii() and len(value) <= SUBJECT_CHARACTERS_MAX:
            local, _, domain = value.rpartition("@")
            plain = local.lower().encode()
            if plain and not plain.translate(None, _ATOM):
                hashing = self._keyed_email.copy()
                hashing.update(plain + (self._domains.get(domain) or self._learn(domain)))
                digest: Any = hashing.digest()
                key: SubjectKey = digest  # to call SubjectKey costs a quarter of the hash
                return key
        return self.key(normalise(Subject(type=subject_type, value=value)))

    def _learn(self, domain: str) -> bytes:
        normalised = b"@" + _domain(domain).encode()
        if len(self._domains) >= DOMAINS_CACHED_MAX:
            self._domains.clear()
        self._domains[domain] = normalised
        return normalised


class LookupKey(NamedTuple):
    """A key under which a tenant's subjects are hashed."""

    key_id: int
    """From 1, one more with each that replaces another."""
    key: bytes

    def __repr__(self) -> str:
        return f"LookupKey(key_id={self.key_id}, key=(hidden))"


class LookupKeys:
    """The lookup keys of one tenant, and the keys that they make of a subject.

    A person stands under one of them at any revision: under the newest, save those who cannot be
    moved because nothing readable of them is left. So a look-up takes each, and what it finds is
    one subject's. Safe to share between threads.
    """

    __slots__ = ("_older", "count", "key", "key_of", "keys", "newest_id")

    def __init__(self, keys: Iterable[LookupKey]) -> None:
        """`keys` are at least one.

        Raises:
            ValueError: a key is not one.
        """
        self.keys = tuple(sorted(keys))
        """Ascending by id."""
        keyers = [Keyer(one.key) for one in reversed(self.keys)]
        self.newest_id = self.keys[-1].key_id
        self.count = len(keyers)
        self.key = keyers[0].key
        """`Keyer.key` of the newest."""
        self.key_of = keyers[0].key_of
        """`Keyer.key_of` of the newest."""
        self._older = keyers[1:]

    def all_of(self, subject: Subject) -> tuple[SubjectKey, ...]:
        """Return every key of a subject that `normalise` returned, that of the newest first."""
        return (self.key(subject), *(keyer.key(subject) for keyer in self._older))

    def all_as_given(self, subject_type: SubjectType, value: str) -> tuple[SubjectKey, ...]:
        """Return the same of a subject as it was given.

        Raises:
            InvalidArgumentError: as `normalise`.
        """
        newest = self.key_of(subject_type, value)
        return (newest, *(keyer.key_of(subject_type, value) for keyer in self._older))

    def older_of(self, subject: Subject) -> tuple[SubjectKey, ...]:
        """Return its keys under all but the newest, newer ones first."""
        return tuple(keyer.key(subject) for keyer in self._older)


def normalise(subject: Subject) -> Subject:
    """Return the one spelling of a subject that stands for all of its spellings.

    Raises:
        InvalidArgumentError: it is malformed; the violation's field is the subject's type in lower
            case (`email`), and the message is the violation's description.
    """
    normalised = normalised_value(subject.type, subject.value)
    return subject if normalised == subject.value else Subject(type=subject.type, value=normalised)


def normalised_value(subject_type: SubjectType, value: str) -> str:
    """Return the value of the subject that `normalise` returns for this one.

    Raises:
        InvalidArgumentError: as `normalise`.
    """
    if subject_type is _EMAIL and value.isascii() and len(value) <= SUBJECT_CHARACTERS_MAX:
        # Nearly every address: what the rest of this module says of it, quicker.
        local, _, domain = value.rpartition("@")
        plain = local.lower()
        if plain and not plain.encode().translate(None, _ATOM):
            return f"{plain}@{_domain(domain)}"
    if not value:
        raise _refusal(subject_type, "is empty")
    if len(value) > SUBJECT_CHARACTERS_MAX:
        raise _too_long(subject_type, len(value))
    match subject_type:
        case SubjectType.EMAIL:
            normalised = _email(value)
        case SubjectType.PHONE:
            normalised = _phone(value)
        case SubjectType.USER | SubjectType.DEVICE:
            normalised = _identifier(subject_type, value)
        case _:
            assert_never(subject_type)
    if len(normalised) > SUBJECT_CHARACTERS_MAX:
        raise _too_long(subject_type, len(normalised))
    return normalised


def _email(value: str) -> str:
    local, at, domain = value.rpartition("@")
    if not at:
        raise _refusal(SubjectType.EMAIL, "has no '@'; write it as name@domain")
    if not local:
        raise _refusal(SubjectType.EMAIL, "has nothing before its '@'; write it as name@domain")
    return f"{_local(local)}@{_domain(domain)}"


def _local(value: str) -> str:
    if value.isascii():
        folded = value.lower()
    else:
        folded = unicodedata.normalize("NFC", value).casefold()
        folded = unicodedata.normalize("NFC", folded)
    # What is folded is judged, not what was given: NFC makes a semicolon of U+037E.
    for character in folded:
        if not character.isascii() or not character.isprintable() or character == " ":
            _check_local_character(character)
    if _NEEDS_QUOTES.isdisjoint(folded):
        return folded
    if _QUOTED.fullmatch(folded) is None:
        character = next(one for one in folded if one in _NEEDS_QUOTES)
        raise _refusal(
            SubjectType.EMAIL,
            f"has {character!r} before its '@', which stands only between quotes; give one bare "
            "address: name@domain",
        )
    return _least_quoted(folded[1:-1])


def _least_quoted(content: str) -> str:
    """Return a quoted string as it is written with the fewest quotes and backslashes.

    `"ada"` and `ada` name one mailbox (RFC 5321, 4.1.2).
    """
    said = _ESCAPED.sub(r"\1", content)
    if _NEEDS_QUOTES.isdisjoint(said):
        return said
    return '"' + _TO_ESCAPE.sub(r"\\\g<0>", said) + '"'


def _check_local_character(character: str) -> None:
    category = unicodedata.category(character)
    if category in {"Zs", "Zl", "Zp"}:
        raise _refusal(SubjectType.EMAIL, f"has white space ({_name(character)}); leave it out")
    if category in {"Cc", "Cs", "Cn"} or (category == "Cf" and character not in _JOINERS):
        raise _refusal(
            SubjectType.EMAIL, f"has {_name(character)}, which nobody can see; leave it out"
        )


@lru_cache(maxsize=DOMAINS_CACHED_MAX)
def _domain(value: str) -> str:
    """Return a domain in lower-case ASCII.

    An ASCII label is its lower case, A-labels too: one that is not valid is no other label's. Any
    other label is mapped by UTS 46 (non-transitional) and made an A-label by RFC 5891.
    """
    if value.isascii():
        labels = value.lower().split(".")
    else:
        import idna  # every import of the library would wait for its tables

        try:
            mapped = idna.uts46_remap(value, std3_rules=False, transitional=False)
            labels = [
                label if label.isascii() else idna.alabel(label).decode()
                for label in mapped.split(".")
            ]
        except UnicodeError:
            # What idna raises quotes the label, which is part of the address.
            raise _refusal(
                SubjectType.EMAIL, "has a domain that UTS 46 and IDNA 2008 refuse; correct it"
            ) from None
    if len(labels) > 1 and not labels[-1]:
        labels.pop()
    for label in labels:
        if _ASCII_LABEL.fullmatch(label) is None:
            raise _refusal(
                SubjectType.EMAIL,
                f"has a domain that is not labels of 1 to {DOMAIN_LABEL_CHARACTERS_MAX} letters, "
                "digits and hyphens joined by dots; correct it",
            )
    domain = ".".join(labels)
    if len(domain) > DOMAIN_CHARACTERS_MAX:
        raise _refusal(
            SubjectType.EMAIL,
            f"has a domain of {len(domain)} characters, at most {DOMAIN_CHARACTERS_MAX} are taken",
        )
    return domain


def _phone(value: str) -> str:
    written = "".join(one for one in value if one not in _UNSEEN_IN_PHONE)
    if _TRUNK_ZERO.search(written) is not None:
        raise _refusal(
            SubjectType.PHONE,
            "has a (0), which is dialled in some countries and not in others; write the number as "
            "it is dialled from abroad",
        )
    kept = [one for one in written if one not in _PHONE_PUNCTUATION]
    if not kept or kept[0] not in _PLUS:
        raise _refusal(SubjectType.PHONE, "has no '+' and country code; write it as +43 660 123456")
    digits: list[str] = []
    for character in kept[1:]:
        digit = unicodedata.decimal(character, None)
        if digit is None:
            raise _refusal(
                SubjectType.PHONE,
                f"has {_name(character)}, which is no digit; write digits after the '+'",
            )
        digits.append(str(digit))
    if not PHONE_DIGITS_MIN <= len(digits) <= PHONE_DIGITS_MAX:
        raise _refusal(
            SubjectType.PHONE,
            f"has {len(digits)} digits; with its country code a number has {PHONE_DIGITS_MIN} to "
            f"{PHONE_DIGITS_MAX}",
        )
    if digits[0] == "0":
        raise _refusal(SubjectType.PHONE, "has a country code that begins with 0; correct it")
    return "+" + "".join(digits)


def _identifier(subject_type: SubjectType, value: str) -> str:
    if value.isprintable():
        return value
    for character in value:
        if unicodedata.category(character) in {"Cc", "Cs"}:
            raise _refusal(subject_type, f"has {_name(character)}; leave it out")
    return value


def _name(character: str) -> str:
    return f"U+{ord(character):04X}"


def _too_long(subject_type: SubjectType, characters: int) -> InvalidArgumentError:
    return _refusal(
        subject_type, f"has {characters} characters, at most {SUBJECT_CHARACTERS_MAX} are taken"
    )


def _refusal(subject_type: SubjectType, description: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        description,
        violations=[FieldViolation(field=subject_type.name.lower(), description=description)],
    )


# Python 3.11 looks a member up on its enum some ten times slower than a name.
_EMAIL: Final = SubjectType.EMAIL
_TYPE_BYTE: Final = {subject_type: bytes([subject_type]) for subject_type in SubjectType}

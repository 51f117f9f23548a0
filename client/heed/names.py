"""The words of the contract as people write them: `email`, `in_app`, `promotional`.

Laws:
- Case and the difference between `-` and `_` do not matter; nothing else is forgiven.
- A word that is not one of its list is an error that names the nearest one, never a guess.
"""

import difflib
import enum
from typing import TypeVar

from heed.errors import FieldViolation, InvalidArgumentError

E = TypeVar("E", bound=enum.IntEnum)


def words_of(kind: type[E]) -> tuple[str, ...]:
    """Return the words of a list, in its order. What means "not said" is not a word."""
    return tuple(word_of(member) for member in kind if member.value)


def word_of(member: enum.IntEnum) -> str:
    """Return the word of one member: `in_app` for `Channel.IN_APP`."""
    return member.name.lower()


def named(kind: type[E], word: E | str, field: str) -> E:
    """Return the member that a word names; a member is itself.

    Raises:
        InvalidArgumentError: it is none of the list; `field` names the argument.
    """
    if isinstance(word, kind):
        return word
    written = str(word).strip().lower().replace("-", "_")
    member = kind.__members__.get(written.upper())
    if member is not None and member.value:
        return member
    known = words_of(kind)
    nearest = difflib.get_close_matches(written, known, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    description = f"{str(word)[:40]!r} is not one; {hint}it is one of {', '.join(known)}"
    raise InvalidArgumentError(
        f"{field}: {description}",
        violations=[FieldViolation(field, description)],
        metadata={"field": field} | ({"nearest": nearest[0]} if nearest else {}),
    )

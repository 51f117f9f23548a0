"""Records of JSON: an array, an object around one (a vendor's page), pages one after another,
or an object a line.

Laws:
- A list of any length is read in constant memory: its elements are decoded one by one, from a
  buffer that holds no more than one record's bound beyond what it reads at once.
- In JSON lines a line that is broken is given back and reading goes on. In other JSON nothing says
  where the next record begins, so that reading ends with an error that names the record.

Source: RFC 8259.
"""

import json
import re
from collections.abc import Iterator
from typing import Final, TextIO

from heed.formats.rows import UnusableInputError
from heed.formats.tables import Broken

RECORD_CHARACTERS_MAX: Final = 1_048_576
"""Characters of one record, and of whatever stands around the list."""

CONTAINERS: Final = frozenset(
    {
        "SuppressedDestinationSummaries",  # SES
        "Contacts",  # SES
        "Suppressions",  # Postmark
        "recipient_emails",  # SendGrid
        "items",  # Mailgun, Twilio
        "Items",  # Twilio
        "data",  # Telnyx
        "result",  # Cloudflare
    }
)
"""The members that hold the list in the pages of those vendors."""

_READ_CHARACTERS: Final = 65_536
_REST_OF_NUMBER = re.compile(r"[0-9.eE+-]*")
_SPACE = re.compile(r"[ \t\r\n]*")
_decode = json.JSONDecoder().raw_decode

DocumentRecord = tuple[int, object]
"""The ordinal of a record, from 1, and the record; of JSON lines its line, or what is broken."""


def line_records(text: TextIO) -> Iterator[DocumentRecord]:
    """Yield the records of JSON lines."""
    number = 0
    while line := text.readline(RECORD_CHARACTERS_MAX):
        number += 1
        if len(line) == RECORD_CHARACTERS_MAX and line[-1] not in "\r\n":
            yield number, Broken(line, f"has more than {RECORD_CHARACTERS_MAX} characters")
            while (rest := text.readline(RECORD_CHARACTERS_MAX)) and rest[-1] not in "\r\n":
                pass
            continue
        if line.isspace():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            yield number, Broken(line.rstrip("\r\n"), "is no JSON")
            continue
        for record in _records_of(value):
            yield number, record


def document_records(text: TextIO) -> Iterator[DocumentRecord]:
    """Yield the records of documents, one after another.

    Raises:
        UnusableInputError: it is no JSON from some record on, or a record breaks the bound.
    """
    buffer = _Buffer(text)
    number = 0
    try:
        for record in _documents(buffer):
            number += 1
            yield number, record
    except _BrokenError as error:
        raise UnusableInputError(
            f"the JSON {error} after record {number}; what stands before is read, the rest is not: "
            "fetch the file again"
        ) from None


class _BrokenError(Exception):
    pass


class _Buffer:
    """A window on a text, from which values are decoded."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._window = ""
        self._at = 0
        self._is_at_end = False

    def peek(self) -> str:
        """Return the next character that is not white space; empty at the end."""
        while True:
            space = _SPACE.match(self._window, self._at)
            if space is not None:
                self._at = space.end()
            if self._at < len(self._window):
                return self._window[self._at]
            if not self._read_on():
                return ""

    def take(self, expected: str) -> str:
        """Take the next character, which is one of `expected`, and return it."""
        found = self.peek()
        if not found or found not in expected:
            raise _BrokenError("is cut short" if not found else "is broken")
        self._at += 1
        return found

    def value(self) -> object:
        """Take the next value."""
        found, value = self.value_if_whole()
        if not found and self._is_at_end:
            raise _BrokenError("is broken or cut short")
        if not found:
            raise _BrokenError(
                f"is broken, or has a value of more than {RECORD_CHARACTERS_MAX} characters,"
            )
        return value

    def value_if_whole(self) -> tuple[bool, object]:
        """Take the next value, or nothing (False) if no whole one is within a record's bound."""
        if not self.peek():
            raise _BrokenError("is cut short")
        while True:
            try:
                value, end = _decode(self._window, self._at)
            except RecursionError:
                raise _BrokenError("is nested too deep") from None
            except ValueError:
                if len(self._window) - self._at > RECORD_CHARACTERS_MAX or not self._read_on():
                    return False, None
                continue
            # A number may go on in what is not read yet.
            if (
                isinstance(value, int | float)
                and _REST_OF_NUMBER.fullmatch(self._window, end) is not None
                and self._read_on()
            ):
                continue
            if end - self._at > RECORD_CHARACTERS_MAX:
                return False, None
            self._at = end
            return True, value

    def _read_on(self) -> bool:
        """Read as much again as is waiting, so that decoding again stays linear."""
        if self._is_at_end:
            return False
        waiting = self._window[self._at :]
        read = self._text.read(max(_READ_CHARACTERS, len(waiting)))
        self._is_at_end = not read
        self._window = waiting + read
        self._at = 0
        return bool(read)


def _documents(buffer: _Buffer) -> Iterator[object]:
    while first := buffer.peek():
        if first == "[":
            for value in _elements(buffer):
                yield from _records_of(value)
            continue
        if first == "{":
            found, value = buffer.value_if_whole()
            if not found:
                yield from _page_records(buffer)
                continue
        else:
            value = buffer.value()
        yield from _records_of(value)


def _elements(buffer: _Buffer) -> Iterator[object]:
    """Yield the elements of the array that begins here."""
    buffer.take("[")
    if buffer.peek() == "]":
        buffer.take("]")
        return
    while True:
        yield buffer.value()
        if buffer.take(",]") == "]":
            return


def _page_records(buffer: _Buffer) -> Iterator[object]:
    """Yield the records of the list in the object that begins here."""
    buffer.take("{")
    has_list = False
    while True:
        key = buffer.value()
        if not isinstance(key, str):
            raise _BrokenError("is broken")
        buffer.take(":")
        if key in CONTAINERS and buffer.peek() == "[":
            has_list = True
            for value in _elements(buffer):
                yield _named(key, value)
        else:
            buffer.value()
        if buffer.take(",}") == "}":
            break
    if not has_list:
        raise _BrokenError(f"has an object of more than {RECORD_CHARACTERS_MAX} characters")


def _records_of(value: object) -> Iterator[object]:
    """Yield a value, or the records of the list that it is a page around."""
    if isinstance(value, dict) and not CONTAINERS.isdisjoint(value):
        for key in sorted(CONTAINERS & value.keys()):
            if isinstance(value[key], list):
                for record in value[key]:
                    yield _named(key, record)
                return
    yield value


def _named(container: str, record: object) -> object:
    """Return a record; a bare text under the name of its list, which says what it is."""
    return {container: record} if isinstance(record, str) else record

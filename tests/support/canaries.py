"""Addresses that are known again wherever they turn up, in whatever encoding.

canary = Canary("kanarie7319q", "660731955501")
canary.found_in(some_bytes)  # the encodings in which it is there; none is what is hoped for
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from heed_proto.v1 import types_pb2 as pb

SUBJECT = pb.Subject.DESCRIPTOR.full_name


@dataclass(frozen=True)
class Canary:
    """One person. Both parts stand in nothing else, and no encoding of a part is changed by what
    stands beside it, but for base64, whose three alignments are all looked for."""

    word: str
    """Letters and digits, lower case: in the email address, its domain, the user and the device."""
    digits: str
    """Of the phone number, after +43."""
    _forms: dict[str, bytes] = field(default_factory=dict)
    _exact: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in (self.word, self.digits):
            for name, form in _encoded(part):
                self._forms[f"{part} as {name}"] = form.lower()
            for text in {part, part.upper()}:
                for shift, form in enumerate(_base64(text.encode())):
                    self._exact[f"{text} as base64, shifted by {shift}"] = form

    @property
    def subjects(self) -> tuple[pb.Subject, ...]:
        """Every identifier, two of the email in different spellings among them."""
        word = self.word
        return (
            pb.Subject(email=f"{word}@{word}.example"),
            pb.Subject(email=f"{word.upper()}@bü{word}.example"),
            pb.Subject(phone=f"+43 {self.digits[:3]} {self.digits[3:]}"),
            pb.Subject(user=f"user-{word}"),
            pb.Subject(device=f"device-{word}"),
        )

    @property
    def malformed(self) -> tuple[pb.Subject, ...]:
        """What is refused, and holds it."""
        word = self.word
        return (
            pb.Subject(email=f"{word}@@{word}.example"),
            pb.Subject(email=f"{word} at example.com"),
            pb.Subject(email=f"{word}@{word}..example"),
            pb.Subject(phone=f"0{self.digits}"),
            pb.Subject(phone=f"+43{self.digits}x{word}"),
            pb.Subject(user=f"\x00{word}"),
            pb.Subject(device=word * 40),
        )

    def found_in(self, hay: bytes) -> list[str]:
        """Return in which encodings it is there."""
        lowered = hay.lower()
        return [name for name, form in self._forms.items() if form in lowered] + [
            name for name, form in self._exact.items() if form in hay
        ]


def about(request: Message, subject: pb.Subject) -> Message:
    """Return a request with every subject in it replaced by this one."""
    changed = type(request)()
    changed.CopyFrom(request)
    _replace(changed, subject)
    return changed


def files_of(*folders: Path) -> dict[str, bytes]:
    """Every file beneath some folders, by its path."""
    return {
        str(path): path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def _replace(message: Message, subject: pb.Subject) -> None:
    for described, value in message.ListFields():
        if described.type != FieldDescriptor.TYPE_MESSAGE:
            continue
        for one in value if described.is_repeated else (value,):
            if one.DESCRIPTOR.full_name == SUBJECT:
                one.CopyFrom(subject)
            else:
                _replace(one, subject)


def _encoded(text: str) -> Iterator[tuple[str, bytes]]:
    raw = text.encode()
    yield "utf-8", raw
    yield "utf-16-le", text.encode("utf-16-le")
    yield "utf-16-be", text.encode("utf-16-be")
    yield "utf-32-le", text.encode("utf-32-le")
    yield "hex", raw.hex().encode()
    yield "hex apart", raw.hex(" ").encode()
    yield "percent", "".join(f"%{byte:02x}" for byte in raw).encode()
    yield "escapes of Python", "".join(f"\\x{byte:02x}" for byte in raw).encode()
    yield "escapes of JSON", "".join(f"\\u{ord(one):04x}" for one in text).encode()
    yield "backwards", raw[::-1]


def _base64(raw: bytes) -> Iterator[bytes]:
    """What of the base64 is the same whatever stands around it, for each alignment."""
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + raw)
        first = -(-shift * 8 // 6) if shift else 0
        whole = (shift + len(raw)) * 8 // 6
        yield encoded[first:whole]

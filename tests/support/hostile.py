"""What somebody may send to a method on purpose or by mistake: bytes, and messages that lie.

Messages are drawn from the descriptors, so that a new method or field is sent to as it appears.
"""

import random
from collections.abc import Iterator

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from tests.support import requests as ask

ODD_STRINGS = (
    "",
    " ",
    "\0",
    "a\0b@example.com",
    "ada@example.com",
    "ADA@EXAMPLE.COM ",
    "@",
    "a@" + "b" * 400,
    "+43 660 1234567",
    "+" + "9" * 50,
    "marketing.weekly",
    "." * 250,
    ".".join("abcdefghijkl"),
    "Ünïcode@exämple.com",
    "\u202egnp.exe@example.com",
    "\ud7ff\ue000",
    "\U0010ffff" * 200,
    "default",
    "'; DROP TABLE changes; --",
    "{{7*7}}${jndi:ldap://x}",
    "192.0.2.0/24",
    "192.0.2.1/32",
    "::/0",
    "DE",
    "k" * 128,
    "k" * 129,
    "x" * 5_000,
)
ODD_NUMBERS = (0, 1, 2, 3, 4, 9, 10, 99, -1, 127, 128, 255, 2**31 - 1, -(2**31))
ODD_LONG_NUMBERS = (*ODD_NUMBERS, 2**63 - 1, -(2**63), 253_402_300_799, 253_402_300_800)


def request_class(method: MethodDescriptor) -> type[Message]:
    """The class of a method's requests."""
    return message_factory.GetMessageClass(method.input_type)


def raw_bytes(chance: random.Random, method: MethodDescriptor) -> Iterator[bytes]:
    """Bytes that are no message, or hardly one."""
    valid = ask.VALID[method.name]().SerializeToString()
    yield b"\0"
    yield b"\xff" * 64
    yield b"\x0a\xff\xff\xff\xff\x0f"  # a length of 4 GiB
    yield b"\x0a\x03\xed\xa0\x80"  # an unpaired surrogate
    yield b"\x0b" * 200  # groups in groups
    yield valid[:-1]
    yield valid * 2
    yield valid + b"\xfa\xff\xff\xff\x7f\x03abc"
    for _ in range(20):
        yield chance.randbytes(chance.choice((1, 2, 3, 8, 40, 400)))
    for _ in range(40):
        yield mutated(chance, valid)


def mutated(chance: random.Random, valid: bytes) -> bytes:
    """A valid message with some bytes changed, removed, doubled or made surrogates."""
    spoilt = bytearray(valid)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(spoilt) + 1)
        match chance.randrange(5):
            case 0 if at < len(spoilt):
                spoilt[at] = chance.randrange(256)
            case 1 if at < len(spoilt):
                del spoilt[at]
            case 2:
                spoilt[at:at] = chance.randbytes(2)
            case 3 if at < len(spoilt):
                spoilt[at] ^= 1 << chance.randrange(8)
            case _:
                spoilt[at : at + 3] = b"\xed\xa0\x80"
    return bytes(spoilt)


def messages(chance: random.Random, method: MethodDescriptor, count: int) -> Iterator[Message]:
    """Well-formed messages whose every field may be anything, half of them nearly valid."""
    for at in range(count):
        message = ask.VALID[method.name]() if at % 2 else request_class(method)()
        fill(chance, message, depth=0, density=0.25 if at % 2 else 0.8)
        yield message


def fill(chance: random.Random, message: Message, *, depth: int, density: float) -> None:
    """Set some fields to odd values."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() > density:
            continue
        if field.message_type is not None:
            if depth > 4:
                continue
            if field.is_repeated:
                for _ in range(chance.choice((1, 2, 9))):
                    added = getattr(message, field.name).add()
                    fill(chance, added, depth=depth + 1, density=density)
            else:
                inner = getattr(message, field.name)
                inner.SetInParent()
                fill(chance, inner, depth=depth + 1, density=density)
        elif field.is_repeated:
            getattr(message, field.name).extend(
                _odd(chance, field.cpp_type, field.type) for _ in range(3)
            )
        else:
            setattr(message, field.name, _odd(chance, field.cpp_type, field.type))


def _odd(chance: random.Random, cpp_type: int, type_: int) -> object:
    match cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if type_ == FieldDescriptor.TYPE_BYTES:
            return chance.randbytes(chance.choice((0, 1, 31, 32, 33)))
        case FieldDescriptor.CPPTYPE_STRING:
            return chance.choice(ODD_STRINGS)
        case FieldDescriptor.CPPTYPE_BOOL:
            return chance.random() < 0.5
        case FieldDescriptor.CPPTYPE_INT64:
            return chance.choice(ODD_LONG_NUMBERS)
        case FieldDescriptor.CPPTYPE_UINT64:
            return abs(chance.choice(ODD_LONG_NUMBERS))
        case _:
            return chance.choice(ODD_NUMBERS)

"""As much of HPACK (RFC 7541) as a load speaks: literals that nobody indexes, and no Huffman code."""

from collections.abc import Iterator


def text(value: bytes) -> bytes:
    """Return a string as a block has it."""
    if len(value) > 126:
        return b"\x7f" + _long(len(value) - 127) + value
    return bytes([len(value)]) + value


def _long(rest: int) -> bytes:
    encoded = bytearray()
    while rest >= 128:
        encoded.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*encoded, rest])


def literals(block: bytes) -> Iterator[tuple[str, str]]:
    """Read a block of literals with literal names; others are passed over as one unknown field."""
    at = 0
    while at < len(block):
        first = block[at]
        if first & 0x80 or first in (0x20, 0x3F):  # an indexed field, or a change of table size
            at += 1
            continue
        if first & 0x0F and first & 0xF0 in (0x00, 0x10):  # a literal with an indexed name
            at += 1
            if first & 0x0F == 0x0F:
                at += 1
            name = ""
        else:
            name, at = _string(block, at + 1)
        value, at = _string(block, at)
        yield name, value


def _string(block: bytes, at: int) -> tuple[str, int]:
    size = block[at]
    if size >= 0x7F:
        raise ConnectionError(f"trailers {block!r}: not for a load like this")
    return block[at + 1 : at + 1 + size].decode(), at + 1 + size

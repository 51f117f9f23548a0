"""Signed notes: a text, and lines that say who signed it.

Laws:
- A note has one spelling: what is parsed is what would be written.
- A key is named by its holder's name and an id made from name and key; a signature by a key that is
  not known says nothing, and one by a known key that does not fit refuses the whole note.
Source: C2SP signed-note, https://c2sp.org/signed-note; only Ed25519 (signature type 1).
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import NamedTuple

from heed.audit.failing import ProofError

NOTE_BYTES_MAX = 64 * 1024
"""A longer note is not read."""
SIGNATURES_MAX = 64
"""A note with more signatures is not read."""
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

_ED25519 = b"\x01"
_KEY_ID_BYTES = 4
_SIGNED_BY = "— "

Verify = Callable[[bytes, bytes, bytes], bool]
"""Whether (public key, signature, message) fit (`heed.audit.signing.verify`)."""


class VerifierKey(NamedTuple):
    """Whose signature is believed, and the key that checks it."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """Return the 4 bytes that name this key of its holder."""
        named = self.name.encode() + b"\n" + _ED25519 + self.public_key
        return sha256(named).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        """Return the key as it is handed on: `name+id+key`."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(_ED25519 + self.public_key)}"


class Signature(NamedTuple):
    """One signature line of a note."""

    name: str
    key_id: bytes
    signature: bytes


class Note(NamedTuple):
    """A signed note, its signatures not checked."""

    text: str
    """Ends in a newline."""
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        """Return the note as it is written down."""
        return f"{self.text}\n" + "".join(
            f"{_SIGNED_BY}{one.name} {encode_base64(one.key_id + one.signature)}\n"
            for one in self.signatures
        )


def read_verifier_key(said: str) -> VerifierKey:
    """Return the key that a text of the form `name+id+key` is. Raises ProofError."""
    # The key's own base64 may have a +.
    name, _, rest = said.partition("+")
    _, _, encoded = rest.partition("+")
    try:
        require_name(name)
        content = decode_base64(encoded)
    except ProofError as error:
        raise ProofError(f"{said[:100]!r} is no verifier key (name+id+key)") from error
    if content[:1] != _ED25519 or len(content) != 1 + PUBLIC_KEY_BYTES:
        raise ProofError(f"the verifier key of {name!r} is none of Ed25519")
    key = VerifierKey(name, content[1:])
    if str(key) != said:
        raise ProofError(f"the verifier key of {name!r} has another id than its own")
    return key


def read_note(said: str) -> Note:
    """Return the note that a text is. Raises ProofError."""
    if len(said.encode(errors="replace")) > NOTE_BYTES_MAX:
        raise ProofError(f"a note has at most {NOTE_BYTES_MAX} bytes")
    if any(one < " " and one != "\n" for one in said):
        raise ProofError("a note has no control characters but newlines")
    text, separator, signed = said.rpartition("\n\n")
    if not separator or not text or not signed.endswith("\n"):
        raise ProofError("a note is a text, an empty line, and lines of signatures")
    lines = signed[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise ProofError(f"a note has at most {SIGNATURES_MAX} signatures")
    return Note(f"{text}\n", tuple(map(_signature, lines)))


def require_signed(note: Note, keys: Sequence[VerifierKey], verify: Verify) -> list[VerifierKey]:
    """Return those of the keys that signed a note, at least one. Raises ProofError."""
    by_id = {(key.name, key.key_id): key for key in keys}
    found: dict[VerifierKey, None] = {}
    for one in note.signatures:
        key = by_id.get((one.name, one.key_id))
        if key is None:
            continue
        if len(one.signature) != SIGNATURE_BYTES or not verify(
            key.public_key, one.signature, note.text.encode()
        ):
            raise ProofError(f"the signature of {one.name!r} does not fit what it signs")
        found[key] = None
    if not found:
        raise ProofError("nobody whose key was given has signed this")
    return list(found)


def require_name(name: str) -> None:
    """Return if a key may have this name. Raises ProofError."""
    if not name or "+" in name or any(one.isspace() or not one.isprintable() for one in name):
        raise ProofError("a key's name has no spaces and no +, and is not empty")


def encode_base64(content: bytes) -> str:
    """Return bytes in base64 (RFC 4648 §4)."""
    return b64encode(content).decode()


def decode_base64(said: str) -> bytes:
    """Return what a text in base64 is, in its one spelling. Raises ProofError."""
    try:
        content = b64decode(said, validate=True)
    except ValueError as error:
        raise ProofError(f"{said[:100]!r} is no base64") from error
    if encode_base64(content) != said:
        raise ProofError(f"{said[:100]!r} is base64 in another spelling than its one")
    return content


def _signature(line: str) -> Signature:
    name, separator, encoded = line.removeprefix(_SIGNED_BY).partition(" ")
    if not line.startswith(_SIGNED_BY) or not separator:
        raise ProofError(f"{line[:100]!r} is no line of a signature")
    require_name(name)
    content = decode_base64(encoded)
    if len(content) <= _KEY_ID_BYTES:
        raise ProofError(f"the signature of {name!r} is too short")
    return Signature(name, content[:_KEY_ID_BYTES], content[_KEY_ID_BYTES:])

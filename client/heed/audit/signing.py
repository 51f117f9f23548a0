"""Ed25519, by a library: the one module that signs and verifies.

Needs the extra `audit` of `heed`; a server has it.
Source: RFC 8032.
"""

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        "checking signatures needs the library cryptography: pip install 'heed[audit]'"
    ) from error

from heed.audit.checkpoints import Checkpoint
from heed.audit.notes import Note, Signature, VerifierKey

SEED_BYTES = 32
"""The secret that a key is made of."""


class SigningKey:
    """A log's key: signs its checkpoints."""

    def __init__(self, seed: bytes, name: str) -> None:
        """`seed` are 32 random bytes; `name` is that of the log."""
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(name, self._key.public_key().public_bytes_raw())

    def sign(self, checkpoint: Checkpoint) -> str:
        """Return the checkpoint as a signed note."""
        verifier, text = self.verifier, checkpoint.text
        signature = self._key.sign(text.encode())
        return str(Note(text, (Signature(verifier.name, verifier.key_id, signature),)))


def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a message was signed by the holder of a public key."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True

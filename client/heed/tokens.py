"""The opaque token that every answer carries: which log, which revision, and what it was there.

Layout, version 1, big-endian, in base64url (RFC 4648 §5) without padding, 39 characters: version
u8, epoch of 8 bytes, tenant u32, revision u64, the first 8 bytes of the log's running hash at that
revision.
"""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass

from heed.errors import ErrorReason, FieldViolation, InvalidArgumentError
from heed.model import Revision, TenantId

EPOCH_BYTES = 8
TOKEN_HASH_BYTES = 8
"""How much of a running hash a token holds."""

_VERSION = 1
_LAYOUT = struct.Struct(">B8sIQ8s")
_CHARACTERS = 39


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A position in a tenant's log."""

    epoch: bytes
    tenant_id: TenantId
    revision: Revision
    running_hash: bytes
    """Its first 8 bytes."""


def encode_token(
    *, epoch: bytes, tenant_id: TenantId, revision: Revision, running_hash: bytes
) -> str:
    """Return the token of a position; of the running hash only the first 8 bytes are taken."""
    if len(epoch) != EPOCH_BYTES or len(running_hash) < TOKEN_HASH_BYTES:
        raise ValueError(
            f"a token needs {EPOCH_BYTES} bytes of epoch and at least {TOKEN_HASH_BYTES} of hash, "
            f"not {len(epoch)} and {len(running_hash)}"
        )
    try:
        packed = _LAYOUT.pack(_VERSION, epoch, tenant_id, revision, running_hash[:TOKEN_HASH_BYTES])
    except struct.error as error:
        raise ValueError(f"tenant {tenant_id} or revision {revision} does not fit") from error
    return urlsafe_b64encode(packed).decode().rstrip("=")


def decode_token(token: str) -> Token:
    """Return the position that a token names.

    Raises:
        InvalidArgumentError: BAD_TOKEN, it is none of ours.
    """
    try:
        packed = urlsafe_b64decode(f"{token}=") if len(token) == _CHARACTERS else b""
    except (Base64Error, ValueError):
        packed = b""
    # Base64 as Python reads it skips what it does not know; a token has one spelling.
    if len(packed) != _LAYOUT.size or urlsafe_b64encode(packed).decode()[:-1] != token:
        raise _refusal("is none of heed's; give it back as it was given")
    version, epoch, tenant_id, revision, running_hash = _LAYOUT.unpack(packed)
    if version != _VERSION:
        raise _refusal(f"is of version {version}, which is not known here; ask without one")
    return Token(
        epoch=epoch,
        tenant_id=TenantId(tenant_id),
        revision=Revision(revision),
        running_hash=running_hash,
    )


def _refusal(description: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"the token {description}",
        reason=ErrorReason.BAD_TOKEN,
        violations=[FieldViolation("token", description)],
    )

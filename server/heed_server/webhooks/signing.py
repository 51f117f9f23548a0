"""Signing webhooks so that a receiver knows whose they are, by any library of the standard.

Laws:
- Each secret signs; a receiver needs one of the signatures. So a secret is replaced without a gap:
  both are named for as long as receivers have either.
- What is signed is the id, the second of the attempt and the body, byte for byte as it is sent.

Source: Standard Webhooks 1.0.0 (symmetric signatures, `v1`).
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

PREFIX: Final = "whsec_"
SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64

_VERSION: Final = "v1"


@dataclass(frozen=True, slots=True)
class Secret:
    """What a sender and a receiver share."""

    key: bytes = field(repr=False)


def parse_secret(text: str) -> Secret:
    """Read a secret: `whsec_` and 24 to 64 bytes in base64.

    Raises:
        ValueError: it is none; the message does not show it.
    """
    if not text.startswith(PREFIX):
        raise ValueError(f"is no secret: it does not begin with {PREFIX}")
    encoded = text.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"is no secret: what follows {PREFIX} is not base64") from None
    if not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        raise ValueError(
            f"is no secret: it has {len(key)} bytes, not {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}"
        )
    return Secret(key)


def signed_headers(
    event_id: str, body: bytes, *, at_second: int, secrets: Sequence[Secret]
) -> dict[str, str]:
    """Return the headers that say what an event is and whose, for an attempt at a second."""
    said = f"{event_id}.{at_second}.".encode() + body
    signatures = (hmac.digest(secret.key, said, hashlib.sha256) for secret in secrets)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(at_second),
        "webhook-signature": " ".join(
            f"{_VERSION},{base64.b64encode(one).decode()}" for one in signatures
        ),
    }

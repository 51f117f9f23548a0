"""Whoever has the password of a source: HTTP's basic authentication, as it stands in an address.

Source: RFC 7617. Postmark has nothing else; of SNS it is what makes raw delivery believed.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence

from heed_server.web.inbound.notification import NotVerifiedError, Why


def require_password(header: str, user: str, passwords: Sequence[bytes]) -> None:
    """Return if a header `Authorization` has the user and one of the passwords.

    Raises:
        NotVerifiedError: it has not.
    """
    if not header:
        raise NotVerifiedError(Why.ABSENT)
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        raise NotVerifiedError(Why.MALFORMED)
    try:
        given = base64.b64decode(credentials.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise NotVerifiedError(Why.MALFORMED) from None
    wanted = [user.encode() + b":" + password for password in passwords]
    # Each is compared, so that time tells nothing of which.
    if sum(hmac.compare_digest(given, one) for one in wanted) == 0:
        raise NotVerifiedError(Why.PASSWORD)

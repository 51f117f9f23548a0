"""SPIFFE IDs: the names of workloads, as certificates carry them.

Law: an ID is compared as it is written, whole. What the standard forbids (another case of the
scheme or the trust domain, a port, a query, an empty or dotted segment) is no ID, so that no two
spellings name one workload.
Source: SPIFFE-ID, sections 2 to 2.4. An ID without a path names a trust domain, not a workload.
"""

import re
from typing import Final

SPIFFE_ID_CHARACTERS_MAX: Final = 2_048
"""Characters of a SPIFFE ID; the standard's own bound."""

_ID: Final = re.compile(r"spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+", re.ASCII)


def is_spiffe_id(text: str) -> bool:
    """Whether a text is the ID of a workload."""
    if len(text) > SPIFFE_ID_CHARACTERS_MAX or _ID.fullmatch(text) is None:
        return False
    return not {".", ".."} & set(text.removeprefix("spiffe://").split("/")[1:])

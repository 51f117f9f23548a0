"""What no backup of the database can read by itself: the root keyset, and what is wrapped by it.

`root_file` is the file outside the database, `root` what it holds, `keysets` the one module that
knows the library (Tink), `names` what the wrapped secrets are called. Source: ADR 0029.
"""

from heed_server.secrets.errors import SecretsError
from heed_server.secrets.keysets import Keyset, key_id_of
from heed_server.secrets.names import (
    ADDRESSES,
    PURPOSES,
    SECRETS,
    address_keyset_name,
    check_name,
    lookup_key_name,
    purpose_of,
)
from heed_server.secrets.root import RootKeys
from heed_server.secrets.root_file import RootFile

__all__ = [
    "ADDRESSES",
    "PURPOSES",
    "SECRETS",
    "Keyset",
    "RootFile",
    "RootKeys",
    "SecretsError",
    "address_keyset_name",
    "check_name",
    "key_id_of",
    "lookup_key_name",
    "purpose_of",
]

"""What the wrapped secrets of a store are called, and which root keyset wraps each.

Law: what makes addresses readable hangs on a root keyset of its own. Its old keys can be destroyed,
so that no older backup gives an address away, while the stops in that backup can still be restored.
"""

from typing import Final

from heed.model import TenantId

SECRETS: Final = "secrets"
"""The root keyset of lookup keys, signing keys, and whatever else must outlive addresses."""
ADDRESSES: Final = "addresses"
"""The root keyset of the tenants' address keysets."""

PURPOSES: Final = (SECRETS, ADDRESSES)

FIRST_LOOKUP_KEY_ID: Final = 1


def check_name(purpose: str) -> str:
    """Return the name of the secret that tells whether a root keyset is this database's."""
    return f"{purpose}/check"


def lookup_key_name(tenant_id: TenantId, key_id: int = FIRST_LOOKUP_KEY_ID) -> str:
    """Return the name of a tenant's lookup key; a leaked one is replaced by one of another id."""
    return f"{SECRETS}/lookup-key/{tenant_id}/{key_id}"


def link_keyset_name(tenant_id: TenantId) -> str:
    """Return the name of the keyset under which a tenant's links are sealed, old keys too."""
    return f"{SECRETS}/link-key/{tenant_id}"


def address_keyset_name(tenant_id: TenantId) -> str:
    """Return the name of the keyset under which a tenant's addresses are encrypted."""
    return f"{ADDRESSES}/{tenant_id}"


def purpose_of(name: str) -> str:
    """Return which root keyset wraps the secret of a name: what stands before its first `/`.

    Raises:
        ValueError: the name begins with no purpose.
    """
    purpose, slash, rest = name.partition("/")
    if purpose not in PURPOSES or not slash or not rest:
        raise ValueError(f"the name of a secret begins with one of {PURPOSES}, not {name!r}")
    return purpose

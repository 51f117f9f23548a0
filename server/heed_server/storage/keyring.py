"""The secrets of an open store, unwrapped in memory and checked against what is stored.

Law: what is remembered is used only for exactly the wrapped bytes that it came from, so that a
secret that another node changed is never an old one here.
"""

from heed.model import SubjectKey, TenantId
from heed_server.secrets.errors import SecretsError
from heed_server.secrets.keysets import Keyset
from heed_server.secrets.names import ADDRESSES, purpose_of
from heed_server.secrets.root import RootKeys
from heed_server.secrets.root_file import RootFile


class Keyring:
    """What the root keys open. Used by every thread of a store; each entry is set as a whole."""

    def __init__(self, root_file: RootFile) -> None:
        """Reads nothing yet."""
        self.root_file = root_file
        self._secrets: dict[str, tuple[bytes, bytes]] = {}
        self._keysets: dict[str, tuple[bytes, Keyset]] = {}

    def root(self) -> RootKeys:
        """Return the root keys as their file has them now. Raises SecretsError."""
        return self.root_file.keys()

    def unwrap(self, name: str, wrapped: bytes) -> bytes:
        """Return the secret of a name.

        Raises:
            SecretsError: the root keys are not those that wrapped it.
        """
        known = self._secrets.get(name)
        if known is not None and known[0] == wrapped:
            return known[1]
        root = self.root()
        try:
            secret = root.unwrap(name, wrapped)
        except SecretsError as error:
            destroyed = (
                "; if their keys were destroyed, `heed-server keys root forget-addresses` deletes "
                "the addresses that nobody can read"
            )
            raise SecretsError(
                f"the root keys in {self.root_file.path} do not open {name}: {error.message}; put "
                "the file there that this database's other servers have"
                f"{destroyed if purpose_of(name) == ADDRESSES else ''}"
            ) from None
        self._secrets[name] = wrapped, secret
        return secret

    def remember(self, name: str, wrapped: bytes, secret: bytes) -> None:
        """Take note of a secret that was just wrapped."""
        self._secrets[name] = wrapped, secret

    def keyset(self, name: str, wrapped: bytes) -> Keyset:
        """Return the keyset that is the secret of a name. Raises SecretsError."""
        known = self._keysets.get(name)
        if known is not None and known[0] == wrapped:
            return known[1]
        keyset = Keyset.from_bytes(self.unwrap(name, wrapped))
        self._keysets[name] = wrapped, keyset
        return keyset


def encrypt_address(
    keyset: Keyset, tenant_id: TenantId, key: SubjectKey, subject_type: int, address: str
) -> bytes:
    """Return an address as ciphertext that can be read for this subject alone."""
    return keyset.encrypt(address.encode(), _associated(tenant_id, key, subject_type))


def decrypt_address(
    keyset: Keyset, tenant_id: TenantId, key: SubjectKey, subject_type: int, ciphertext: bytes
) -> str:
    """Return a readable address. Raises SecretsError."""
    return keyset.decrypt(ciphertext, _associated(tenant_id, key, subject_type)).decode()


def _associated(tenant_id: TenantId, key: SubjectKey, subject_type: int) -> bytes:
    return b"heed address\0%b%b%b" % (tenant_id.to_bytes(8), subject_type.to_bytes(2), key)

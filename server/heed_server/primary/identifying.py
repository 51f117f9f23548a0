"""What certificates and JWTs are judged by, as the settings say.

Law: it is loaded only where there are grants: with it come JOSE and X.509.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from heed.model import Instant
from heed_server.config import Config
from heed_server.primary.limits import limits_of

if TYPE_CHECKING:
    from heed_server.auth.identities import Identities


async def open_identities(
    config: Config, *, now: Callable[[], Instant], boot_seconds: Callable[[], float]
) -> "Identities | None":
    """Read the grants and the issuers' keys; None where neither is a credential.

    Raises:
        InvalidArgumentError: the file of grants, or one that it names, is wrong.
    """
    if config.auth.grants_file is None:
        return None
    from heed_server.auth.identities import Identities, IdentityLimits

    identities = Identities(
        config.auth.grants_file,
        takes_certificates=config.tls.client_ca_file is not None,
        now=now,
        boot_seconds=boot_seconds,
        limits=limits_of(IdentityLimits, config.auth),
    )
    await identities.open()
    return identities

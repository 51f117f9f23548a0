"""Which versions run here, of what matters when something is odd."""

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("heed-server", "heed", "heed-proto", "grpcio", "protobuf", "sqlalchemy", "asyncpg")


def versions() -> dict[str, str]:
    """Return the versions by name, heed-server's first."""
    found = {name: _version_of(name) for name in _PACKAGES}
    return {**found, "python": platform.python_version(), "platform": platform.platform()}


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"

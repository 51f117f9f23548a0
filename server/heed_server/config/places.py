"""Where the settings say that things are: the database, the index."""

from pathlib import Path

from heed_server.config.model import Config

DATABASE_FILE = "heed.db"
"""The SQLite database in `storage.data_dir`."""

INDEX_FOLDER = "index"
"""The folder of the index in `storage.data_dir`."""

FIRST_TENANT = "default"
"""Made when there is none, so that one who needs no tenants never types one."""

_SQLITE = "sqlite"


def database_url(config: Config) -> str:
    """Return the database's URL. It may hold a password: never show it."""
    return config.storage.url.get_secret_value() or (
        f"{_SQLITE}:///{config.storage.data_dir / DATABASE_FILE}"
    )


def database_file(config: Config) -> Path | None:
    """Return the file of a SQLite database; None: it is not one."""
    scheme, _, place = database_url(config).partition(":///")
    if scheme.partition("+")[0] != _SQLITE:
        return None
    return Path(place.partition("?")[0])


def index_directory(config: Config) -> Path:
    """Return the folder of this node's indexes."""
    return config.index.directory or config.storage.data_dir / INDEX_FOLDER

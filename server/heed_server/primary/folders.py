"""The folder of a node's files."""

from heed.errors import UnavailableError
from heed_server.config import Config


def make_data_folder(config: Config) -> None:
    """Make the folder that holds the index, this user's alone, also where no SQLite is in it.

    Raises:
        UnavailableError: it cannot be made there.
    """
    folder = config.storage.data_dir
    if config.index.directory is not None:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"{folder} cannot be made: {error.strerror}") from error

"""The file of the root keys: outside the database, and outside of its backups.

Laws:
- Nobody but the user that runs the server may read it: mode 0600, or 0640 where root owns it.
- It is replaced as a whole, fsynced before and after, and never written over: a crash leaves the
  old one or the new one. One that exists is never made anew.
- It is read again when it changed, so that a rotation reaches servers that run.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from heed_server.durable import sync_folder
from heed_server.secrets.errors import SecretsError
from heed_server.secrets.root import RootKeys

FILE_BYTES_MAX: Final = 1 << 20
"""A file that is longer is not of root keys."""

_Seen: TypeAlias = tuple[int, int, int, int]


class RootFile:
    """The root keys as their file has them now."""

    def __init__(self, path: Path) -> None:
        """Reads nothing yet: `keys` does, and tells what is wrong."""
        self.path = path
        self._seen: _Seen | None = None
        self._keys: RootKeys | None = None

    @property
    def exists(self) -> bool:
        """Whether there is such a file."""
        return self.path.exists()

    def keys(self) -> RootKeys:
        """Return the root keys.

        Raises:
            SecretsError: the file is missing, open to others, or damaged.
        """
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                seen = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
                if self._keys is not None and seen == self._seen:
                    return self._keys
                self._require_private(status)
                text = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            raise SecretsError(
                f"the root keys are not at {self.path}; put the file of this database there, or, "
                "for a database that is new, make one: `heed-server keys root create`"
            ) from None
        except OSError as error:
            raise SecretsError(f"{self.path}: {error.strerror}") from error
        try:
            keys = RootKeys.from_json(text.decode())
        except (SecretsError, UnicodeDecodeError) as error:
            why = error.message if isinstance(error, SecretsError) else "it is no text"
            raise SecretsError(f"{self.path} cannot be used: {why}") from None
        self._keys, self._seen = keys, seen
        return keys

    def create(self) -> RootKeys:
        """Make the file with new root keys.

        Raises:
            SecretsError: there is one, or it cannot be made.
        """
        keys = RootKeys.generate()
        if self.exists:
            raise self._is_there()
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SecretsError(f"{self.path} cannot be made: {error.strerror}") from error
        try:
            with self._locked(), self._written(keys) as new:
                os.link(new, self.path)  # unlike a rename, never in the place of another
                sync_folder(self.path.parent)
        except FileExistsError:
            raise self._is_there() from None
        except OSError as error:
            raise SecretsError(f"{self.path} cannot be made: {error.strerror}") from error
        return keys

    def change(self, change: Callable[[RootKeys], RootKeys]) -> RootKeys:
        """Replace the file by what becomes of its keys, which no other process changes meanwhile.

        Raises:
            SecretsError: as `keys`, or it cannot be replaced; then it is what it was.
        """
        try:
            with self._locked():
                keys = change(self.keys())
                with self._written(keys) as new:
                    new.replace(self.path)
                    sync_folder(self.path.parent)
        except OSError as error:
            raise SecretsError(f"{self.path} cannot be replaced: {error.strerror}") from error
        return keys

    def _is_there(self) -> SecretsError:
        return SecretsError(
            f"{self.path} is there already; a second one would not open what the first wrapped: "
            "leave it, or name another place in keys.root_file"
        )

    def _require_private(self, status: os.stat_result) -> None:
        shared = stat.S_IRWXG | stat.S_IRWXO
        if status.st_uid == 0 != os.geteuid():
            shared &= ~stat.S_IRGRP
        if status.st_mode & shared:
            raise SecretsError(f"others may read {self.path}; chmod 600 {self.path}")

    @contextmanager
    def _locked(self) -> Generator[None]:
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    @contextmanager
    def _written(self, keys: RootKeys) -> Generator[Path]:
        """Write the keys to a file beside; it is gone when the block ends, unless it was moved."""
        new = self.path.with_name(f".{self.path.name}.new")
        new.unlink(missing_ok=True)  # what a crash left: nothing was wrapped by it
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(keys.to_json())
                file.flush()
                os.fsync(file.fileno())
            yield new
        finally:
            new.unlink(missing_ok=True)

    def __repr__(self) -> str:
        return f"RootFile({str(self.path)!r})"

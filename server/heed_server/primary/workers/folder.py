"""Where the processes of one server meet: a folder beside the indexes, this user's alone."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from heed.errors import UnavailableError
from heed.model import TenantId

RUN_BYTES = 16
"""What names one run of a supervisor, so that nothing of an earlier run is believed."""

_SOCKET = "owner.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """The folder of one run."""

    index_directory: Path
    run: bytes

    def make(self) -> None:
        """Make the folder, if it is not there.

        Raises:
            UnavailableError: it cannot be made.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UnavailableError(f"{self.path} cannot be made: {error.strerror}") from error

    @property
    def path(self) -> Path:
        """Where the files are."""
        return self.index_directory / "workers"

    @property
    def state(self) -> Path:
        """The file of what changes now and then: keys and tenants."""
        return self.path / "state"

    @property
    def node_board(self) -> Path:
        """The mapped file of what changes all the time."""
        return self.path / "node.board"

    def tenant_board(self, tenant_id: TenantId) -> Path:
        """The same of one tenant."""
        return self.path / f"tenant-{tenant_id}.board"

    def index(self, tenant_id: TenantId) -> Path:
        """The index of a tenant."""
        return self.index_directory / f"tenant-{tenant_id}"

    @contextmanager
    def socket_address(self) -> Generator[str]:
        """Yield the address of the owner's socket, to be used within the block.

        It goes by an open descriptor, because a socket's path must be shorter than folders may be.
        """
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield f"unix:/proc/self/fd/{descriptor}/{_SOCKET}"
        finally:
            os.close(descriptor)


def put(path: Path, content: bytes) -> None:
    """Put a file, this user's alone, in the place of the last one, which some may still have open.

    Raises:
        OSError: the disk is full.
    """
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)

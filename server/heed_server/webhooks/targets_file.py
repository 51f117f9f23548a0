"""The file of targets, kept fresh: read again when it changes, or a file of secrets does.

Law: what cannot be read, or is wrong, never replaces what was good; it is said, once, and looked at
again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from heed.errors import FieldViolation, InvalidArgumentError
from heed_server.webhooks.addresses import Network
from heed_server.webhooks.targets import (
    TARGETS_BYTES_MAX,
    Target,
    parse_targets,
    read_bounded,
    secret_files_of,
)

LOOK_SECONDS: Final = 2.0
"""How often the files are looked at. Higher: a new target, or another secret, comes later. Lower:
more look-ups."""

_Stamp = tuple[tuple[int, int, int], ...]

_log = structlog.stdlib.get_logger("heed_server.webhooks")


class TargetsFile:
    """The targets in force. Its state is written on the event loop alone."""

    def __init__(self, file: Path, *, private_networks: Sequence[Network] = ()) -> None:
        """Read it.

        Raises:
            InvalidArgumentError: it cannot be read, or is wrong.
        """
        self.file = file
        self.private_networks = tuple(private_networks)
        self._is_away = False
        self._secret_files: tuple[Path, ...] = ()
        self.targets = self._read()
        self._stamp = self._stamp_now()

    def of_tenant(self, tenant: str) -> tuple[Target, ...]:
        """Return the targets of a tenant."""
        return tuple(one for one in self.targets if one.tenant == tenant)

    def refresh(self) -> None:
        """Look at the files, and read what changed."""
        try:
            stamp = self._stamp_now()
            if stamp == self._stamp and not self._is_away:
                return
            self.targets = self._read()
            # As they were before they were read: what changes meanwhile is read again.
            self._stamp = stamp
            self._is_away = False
            _log.info("webhook_targets_read", targets=len(self.targets))
        except (InvalidArgumentError, OSError) as error:
            if not self._is_away:
                why = error.message if isinstance(error, InvalidArgumentError) else str(error)
                _log.error("webhook_targets_not_read", why=why)
            self._is_away = True

    def _read(self) -> tuple[Target, ...]:
        try:
            text = read_bounded(self.file, TARGETS_BYTES_MAX)
        except (OSError, ValueError) as error:
            said = f"cannot be read: {error}"
            raise InvalidArgumentError(
                f"{self.file} {said}", violations=[FieldViolation("webhooks.targets_file", said)]
            ) from error
        self._secret_files = secret_files_of(text, self.file)
        return parse_targets(text, source=self.file, private_networks=self.private_networks)

    def _stamp_now(self) -> _Stamp:
        """What changes when a file does, also where a link to it is turned."""
        found = [file.stat() for file in (self.file, *self._secret_files)]
        return tuple((one.st_mtime_ns, one.st_ino, one.st_size) for one in found)

"""The sources that are in force, kept in step with their file and the keys that it names.

Laws:
- What cannot be read, or is wrong, never replaces what was good: a source goes on being believed by
  its last good keys, for what it reports only ever stops. That the file is not in force is told.
- A source that stays as it was keeps what it remembers.
"""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, assert_never

import structlog

from heed.errors import InvalidArgumentError
from heed_server.web.inbound.mailgun import Mailgun
from heed_server.web.inbound.postmark import Postmark
from heed_server.web.inbound.provider import Opener
from heed_server.web.inbound.sendgrid import SendGrid, parse_public_key
from heed_server.web.inbound.ses_over_sns import SesOverSns
from heed_server.web.inbound.sns_certificates import SigningCertificates, parse_certificates
from heed_server.web.inbound.sources import Provider, Source, parse_sources, refusal

LOOK_SECONDS: Final = 2.0
"""How often the file and its keys are looked at. Higher: a new key is believed later. Lower: more
look-ups."""
SOURCES_BYTES_MAX: Final = 1 << 20
"""Bytes of the file of sources."""
SOURCE_KEY_BYTES_MAX: Final = 65_536
"""Bytes of a file that it names."""

_Stamp = tuple[int, int, int]
_NO_STAMP: Final = (0, 0, 0)

_log = structlog.stdlib.get_logger("heed_server.web")


class OpenSource(NamedTuple):
    """A source, and what verifies it."""

    source: Source
    opener: Opener


class Sources:
    """The sources by name. Written on the event loop alone."""

    def __init__(self, file: Path, certificates: SigningCertificates) -> None:
        """Read the file and what it names.

        Raises:
            InvalidArgumentError: it cannot be used.
        """
        self._file = file
        self._certificates = certificates
        self._read: dict[Path, bytes] = {}
        self._stamps: dict[Path, _Stamp] = {}
        self._by_name: dict[str, OpenSource] = {}
        self.is_in_force = True
        """Whether the file, as it is now, is what sources are judged by."""
        self._take()

    @property
    def names(self) -> Sequence[str]:
        """The names of the sources, sorted."""
        return sorted(self._by_name)

    @property
    def secret_files(self) -> Sequence[Path]:
        """The files that hold what must not be read by others."""
        return [
            self._file.parent / one
            for source, _ in self._by_name.values()
            if source.provider is not Provider.SENDGRID
            for one in source.secret_files
        ]

    def find(self, name: str) -> OpenSource | None:
        """Return a source; None: there is none of this name."""
        return self._by_name.get(name)

    async def run(self) -> None:
        """Keep them in step until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.refresh()

    def refresh(self) -> None:
        """Look at the files, and take them if they changed and are good."""
        if self.is_in_force and self._stamps == _stamps_of(self._read):
            return
        try:
            if self._take():
                _log.info("inbound_sources_read", sources=len(self._by_name))
            self.is_in_force = True
        except InvalidArgumentError as error:
            if self.is_in_force:
                _log.error("inbound_sources_not_read", why=error.message)
            self.is_in_force = False

    def _take(self) -> bool:
        """Read all of it, and go by it if it is other than before; whether it is."""
        read: dict[Path, bytes] = {}
        stamps = _stamps_of([self._file, *self._read])  # what changes from here on is seen next
        text = self._content(self._file, SOURCES_BYTES_MAX, read)
        try:
            sources = parse_sources(text.decode(), origin=str(self._file))
        except UnicodeDecodeError:
            raise refusal(str(self._file), "is not UTF-8") from None
        opened: dict[str, OpenSource] = {}
        for source in sources:
            secrets = [
                self._content(self._file.parent / one, SOURCE_KEY_BYTES_MAX, read).strip()
                for one in source.secret_files
            ]
            pinned = (
                self._content(
                    self._file.parent / source.certificates_file, SOURCE_KEY_BYTES_MAX, read
                )
                if source.certificates_file
                else b""
            )
            opened[source.name] = self._opened(source, secrets, pinned, read)
        self._stamps = {file: stamps.get(file, _NO_STAMP) for file in read}
        if read == self._read:
            return False
        self._read, self._by_name = read, opened
        return True

    def _opened(
        self, source: Source, secrets: Sequence[bytes], pinned: bytes, read: dict[Path, bytes]
    ) -> OpenSource:
        before = self._by_name.get(source.name)
        files = [
            self._file.parent / one for one in (*source.secret_files, source.certificates_file)
        ]
        if (
            before is not None
            and before.source == source
            and all(read.get(one) == self._read.get(one) for one in files)
        ):
            return before
        if not all(secrets):
            raise refusal(str(self._file), f"the source {source.name!r} has an empty secret file")
        try:
            return OpenSource(source, self._opener(source, secrets, pinned))
        except ValueError as error:
            raise refusal(
                str(self._file), f"the source {source.name!r} has a key of no use: {error}"
            ) from None

    def _opener(self, source: Source, secrets: Sequence[bytes], pinned: bytes) -> Opener:
        match source.provider:
            case Provider.SES:
                believed = parse_certificates(pinned) if source.certificates_file else ()
                return SesOverSns(source, secrets, believed, self._certificates)
            case Provider.SENDGRID:
                return SendGrid([parse_public_key(one) for one in secrets])
            case Provider.MAILGUN:
                return Mailgun(secrets)
            case Provider.POSTMARK:
                return Postmark(source, secrets)
            case _:
                assert_never(source.provider)

    def _content(self, file: Path, bytes_max: int, read: dict[Path, bytes]) -> bytes:
        try:
            with file.open("rb") as opened:
                content = opened.read(bytes_max + 1)
        except OSError as error:
            raise refusal(str(self._file), f"{file} cannot be read: {error.strerror}") from None
        if len(content) > bytes_max:
            raise refusal(str(self._file), f"{file} is larger than {bytes_max} bytes")
        read[file] = content
        return content


def _stamps_of(files: Iterable[Path]) -> dict[Path, _Stamp]:
    """What changes when a file does, also where a link to it is turned."""
    stamps: dict[Path, _Stamp] = {}
    for file in files:
        try:
            found = file.stat()
            stamps[file] = found.st_mtime_ns, found.st_ino, found.st_size
        except OSError:
            stamps[file] = _NO_STAMP
    return stamps

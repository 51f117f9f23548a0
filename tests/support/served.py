"""A real `heed-server serve` in a process of its own, and certificates for it.

    with Served(tmp_path) as server:
        with server.client() as client: …

Nothing waits by sleeping: the server's log is read line by line, and its events are waited for.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self, TextIO

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from heed import SyncClient, Tls
from tests.support.forked import Process, launch
from tests.support.roots import shared_root_file

WAIT_SECONDS_MAX = 60
"""How long anything is waited for before the test fails."""
LINES_SHOWN_MAX = 200
"""Lines of a server's log that a failure is shown with."""


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """The process's own environment without anything of heed's, and then what is given.

    Servers of a PostgreSQL get the root keys that all of the tests' have. What is given as empty is
    left out: an earlier release knows no such variable.
    """
    bare = {name: value for name, value in os.environ.items() if not name.startswith("HEED_")}
    given = dict(variables or {})
    if given.get("HEED_STORAGE_URL", "").startswith("postgresql"):
        given.setdefault("HEED_KEYS_ROOT_FILE", str(shared_root_file()))
    return {**bare, **{name: value for name, value in given.items() if value}}


def run_command(
    *arguments: str, cwd: Path, variables: Mapping[str, str] | None = None, anew: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run `heed-server` to its end; `anew`: by a Python of its own (`tests.support.forked`)."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = launch(
            *arguments,
            cwd=cwd,
            env=environment(variables),
            out=out.fileno(),
            err=err.fileno(),
            anew=anew,
        )
        try:
            code = process.wait(WAIT_SECONDS_MAX)
        finally:
            process.kill()
        for written in (out, err):
            written.seek(0)
        said, failed = out.read().decode(), err.read().decode()
    return subprocess.CompletedProcess(["heed-server", *arguments], code, said, failed)


class Served:
    """A server on a port of its own, with SQLite in `folder/heed-data` unless told otherwise."""

    command = "serve"

    def __init__(
        self,
        folder: Path,
        *flags: str,
        listen: str = "127.0.0.1:0",
        variables: Mapping[str, str] | None = None,
        anew: bool = False,
    ) -> None:
        """`anew`: by a Python of its own, not forked (`tests.support.forked`)."""
        self.folder = folder
        self._anew = anew
        self.lines: list[str] = []
        self._flags = flags
        self._variables = {
            "HEED_LISTEN_ADDRESS": listen,
            "HEED_TELEMETRY_METRICS_ADDRESS": "127.0.0.1:0",
            "HEED_TELEMETRY_LOG_FORMAT": "json",
            "HEED_DRAIN_ANNOUNCE_SECONDS": "0.2",
            **(variables or {}),
        }
        self._process: Process | None = None
        self._output: TextIO | None = None
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader: threading.Thread | None = None
        self.serving: dict[str, Any] = {}

    @property
    def process(self) -> Process:
        assert self._process is not None
        return self._process

    @property
    def addresses(self) -> list[str]:
        return list(self.serving["addresses"])

    @property
    def address(self) -> str:
        return self.addresses[0]

    @property
    def log(self) -> str:
        """Everything it wrote so far."""
        return "\n".join(self.lines)

    def metrics(self) -> dict[str, float]:
        """Every number of its /metrics, by name and labels."""
        url = f"http://127.0.0.1:{self.serving['metrics_port']}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return {
            name: float(value)
            for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        }

    def client(self, **said: Any) -> SyncClient:
        return SyncClient(said.pop("address", self.address), timeout=10, **said)

    def start(self) -> Self:
        self.launch()
        try:
            self.serving = self.wait_for("serving")
        except BaseException:
            self.end()
            raise
        return self

    def launch(self) -> None:
        """Start the process, and read what it writes."""
        read, write = os.pipe()
        self._output = os.fdopen(read, encoding="utf-8")
        try:
            self._process = launch(
                *(self.command, *self._flags),
                cwd=self.folder,
                env=environment(self._variables),
                out=write,
                err=write,
                anew=self._anew,
            )
        finally:
            os.close(write)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, *events: str) -> dict[str, Any]:
        """Return the next event of one of these names; fails if the server ends first."""
        while True:
            found = self._events.get(timeout=WAIT_SECONDS_MAX)
            if found is None:
                raise AssertionError(f"the server ended without {events!r}:\n{self.log}")
            if found["event"] in events:
                return found

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; return its exit code."""
        code = self.process.wait(WAIT_SECONDS_MAX)
        if self._reader is not None:
            self._reader.join(WAIT_SECONDS_MAX)
        if self._output is not None:
            self._output.close()
        return code

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.end()
        if error is not None:  # pytest shows beside a failure what was printed
            written = "\n".join(self.lines[-LINES_SHOWN_MAX:])
            sys.stdout.write(f"the last that {self.command} wrote:\n{written}\n")

    def end(self) -> None:
        """See to it that the process has ended, however."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.kill()
        self.wait()

    def _read(self) -> None:
        assert self._output is not None
        for line in self._output:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("{"):
                self._events.put(json.loads(line))
        self._events.put(None)


class Authority:
    """A certificate authority of one test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = _certificate(
            "test authority", self._key, signer=None, signer_key=self._key, is_authority=True
        )
        self.file = folder / "authority.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def tls(self) -> Tls:
        """What a client that trusts this authority says."""
        return Tls(root_certificates=self.file)

    def issue(self, name: str = "server") -> tuple[Path, Path]:
        """Write a certificate of localhost and 127.0.0.1 with its key; again: new ones."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, key, signer=self._certificate, signer_key=self._key)
        return self._write(name, certificate, key)

    def _write(
        self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> tuple[Path, Path]:
        certificate_file, key_file = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return certificate_file, key_file

    def issue_to_client(
        self,
        name: str,
        *names: x509.GeneralName,
        begin: datetime | None = None,
        end: datetime | None = None,
        is_authority: bool = False,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> tuple[Path, Path]:
        """Write a certificate of a caller with these alternative names, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(
            name,
            key,
            signer=self._certificate,
            signer_key=self._key,
            is_authority=is_authority,
            names=names,
            begin=begin,
            end=end,
            extensions=extensions,
        )
        return self._write(name, certificate, key)

    def flags(self, name: str = "server") -> tuple[str, ...]:
        """The flags of a server that shows a certificate of this authority."""
        certificate_file, key_file = self.issue(name)
        return (
            *("--tls-certificate-file", str(certificate_file)),
            *("--tls-private-key-file", str(key_file)),
        )


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    signer: x509.Certificate | None,
    signer_key: ec.EllipticCurvePrivateKey,
    is_authority: bool = False,
    names: Sequence[x509.GeneralName] | None = None,
    begin: datetime | None = None,
    end: datetime | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if signer is None else signer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin or now - timedelta(minutes=5))
        .not_valid_after(end or now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        # What Python 3.13 asks of a chain (RFC 5280, 4.2.1.1 to 4.2.1.3).
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()),
            critical=False,
        )
    )
    if names is None:
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    if is_authority:
        builder = builder.add_extension(_SIGNS_CERTIFICATES, critical=True)
    return builder.sign(signer_key, hashes.SHA256())


_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)

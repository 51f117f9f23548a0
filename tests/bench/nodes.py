"""The processes that are measured: heed servers and the bare handler, each pinned to a core.

The server side has `SERVER_CORE` to itself, and the load `LOAD_CORE`; on one core both share it, and
the ratios say less.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import grpc

from heed_proto.v1 import preference_service_pb2 as preference
from tests.bench import messages
from tests.bench.bare import BareSpec
from tests.support.ports import free_port
from tests.support.roots import shared_root_file
from tests.support.served import Authority

_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = _CORES[0]
LOAD_CORE = _CORES[-1]
EVERY_CORE = frozenset(_CORES)
START_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 60.0
_RIGHTS = ("--right", "check", "--right", "write")


class BenchError(Exception):
    """A measurement that would not mean what its name says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a caller of a server with mTLS shows: a certificate, and what goes with each call."""

    chain: Path
    private_key: Path
    metadata: Mapping[str, str]
    grants: Path
    """The file that says what it may do."""


class HeedNode:
    """One heed server on a folder of its own: `with HeedNode(folder) as node: node.port`."""

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str = "",
        variables: Mapping[str, str] | None = None,
        libraries: Path | None = None,
        authority: Authority | None = None,
        shown: Shown | None = None,
        cores: frozenset[int] = frozenset({SERVER_CORE}),
    ) -> None:
        """`cores` are those it may run on. `libraries` is searched before the environment's own, for another grpcio; with an
        `authority` the server shows a certificate of it and asks for an API key, or for what is
        `shown` to it.
        """
        self.folder = folder
        self.port = free_port()
        self.start_seconds = 0.0
        """From the start of the process to its first answer to a Check."""
        self.start_cpu_seconds = 0.0
        """The same of its processor time."""
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "server.log"
        self._authority = authority
        self._shown = shown
        self._cores = cores
        self.metadata: dict[str, str] = {}
        """What a call must carry: nothing, or the key that `start` made."""
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HEED_")},
            **_python_path(libraries),
            "HEED_LISTEN_ADDRESS": f"127.0.0.1:{self.port}",
            "HEED_STORAGE_DATA_DIR": str(folder / "data"),
            "HEED_STORAGE_URL": database_url,
            **({"HEED_KEYS_ROOT_FILE": str(shared_root_file())} if database_url else {}),
            "HEED_STORAGE_MIGRATE": "true",
            "HEED_TELEMETRY_METRICS_ADDRESS": "",
            "HEED_TELEMETRY_LOG_FORMAT": "json",
            "HEED_DRAIN_ANNOUNCE_SECONDS": "0",
            "HEED_CAPS_BULK_PEOPLE_PER_HOUR_MAX": "0",
            **(variables or {}),
        }
        if authority is not None:
            certificate, private_key = authority.issue()
            self._environment["HEED_TLS_CERTIFICATE_FILE"] = str(certificate)
            self._environment["HEED_TLS_PRIVATE_KEY_FILE"] = str(private_key)
        if authority is not None and shown is not None:
            self._environment["HEED_TLS_CLIENT_CA_FILE"] = str(authority.file)
            self._environment["HEED_AUTH_GRANTS_FILE"] = str(shown.grants)
            self.metadata = dict(shown.metadata)

    def start(self) -> None:
        """Start it and wait for its first answer."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._log.touch()
        if self._authority is not None and self._shown is None:
            made = json.loads(self.run_command("keys", "create", "bench", *_RIGHTS, "--json"))
            self.metadata = {"authorization": f"Bearer {made['key']}"}
        begun = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "heed_server.cli.main", "serve"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
        os.sched_setaffinity(self._process.pid, self._cores)
        _await_port(self.port, self._process, self._log)
        self.check(messages.email(0))
        self.start_seconds = time.perf_counter() - begun
        self.start_cpu_seconds = cpu_seconds(self.pid)

    def call(self, method: str, request: bytes) -> bytes:
        """Make one call by a real client: the bytes of its request and of its answer."""
        with self._channel() as channel:
            unary: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            return unary(
                request,
                timeout=START_SECONDS_MAX,
                wait_for_ready=True,
                metadata=tuple(self.metadata.items()),
            )

    def check(self, email: str) -> preference.CheckSuppressionResponse:
        """Ask about one person."""
        query = messages.query_of(email)
        request = preference.CheckSuppressionRequest(query=query).SerializeToString()
        return preference.CheckSuppressionResponse.FromString(self.call(messages.CHECK, request))

    def stop(self) -> None:
        """End it as an operator would."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise BenchError(f"the server did not stop in {STOP_SECONDS_MAX} s") from None

    @property
    def pid(self) -> int:
        """Its process."""
        if self._process is None:
            raise BenchError("the server does not run")
        return self._process.pid

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return what it logged under a name since it was started."""
        lines = self._log.read_text().splitlines()
        logged = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in logged if event.get("event") == name]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _channel(self) -> grpc.Channel:
        target = f"localhost:{self.port}"
        if self._authority is None:
            return grpc.insecure_channel(target)
        root = self._authority.file.read_bytes()
        shown = self._shown
        pair: tuple[bytes | None, bytes | None] = (None, None)
        if shown is not None:
            pair = (shown.private_key.read_bytes(), shown.chain.read_bytes())
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(root, *pair))

    def run_command(self, *arguments: str) -> bytes:
        """Run a command of heed-server with this node's settings; return what it printed."""
        return subprocess.run(
            [sys.executable, "-m", "heed_server.cli.main", *arguments],
            env=self._environment,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout


@contextmanager
def bare_server(
    replies: Mapping[str, bytes],
    *,
    libraries: Path | None = None,
    authority: Authority | None = None,
    asks_for_certificates: bool = False,
    address: str = "127.0.0.1:0",
) -> Generator[tuple[int, int], None, None]:
    """Run the bare handler and yield its port and its process."""
    certificate, private_key = map(str, authority.issue("bare")) if authority else (None, None)
    spec = BareSpec(
        replies={method: reply.hex() for method, reply in replies.items()},
        core=SERVER_CORE,
        address=address,
        certificate=certificate,
        private_key=private_key,
        client_authority=str(authority.file) if authority and asks_for_certificates else None,
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.bare"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **_python_path(libraries)},
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise BenchError("the bare handler has no pipes")
        process.stdin.write(json.dumps(asdict(spec)).encode())
        process.stdin.close()
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.perf_counter() + START_SECONDS_MAX
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            raise BenchError(f"the server ended:\n{log.read_text()[-3000:]}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.005)
        else:
            return
    raise BenchError(f"the server did not listen within {START_SECONDS_MAX} s")


def cpu_seconds(pid: int | None) -> float:
    """The processor time that a process has had; 0 for none."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> tuple[float, float]:
    """The memory that is a process's own, and what it has of mapped files."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    named = dict(line.split(":", 1) for line in lines)
    own, mapped = (int(named[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile"))
    return own, mapped


def _python_path(libraries: Path | None) -> dict[str, str]:
    paths = [str(libraries)] if libraries else []
    return {"PYTHONPATH": os.pathsep.join([*paths, str(Path.cwd())])}

"""The options that every command shares: where the server is, who calls, how to answer.

`@connected` adds them to a command, which gets them as one `Session` before its own arguments.
"""

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Concatenate, Final, ParamSpec, cast

import typer

from heed.cli.exits import reporting
from heed.connection.target import DEFAULT_ADDRESS, Target, Tls, target_of
from heed.errors import invalid_field
from heed.sync_client import SyncClient

P = ParamSpec("P")

PANEL: Final = "Connection"
TIMEOUT_SECONDS: Final = 10.0
"""How long a command waits for an answer unless told; a person waits longer than a sender."""
LONG_TIMEOUT_SECONDS: Final = 3600.0
"""The same for exports, which take as long as there are records."""

_KEY_VARIABLE: Final = "HEED_API_KEY"
_KEY_FILE_VARIABLE: Final = "HEED_API_KEY_FILE"


Address = Annotated[
    str,
    typer.Option(envvar="HEED_ADDRESS", help="host:port or unix:/path", rich_help_panel=PANEL),
]
Tenant = Annotated[
    str,
    typer.Option(envvar="HEED_TENANT", help="Whose; empty: the only one", rich_help_panel=PANEL),
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        help=f"A file with the API key; else {_KEY_VARIABLE} or {_KEY_FILE_VARIABLE}",
        rich_help_panel=PANEL,
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        envvar="HEED_CA_FILE",
        help="PEM of the authorities to trust; turns TLS on",
        rich_help_panel=PANEL,
    ),
]
CertificateFile = Annotated[
    Path | None, typer.Option(help="PEM of our own certificate chain", rich_help_panel=PANEL)
]
CertificateKeyFile = Annotated[
    Path | None, typer.Option(help="PEM of its key", rich_help_panel=PANEL)
]
ServerName = Annotated[
    str, typer.Option(help="The name in the server's certificate", rich_help_panel=PANEL)
]
Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure",
        help="Plaintext to another host: keys and addresses cross the network in clear",
        rich_help_panel=PANEL,
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        help=f"Seconds to wait for an answer; {TIMEOUT_SECONDS:g} unless said",
        rich_help_panel=PANEL,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON", rich_help_panel="Output")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Where the server is, who calls, and how to answer."""

    address: str
    tenant: str
    api_key: str | None = field(repr=False)
    tls: Tls | None
    insecure: bool
    timeout: float | None
    """Seconds, if the user said."""
    json: bool
    """Whether stdout is JSON."""

    @property
    def timeout_seconds(self) -> float:
        """How long to wait for an answer."""
        return TIMEOUT_SECONDS if self.timeout is None else self.timeout

    @property
    def long_timeout_seconds(self) -> float:
        """How long to wait for the end of long work."""
        return LONG_TIMEOUT_SECONDS if self.timeout is None else self.timeout

    def connect(self) -> SyncClient:
        """Return a client, to be closed."""
        return SyncClient(
            self.address,
            api_key=self.api_key,
            tls=self.tls,
            insecure=self.insecure,
            tenant=self.tenant,
            timeout=self.timeout_seconds,
        )

    def target(self) -> Target:
        """Return what a client of this session opens, for commands that go beneath it."""
        return target_of(self.address, tls=self.tls, insecure=self.insecure, api_key=self.api_key)


def connected(command: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """Give a command the options of this module, and report what goes wrong in it."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    shared = list(inspect.signature(_session, eval_str=True).parameters.values())

    @functools.wraps(command)
    def run(*_: Any, **given: Any) -> None:
        of_session = {one.name: given.pop(one.name) for one in shared}
        with reporting(as_json=of_session["json"]):
            cast("Callable[..., None]", command)(_session(**of_session), **given)

    run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]  # read by typer
    run.__annotations__ = {one.name: one.annotation for one in (*own, *shared)}
    # Else the hints of the wrapped function would be found, which has no options.
    del run.__wrapped__
    return run


def _session(
    *,
    address: Address = DEFAULT_ADDRESS,
    tenant: Tenant = "",
    api_key_file: ApiKeyFile = None,
    ca_file: CaFile = None,
    certificate_file: CertificateFile = None,
    certificate_key_file: CertificateKeyFile = None,
    server_name: ServerName = "",
    insecure: Insecure = False,
    timeout: Timeout = None,
    json: AsJson = False,
) -> Session:
    """What the shared options say."""
    tls = None
    if ca_file or certificate_file or certificate_key_file or server_name:
        tls = Tls(
            root_certificates=ca_file,
            certificate_chain=certificate_file,
            private_key=certificate_key_file,
            server_name=server_name,
        )
    return Session(
        address=address,
        tenant=tenant,
        api_key=_api_key(api_key_file),
        tls=tls,
        insecure=insecure,
        timeout=timeout,
        json=json,
    )


def _api_key(file: Path | None) -> str | None:
    """The key: of the file named, of the variable, or of the file that a variable names.

    There is no option for the key itself: every user of a host can read another's command line.
    """
    if file is None and os.environ.get(_KEY_VARIABLE):
        return os.environ[_KEY_VARIABLE].strip()
    if file is None and os.environ.get(_KEY_FILE_VARIABLE):
        file = Path(os.environ[_KEY_FILE_VARIABLE])
    if file is None:
        return None
    key = file.read_text(encoding="utf-8").strip()
    if not key:
        raise invalid_field("api_key_file", f"{file} is empty; it should hold one API key")
    return key

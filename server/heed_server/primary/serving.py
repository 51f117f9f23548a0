"""The run of `heed-server serve`, from its settings to its exit."""

import asyncio
import shutil
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from heed.errors import HeedError
from heed_server.config import Config, Effective
from heed_server.config.addresses import Address
from heed_server.config.exposure import asks_for_certificates
from heed_server.config.masking import masked_url
from heed_server.config.page import effective_values
from heed_server.config.places import database_file, database_url
from heed_server.primary.listening import shown
from heed_server.primary.loop import freeze_what_stays, loop_factory
from heed_server.primary.stopping import Stop
from heed_server.telemetry.logs import configure_logs

_FIRST_CHECK = "check --email ada@example.com --topic marketing.weekly"
_FIRST_CHECK_LOGGED = "check --user ada --channel in_app --topic marketing.weekly"
"""The same without an address, which no log line may hold."""
_DEFAULT_ADDRESS = "127.0.0.1:50051"

_log = structlog.stdlib.get_logger("heed_server.primary")

N = TypeVar("N")
N_co = TypeVar("N_co", covariant=True)


class Open(Protocol[N_co]):
    """Opens what serves, and closes it at the block's end."""

    def __call__(self, config: Config, stop: Stop) -> AbstractAsyncContextManager[N_co]:
        """Return the block to serve within."""
        ...


class Serving(Protocol):
    """What serves, in one process or in several, as far as it is told at the start."""

    @property
    def config(self) -> Config:
        """The settings in force."""
        ...

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where it listens, with the ports that it got."""
        ...

    @property
    def metrics_port(self) -> int | None:
        """Where /metrics is; None: nowhere."""
        ...

    @property
    def keys_required(self) -> bool:
        """Whether a call without a key is refused."""
        ...

    @property
    def key_count(self) -> int:
        """How many keys there are."""
        ...

    @property
    def tenant_names(self) -> tuple[str, ...]:
        """The tenants, by name."""
        ...


def run(effective: Effective) -> bool:
    """Serve until told to stop; False when the node had to stop by itself.

    Raises:
        HeedError: it could not start.
    """
    return run_on_a_loop(effective, serve(effective, on_serving=_begin))


def run_on_a_loop(effective: Effective, serving: Coroutine[None, None, bool]) -> bool:
    """Run what serves, with the logs and the event loop that the settings ask for."""
    telemetry = effective.config.telemetry
    configure_logs(log_format=telemetry.log_format, level=telemetry.log_level)
    with asyncio.Runner(loop_factory=loop_factory(effective.config.listen)) as runner:
        return runner.run(serving)


async def serve(
    effective: Effective, *, on_serving: Callable[[Serving], None], stop: Stop | None = None
) -> bool:
    """Serve until `stop`, or a signal, says otherwise; False when the node stopped by itself.

    Raises:
        HeedError: it could not start.
    """
    return await serve_opened(_open, effective, on_serving=on_serving, stop=stop or Stop())


async def serve_opened(
    open_: "Open[N]", effective: Effective, *, on_serving: Callable[[N], None], stop: Stop
) -> bool:
    """Serve what `open_` opens until it is told to stop; False when it stopped by itself.

    Raises:
        HeedError: it could not start.
    """
    is_serving = False
    _log.info("settings", settings=_told_at_start(effective))
    try:
        with stop.on_signals():
            async with open_(effective.config, stop) as node:
                is_serving = True
                on_serving(node)
                await stop.asked.wait()
    except HeedError as error:
        if not is_serving:
            raise
        _log.critical("node_failed", reason=error.reason, why=error.message)
        return False
    except Exception:  # noqa: BLE001 - the root of a run
        # The root of the run: a loop met what nobody foresaw, and everything is closed by now.
        _log.exception("node_failed")
        return False
    _log.info("stopped")
    return True


def say_first_words(node: Serving) -> None:
    """Say where it listens and what to try: to a person on a terminal, to the log elsewhere."""
    config = node.config
    addresses = shown(node.addresses)
    command = _heed_command()
    where_to = how_to_reach(
        str(node.addresses[0]),
        tls=config.tls.certificate_file is not None,
        asks_for_certificates=asks_for_certificates(config, config.listen.address[0]),
        asks_for_keys=node.keys_required,
    )
    _log.info(
        "serving",
        version=version("heed-server"),
        addresses=[str(address) for address in node.addresses],
        tls=config.tls.certificate_file is not None,
        keys_required=node.keys_required,
        metrics_port=node.metrics_port,
        workers=config.listen.workers,
        tenants=list(node.tenant_names),
        first_check=f"{command} {_FIRST_CHECK_LOGGED}{where_to}",
    )
    if node.keys_required and not node.key_count and config.auth.grants_file is None:
        _log.warning("no_keys", try_="heed-server keys create mailer --right check --right write")
    if not sys.stdout.isatty():
        return
    file = database_file(config)
    where = str(file) if file is not None else masked_url(database_url(config))
    how = "TLS" if config.tls.certificate_file else "plaintext"
    who = "API keys required" if node.keys_required else "open to this host"
    lines = (
        f"heed {version('heed-server')} serves on {addresses} ({how}, {who})",
        f"  database  {where}",
        f"  try       {command} {_FIRST_CHECK}{where_to}",
        "  stop      Ctrl-C",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def how_to_reach(
    address: str, *, tls: bool, asks_for_certificates: bool, asks_for_keys: bool
) -> str:
    """Return the options by which `heed` calls a server from its own host; words in capitals are
    for whoever reads them to fill in.
    """
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - a name, no listening
    options = ""
    if tls:
        # A certificate is of a name, and seldom of the address that is listened on.
        options = f" --address NAME_IN_CERTIFICATE:{port} --ca-file CA_FILE"
    elif f"{host}:{port}" != _DEFAULT_ADDRESS:
        options = f" --address {host}:{port}"
    if asks_for_certificates:
        options += " --certificate-file FILE --certificate-key-file FILE"
    elif asks_for_keys:
        options += " --api-key-file KEY_FILE"
    return options


def _open(config: Config, stop: Stop) -> AbstractAsyncContextManager[Serving]:
    """One process that does everything, or several."""
    # Loaded only here: neither a supervisor nor an agent opens a database.
    if config.listen.workers == 1:
        from heed_server.primary.node import open_node

        return open_node(config, stop)
    from heed_server.primary.workers.supervisor import open_workers

    return open_workers(config, stop)


def _begin(node: Serving) -> None:
    freeze_what_stays()
    say_first_words(node)


def _heed_command() -> str:
    """How the command `heed` of this installation is called from here."""
    ours = Path(sys.executable).with_name("heed")
    found = shutil.which("heed")
    if not ours.exists() or (found is not None and Path(found).resolve() == ours.resolve()):
        return "heed"
    here = Path.cwd()
    return str(ours.relative_to(here)) if ours.is_relative_to(here) else str(ours)


def _told_at_start(effective: Effective) -> dict[str, object]:
    """On a terminal only what was set; `--print-config` prints all."""
    values = effective_values(effective.config)
    if not sys.stderr.isatty():
        return values
    return {name: values[name] for name, origin in effective.origins.items() if origin != "default"}

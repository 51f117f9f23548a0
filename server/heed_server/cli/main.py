"""The entry of the `heed-server` command: which commands there are.

Law: what is heavy (the database, gRPC, the settings) is imported within the command that needs it.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heed_server.cli import backup_commands, erasures_commands, keys_commands, webhooks_commands
from heed_server.cli.exits import Exit, errors_as_exits
from heed_server.cli.flags import (
    ACCEPTS_SETTINGS,
    SETTINGS_EPILOG,
    AsJson,
    ConfigFile,
    Database,
    DataDir,
    Insecure,
    Listen,
    Workers,
    settings_of,
    settings_of_database,
)

if TYPE_CHECKING:
    from heed_server.config import Effective

PROBE_TIMEOUT_SECONDS = 2.0

app = typer.Typer(
    name="heed-server",
    help="The heed server: people's choices, kept for ever, and the answer to every Check.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they show variables, and those hold addresses
)
app.add_typer(keys_commands.app, name="keys")
app.add_typer(erasures_commands.app, name="erasures")
app.add_typer(webhooks_commands.app, name="webhooks")
for _name, _command in (
    ("backup", backup_commands.backup),
    ("restore", backup_commands.restore),
    ("offers", backup_commands.offers),
    ("new-epoch", backup_commands.new_epoch),
):
    app.command(_name, context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)(_command)


def main() -> None:
    """Run the command."""
    app()


@app.command(context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def serve(
    ctx: typer.Context,
    config: ConfigFile = None,
    listen: Listen = None,
    database: Database = None,
    data_dir: DataDir = None,
    insecure: Insecure = False,
    workers: Workers = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the settings in force, and end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Serve until SIGTERM or Ctrl-C; a second one stops faster."""
    with errors_as_exits(as_json=as_json):
        effective = settings_of(
            ctx,
            config,
            {
                "listen.address": listen,
                "listen.insecure": insecure or None,
                "listen.workers": workers,
                "storage.url": database,
                "storage.data_dir": data_dir,
            },
        )
        if print_config:
            _print_settings(effective, as_json=as_json)
            return
        from heed_server.primary.serving import run

        code = Exit.OK if run(effective) else Exit.STOPPED
    sys.exit(code)


@app.command(context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def agent(
    ctx: typer.Context,
    config: ConfigFile = None,
    listen: Listen = None,
    insecure: Insecure = False,
    upstream: Annotated[
        str | None,
        typer.Option("--upstream", help="What to follow and to ask: host:port or unix:path."),
    ] = None,
    cache_dir: Annotated[
        Path | None, typer.Option("--cache-dir", help="The folder of the replica.")
    ] = None,
    socket_mode: Annotated[
        str | None, typer.Option("--socket-mode", help="Of unix sockets. [default: 0600]")
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the settings in force, and end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Answer Checks on this host by a replica, and hand all else on to the server it follows."""
    with errors_as_exits(as_json=as_json):
        effective = settings_of(
            ctx,
            config,
            {
                "listen.address": listen,
                "listen.insecure": insecure or None,
                "agent.upstream": upstream,
                "agent.cache_dir": cache_dir,
                "agent.socket_mode": socket_mode,
            },
        )
        if print_config:
            _print_settings(effective, as_json=as_json)
            return
        from heed_server.agent.serving import run

        code = Exit.OK if run(effective) else Exit.STOPPED
    sys.exit(code)


@app.command(context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def migrate(
    ctx: typer.Context,
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Bring the database's schema up to date. Never backwards; running it again does nothing."""
    with errors_as_exits(as_json=as_json):
        effective = settings_of_database(ctx, config, database, data_dir)
        import asyncio

        from heed_server.primary.database import migrate_database

        changed = asyncio.run(migrate_database(effective.config))
    if as_json:
        print(json.dumps({"changed": changed}))
    else:
        print("the schema is up to date" + ("" if changed else " already"))


@app.command(context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def doctor(
    ctx: typer.Context,
    config: ConfigFile = None,
    listen: Listen = None,
    database: Database = None,
    data_dir: DataDir = None,
    insecure: Insecure = False,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Look at what a server needs here, without changing it: 0 all is well, 1 something is not."""
    from heed_server.cli.doctoring import examine

    with errors_as_exits(as_json=as_json):
        short = {
            "listen.address": listen,
            "listen.insecure": insecure or None,
            "listen.workers": workers,
            "storage.url": database,
            "storage.data_dir": data_dir,
        }
        effective = settings_of(ctx, config, short)
        is_well = examine(effective.config, as_json=as_json)
    sys.exit(Exit.OK if is_well else Exit.NO)


@app.command()
def health(
    address: Annotated[
        str, typer.Option("--address", help="Of the server: host:port or unix:path.")
    ] = "127.0.0.1:50051",
    service: Annotated[
        str,
        typer.Option(
            "--service", help="Empty: the process. heed.v1.Check or heed.v1.Write: what it can do."
        ),
    ] = "",
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds.")] = PROBE_TIMEOUT_SECONDS,
    tls_ca: Annotated[
        Path | None, typer.Option("--tls-ca", help="Use TLS; PEM of the authority to trust.")
    ] = None,
    tls_server_name: Annotated[
        str, typer.Option("--tls-server-name", help="The name in the server's certificate.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Ask a server whether it serves: 0 yes, 1 no, 3 no answer. The probe of containers."""
    from heed_server.cli.health import probe

    sys.exit(
        probe(
            address=address,
            service=service,
            timeout_seconds=timeout,
            ca_file=tls_ca,
            server_name=tls_server_name,
            as_json=as_json,
        )
    )


@app.command()
def version(as_json: AsJson = False) -> None:
    """Print what runs."""
    from heed_server.cli.versions import versions

    found = versions()
    if as_json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{name} {number}" for name, number in found.items()))


def _print_settings(effective: "Effective", *, as_json: bool) -> None:
    from heed_server.config.page import effective_lines, effective_values

    values = effective_values(effective.config)
    print(json.dumps(values) if as_json else "\n".join(effective_lines(effective)))


if __name__ == "__main__":
    main()

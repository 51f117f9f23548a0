"""The command `heed-server erasures export`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heed_server.cli.exits import errors_as_exits
from heed_server.cli.flags import (
    ACCEPTS_SETTINGS,
    SETTINGS_EPILOG,
    AsJson,
    ConfigFile,
    Database,
    DataDir,
    settings_of_database,
)

if TYPE_CHECKING:
    from heed_server.config import Config

app = typer.Typer(
    help="The ledger of erasures: who is to be erased again after a restore.",
    no_args_is_help=True,
)


@app.command(context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def export(
    ctx: typer.Context,
    output: Annotated[Path | None, typer.Argument(help="Where to. [default: stdout]")] = None,
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write the ledger of erasures: keyed hashes alone, as JSON lines. Servers may run meanwhile.

    On SQLite it is the file beside the database; on PostgreSQL it is read from the database.
    """
    with errors_as_exits(as_json=as_json):
        effective = settings_of_database(ctx, config, database, data_dir)
        lines = asyncio.run(_lines(effective.config))
        if output is None:
            sys.stdout.buffer.write(lines)
            return
        _write(output, lines)
    erasures = lines.count(b"\n")
    if as_json:
        print(json.dumps({"file": str(output), "erasures": erasures}))
    else:
        print(f"{output}: {erasures:,} erasures, to restore by: heed-server restore --erasures")


async def _lines(config: "Config") -> bytes:
    from heed_server.config.places import database_file
    from heed_server.erasures import ledger_path, line_of
    from heed_server.primary.database import open_database

    file = database_file(config)
    if file is not None:
        ledger = ledger_path(file)
        return ledger.read_bytes() if ledger.exists() else b""
    async with open_database(config) as store:
        return b"".join(map(line_of, await store.erasures()))


def _write(output: Path, lines: bytes) -> None:
    """Write a ledger for its owner's eyes only, whole or not at all."""
    import os

    from heed.errors import UnavailableError, invalid_field

    if output.exists() and not output.is_file():
        raise invalid_field("output", f"{output} is no file; leave it out to have stdout")
    output = output.resolve()  # a link stays, and what it names is replaced
    temporary = output.with_name(f".{output.name}.part")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(output)
    except OSError as error:
        raise UnavailableError(f"{output} cannot be written: {error.strerror}") from error

"""The commands `heed-server keys root …`: the keys that wrap every other."""

import json
from typing import Annotated

import typer

from heed_server.cli.exits import errors_as_exits
from heed_server.cli.flags import (
    ACCEPTS_SETTINGS,
    SETTINGS_EPILOG,
    AsJson,
    ConfigFile,
    Database,
    DataDir,
    settings_of,
)

app = typer.Typer(
    help="The root keys, in a file outside the database: they wrap every other key.",
    no_args_is_help=True,
)


@app.command(context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def create(
    ctx: typer.Context,
    if_missing: Annotated[
        bool, typer.Option("--if-missing", help="Do nothing, and succeed, if the file is there.")
    ] = False,
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make the file of the root keys for a database that is new; never in the place of another."""
    from heed_server.primary.database import root_file_of

    with errors_as_exits(as_json=as_json):
        short = {"storage.url": database, "storage.data_dir": data_dir}
        file = root_file_of(settings_of(ctx, config, short).config)
        is_made = not (if_missing and file.exists)
        if is_made:
            file.create()
    if as_json:
        print(json.dumps({"root_file": str(file.path), "created": is_made}))
    elif is_made:
        print(f"made {file.path}; keep a copy apart from every backup: without it nothing opens")
    else:
        print(f"{file.path} is there already")

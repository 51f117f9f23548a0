"""The commands `heed-server keys root …`: the keys that wrap every other."""

import asyncio
import json
from collections.abc import Sequence
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
    settings_of_database,
)
from heed_server.config import Config
from heed_server.secrets.states import RootState

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
        file = root_file_of(settings_of_database(ctx, config, database, data_dir).config)
        is_made = not (if_missing and file.exists)
        if is_made:
            file.create()
    if as_json:
        print(json.dumps({"root_file": str(file.path), "created": is_made}))
    elif is_made:
        print(f"made {file.path}; keep a copy apart from every backup: without it nothing opens")
    else:
        print(f"{file.path} is there already")


@app.command(context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def rotate(
    ctx: typer.Context,
    stage: Annotated[
        bool,
        typer.Option("--stage", help="Only add the next keys to the file, to be copied first."),
    ] = False,
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Wrap every secret by new root keys. Servers go on; one that was cut off is finished."""
    from heed_server.cli import keys

    async def ask(config: Config) -> int:
        async with keys.open_rotations(config) as rotations:
            if not stage:
                return await rotations.rotate_root()
            await rotations.stage_root()
            return 0

    with errors_as_exits(as_json=as_json):
        count = asyncio.run(ask(settings_of_database(ctx, config, database, data_dir).config))
    if as_json:
        print(json.dumps({"staged": stage, "wrapped_again": count}))
    elif stage:
        print("the next root keys are in the file; give it to every server, then rotate")
    else:
        print(f"{count} secrets wrapped again; give the file to every server, and keep a copy")


@app.command("destroy-old", context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def destroy_old(
    ctx: typer.Context,
    also_secrets: Annotated[
        bool,
        typer.Option(
            "--also-secrets",
            help="Also those of lookup and signing keys: older backups cannot be restored then.",
        ),
    ] = False,
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Destroy the old root keys of addresses: no older backup can give one away any more."""
    from heed_server.cli import keys
    from heed_server.secrets.names import ADDRESSES, PURPOSES

    purposes = PURPOSES if also_secrets else (ADDRESSES,)

    async def ask(config: Config) -> None:
        async with keys.open_rotations(config) as rotations:
            await rotations.destroy_old_root(purposes)

    with errors_as_exits(as_json=as_json):
        asyncio.run(ask(settings_of_database(ctx, config, database, data_dir).config))
    if as_json:
        print(json.dumps({"destroyed": purposes}))
    else:
        print("the old keys are out of this file; destroy them in every copy of it as well")


@app.command(context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def show(
    ctx: typer.Context,
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the root keys by id, which of them wraps, and how many secrets each has wrapped."""
    from heed.cli.output import print_rows
    from heed_server.cli import keys

    async def ask(config: Config) -> Sequence[RootState]:
        async with keys.open_rotations(config) as rotations:
            return await rotations.root_state()

    with errors_as_exits(as_json=as_json):
        states = asyncio.run(ask(settings_of_database(ctx, config, database, data_dir).config))
    rows = [
        {
            "purpose": state.purpose,
            "key_id": key_id,
            "state": _state_of(state, key_id),
            "secrets": state.wrapped.get(key_id, 0),
        }
        for state in states
        for key_id in state.key_ids
    ]
    print_rows(
        ("purpose", "key", "state", "secrets"), rows, as_json=as_json, empty="there is no root key"
    )


@app.command("forget-addresses", context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def forget_addresses(
    ctx: typer.Context,
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Delete addresses whose root keys were destroyed: what a restored backup has. Stops stand."""
    from heed_server.primary.database import forget_unreadable

    with errors_as_exits(as_json=as_json):
        count = asyncio.run(
            forget_unreadable(settings_of_database(ctx, config, database, data_dir).config)
        )
    if as_json:
        print(json.dumps({"tenants": count}))
    else:
        print(f"the addresses of {count} tenants are gone; every choice and suppression stands")


def _state_of(state: RootState, key_id: int) -> str:
    if key_id == state.primary_id:
        return "wraps"
    waits = state.key_ids.index(key_id) > state.key_ids.index(state.primary_id)
    return "waits" if waits else "old"

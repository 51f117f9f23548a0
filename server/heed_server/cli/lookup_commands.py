"""The commands `heed-server keys lookup …`: the keys under which a tenant's subjects are hashed."""

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
from heed_server.cli.reasons import require_reason
from heed_server.config import Config
from heed_server.config.places import FIRST_TENANT
from heed_server.secrets.states import LookupState

app = typer.Typer(
    help="The lookup keys: whoever has one can test guessed addresses against a cache.",
    no_args_is_help=True,
)


@app.command(context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def replace(
    ctx: typer.Context,
    reason: Annotated[
        str, typer.Option("--reason", help="Why, for the log; no address in it: `laptop stolen`.")
    ],
    tenant: Annotated[str, typer.Option("--tenant", help="Whose key.")] = FIRST_TENANT,
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Replace a lookup key that leaked. Servers, caches and agents go on; stops stand throughout.

    All who are readable are moved under the new key: by a server of a SQLite database, by itself;
    else it is done when this returns. Whoever was erased stays under the old one.
    """
    from heed_server.cli import keys

    async def ask(config: Config) -> int:
        async with keys.open_rotations(config) as rotations:
            return await rotations.replace_lookup(tenant, reason)

    with errors_as_exits(as_json=as_json):
        require_reason(reason)
        key_id = asyncio.run(ask(settings_of_database(ctx, config, database, data_dir).config))
    if as_json:
        print(json.dumps({"tenant": tenant, "key_id": key_id}))
    else:
        print(
            f"subjects of {tenant} stand under lookup key {key_id} from here on; "
            "`heed-server keys lookup show` tells who is left under an older one"
        )


@app.command(context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def show(
    ctx: typer.Context,
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the lookup keys in use, and how many subjects stand under each. No key is shown."""
    from heed.cli.output import print_rows
    from heed_server.cli import keys

    async def ask(config: Config) -> Sequence[LookupState]:
        async with keys.open_rotations(config) as rotations:
            return await rotations.lookup_state()

    with errors_as_exits(as_json=as_json):
        states = asyncio.run(ask(settings_of_database(ctx, config, database, data_dir).config))
    rows = [
        {
            "tenant": one.tenant,
            "key_id": one.key_id,
            "state": "newest" if one.is_newest else "old",
            "readable": one.readable,
            "erased": one.erased,
        }
        for one in states
    ]
    print_rows(
        ("tenant", "key", "state", "readable", "erased"),
        rows,
        as_json=as_json,
        empty="there is no tenant",
    )

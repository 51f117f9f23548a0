"""The commands `heed-server keys links …`: the keys under which a tenant's links are sealed."""

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
from heed_server.secrets.states import LinkKeyState

app = typer.Typer(
    help="The keys of links: whoever has one can make links that stop, and page links.",
    no_args_is_help=True,
)


@app.command(context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def rotate(
    ctx: typer.Context,
    tenant: Annotated[str, typer.Option("--tenant", help="Whose. [default: every tenant's]")] = "",
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Seal links by a new key. Links in messages go on stopping; open pages can only stop.

    It takes some seconds, in which every server learns the key. Then take a backup: what the key
    seals is opened by no backup of before.
    """
    from heed_server.cli import keys

    async def ask(config: Config) -> Sequence[str]:
        async with keys.open_rotations(config) as rotations:
            return await rotations.rotate_links(tenant)

    with errors_as_exits(as_json=as_json):
        names = asyncio.run(ask(settings_of_database(ctx, config, database, data_dir).config))
    if as_json:
        print(json.dumps({"tenants": list(names)}))
    else:
        print(
            f"links of {', '.join(names)} are sealed by a new key; links in messages go on "
            "stopping. Take a backup now: older ones do not have the key"
        )


@app.command(context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def show(
    ctx: typer.Context,
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the keys of links by id, and which of them seals. No key is shown."""
    from heed.cli.output import print_rows
    from heed_server.cli import keys

    async def ask(config: Config) -> Sequence[LinkKeyState]:
        async with keys.open_rotations(config) as rotations:
            return await rotations.link_key_state()

    with errors_as_exits(as_json=as_json):
        states = asyncio.run(ask(settings_of_database(ctx, config, database, data_dir).config))
    rows = [
        {"tenant": one.tenant, "key_id": f"{key_id:08x}", "state": _state_of(one, key_id)}
        for one in states
        for key_id in one.key_ids
    ]
    print_rows(("tenant", "key", "state"), rows, as_json=as_json, empty="there is no tenant")


def _state_of(state: LinkKeyState, key_id: int) -> str:
    if key_id == state.primary_id:
        return "seals"
    waits = state.key_ids.index(key_id) > state.key_ids.index(state.primary_id)
    return "waits" if waits else "opens"

"""The commands `heed-server keys create`, `list` and `revoke`."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

import typer

from heed.errors import invalid_field
from heed.model import Instant
from heed_server.auth.policy import EVERY_TENANT, Right
from heed_server.cli import link_commands, lookup_commands, root_commands
from heed_server.cli.exits import Exit, errors_as_exits
from heed_server.cli.flags import (
    ACCEPTS_SETTINGS,
    SETTINGS_EPILOG,
    AsJson,
    ConfigFile,
    Database,
    DataDir,
    settings_of_database,
)
from heed_server.cli.times import lifetime_of, text_of
from heed_server.config import Config
from heed_server.config.places import FIRST_TENANT

app = typer.Typer(
    help="API keys: who may call, with which rights, in which tenant. And the root keys.",
    no_args_is_help=True,
)
app.add_typer(root_commands.app, name="root")
app.add_typer(lookup_commands.app, name="lookup")
app.add_typer(link_commands.app, name="links")


@app.command(context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Who will use it: `mailer`.")],
    right: Annotated[
        list[Right], typer.Option("--right", help="One of its rights; give several times.")
    ],
    tenant: Annotated[
        str, typer.Option("--tenant", help="The tenant it is bound to; it must be there.")
    ] = FIRST_TENANT,
    all_tenants: Annotated[
        bool, typer.Option("--all-tenants", help="Bind it to no tenant.")
    ] = False,
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", help="90d or 12h. [default: never]")
    ] = None,
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once: only its hash is kept."""
    from heed_server.cli import keys

    with errors_as_exits(as_json=as_json):
        effective = settings_of_database(ctx, config, database, data_dir)
        now = _now()
        if not (tenant or all_tenants):
            raise invalid_field("--tenant", "is empty; name a tenant, or say --all-tenants")
        made = asyncio.run(
            keys.create(
                effective.config,
                name=name,
                rights=frozenset(right),
                tenant=EVERY_TENANT if all_tenants else tenant,
                lifetime=None if expires_in is None else _lifetime(expires_in),
                now=now,
            )
        )
    key = made.key
    if as_json:
        shown = {"key": made.text, **keys.in_json(key, now), "is_first": made.is_first}
        print(json.dumps(shown))
        return
    print(made.text)
    bound = f"tenant {key.tenant}" if key.tenant else "every tenant"
    print(f"{key.name} ({key.key_id}): {', '.join(sorted(key.rights))}; {bound}", file=sys.stderr)
    print("it is shown this once; a server knows it within seconds", file=sys.stderr)
    if made.is_first:
        print(
            "it is the first key: from now on servers of this database refuse every call without "
            "a key, also from this host, unless their auth.required is false",
            file=sys.stderr,
        )


@app.command("list", context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def list_keys(
    ctx: typer.Context,
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List every key, revoked and expired ones too. No secret is shown: none is kept."""
    from heed_server.cli import keys

    with errors_as_exits(as_json=as_json):
        effective = settings_of_database(ctx, config, database, data_dir)
        found = asyncio.run(keys.every(effective.config))
    now = _now()
    if as_json:
        for key in found:
            print(json.dumps(keys.in_json(key, now)))
        return
    from heed.cli.output import print_table

    rows = (
        [
            key.key_id,
            key.name,
            " ".join(sorted(key.rights)),
            key.tenant or "(every)",
            keys.state_of(key, now),
            text_of(key.create_time),
            "never" if key.expire_time is None else text_of(key.expire_time),
        ]
        for key in found
    )
    columns = ("id", "name", "rights", "tenant", "state", "created", "expires")
    print_table(columns, rows, empty="there is no key; `heed-server keys create` makes one")


@app.command(context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def revoke(
    ctx: typer.Context,
    key_id: Annotated[str, typer.Argument(help="Its id, as `list` shows it.")],
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key: the server of a SQLite database refuses it at once, others within seconds."""
    from heed_server.cli import keys

    with errors_as_exits(as_json=as_json):
        effective = settings_of_database(ctx, config, database, data_dir)
        is_known = asyncio.run(keys.revoke(effective.config, key_id, now=_now()))
    if as_json:
        print(json.dumps({"key_id": key_id, "revoked": is_known}))
    else:
        print(f"revoked {key_id}" if is_known else f"there is no key {key_id}")
    sys.exit(Exit.OK if is_known else Exit.REFUSED)


@app.command(context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def revocations(
    ctx: typer.Context,
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write the ledger of revocations to stdout: ids alone, as JSON lines, for a restore.

    On SQLite it is kept beside the database too.
    """
    from heed_server.cli import keys
    from heed_server.revocations import lines_of_revoked, revoked_of

    async def ask(config: Config) -> bytes:
        async with keys.open_keys(config) as store:
            return lines_of_revoked(revoked_of(await store.api_keys()))

    with errors_as_exits(as_json=as_json):
        effective = settings_of_database(ctx, config, database, data_dir)
        sys.stdout.buffer.write(asyncio.run(ask(effective.config)))


@app.command("rotate-addresses", context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def rotate_addresses(
    ctx: typer.Context,
    tenant: Annotated[
        str, typer.Option("--tenant", help="Whose addresses. [default: every tenant's]")
    ] = "",
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Put addresses under a new key, and drop the old one. Servers go on meanwhile.

    A server of a SQLite database goes on with it by itself; else it is done when this returns.
    """
    from heed_server.cli import keys

    async def ask(config: Config) -> Sequence[str]:
        async with keys.open_rotations(config) as rotations:
            return await rotations.rotate_addresses(tenant)

    with errors_as_exits(as_json=as_json):
        effective = settings_of_database(ctx, config, database, data_dir)
        names = asyncio.run(ask(effective.config))
    if as_json:
        print(json.dumps({"tenants": list(names)}))
    else:
        print(f"addresses are put under a new key: {', '.join(names) or 'there is no tenant'}")


def _lifetime(text: str) -> timedelta:
    try:
        return lifetime_of(text)
    except ValueError as error:
        raise invalid_field("--expires-in", str(error)) from None


def _now() -> Instant:
    return Instant(time.time_ns() // 1000)

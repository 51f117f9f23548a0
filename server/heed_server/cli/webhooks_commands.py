"""The commands `heed-server webhooks test` and `new-secret`."""

import asyncio
import base64
import json
import secrets
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from heed.errors import NotFoundError, invalid_field
from heed.model import Instant
from heed_server.cli.exits import Exit, errors_as_exits
from heed_server.cli.flags import (
    ACCEPTS_SETTINGS,
    SETTINGS_EPILOG,
    AsJson,
    ConfigFile,
    settings_of,
)
from heed_server.config.places import FIRST_TENANT

if TYPE_CHECKING:
    from heed_server.config import Config
    from heed_server.webhooks.sendings import Failed

_SECRET_BYTES = 32

app = typer.Typer(help="Webhooks: a target that is tried, and a secret.", no_args_is_help=True)


@app.command("test", context_settings=ACCEPTS_SETTINGS, epilog=SETTINGS_EPILOG)
def try_target(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The target's name in the file of targets.")],
    tenant: Annotated[str, typer.Option("--tenant", help="Whose it is.")] = FIRST_TENANT,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Send a target one signed event that says nothing: 0 it was taken, 1 it was not."""
    with errors_as_exits(as_json=as_json):
        effective = settings_of(ctx, config, {})
        failure = asyncio.run(_send_test(effective.config, tenant, name))
    why = "" if failure is None else failure.why
    if as_json:
        print(json.dumps({"taken": failure is None, "why": why}))
    else:
        print(f"{name} took it" if failure is None else f"{name} did not take it: {why}")
    sys.exit(Exit.OK if failure is None else Exit.NO)


@app.command("new-secret")
def new_secret(as_json: AsJson = False) -> None:
    """Print a secret that signs webhooks, for a target's file and its receiver."""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
    print(json.dumps({"secret": secret}) if as_json else secret)


async def _send_test(config: "Config", tenant: str, name: str) -> "Failed | None":
    from heed_server.primary.webhooks import sender_of, targets_of
    from heed_server.webhooks.trying import send_test

    targets = targets_of(config)
    if targets is None:
        raise invalid_field("webhooks.targets_file", "is not set; name the file of targets")
    found = [one for one in targets.of_tenant(tenant) if one.name == name]
    if not found:
        known = ", ".join(f"{one.name} of {one.tenant}" for one in targets.targets) or "none"
        raise NotFoundError(
            f"{targets.file} has no target {name!r} of the tenant {tenant!r}; it has: {known}"
        )
    now = Instant(time.time_ns() // 1_000)
    async with sender_of(config, targets, found[0]) as sender:
        event_id = f"test-{secrets.token_hex(8)}"
        return await send_test(found[0], sender, event_id=event_id, now=now)

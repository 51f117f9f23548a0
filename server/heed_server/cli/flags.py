"""The flags that are settings: every setting has one, made from its name.

Law: flags are read against the model and nothing else, so that a setting never lacks its flag.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from heed.errors import invalid_field
from heed_server.config import Effective, load
from heed_server.config.model import is_secret, settings
from heed_server.config.sources import flag_of, nearest

SETTINGS_EPILOG = (
    "Every setting of docs/settings.md has a flag: --drain-grace-seconds 6 sets `grace_seconds` in "
    "the section drain; HEED_DRAIN_GRACE_SECONDS and heed.toml do the same."
)

ACCEPTS_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""The context settings of a command that takes the flags of settings."""

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="The settings file. [default: ./heed.toml, if any]")
]
Database = Annotated[
    str | None, typer.Option("--database", help="The database's URL. [default: SQLite]")
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="The folder of SQLite and the index.")
]
Listen = Annotated[
    str | None,
    typer.Option("--listen", help="Where: host:port or unix:path, several with commas."),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Listen beyond loopback without TLS and keys.")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Processes that answer Checks. [default: one for everything]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def settings_of(
    ctx: typer.Context,
    config_file: Path | None,
    short: Mapping[str, object | None],
) -> Effective:
    """Return the settings that a command was given by its short flags, its others, and the rest.

    Raises:
        InvalidArgumentError: one is wrong, or given twice.
    """
    own = [flag for parameter in ctx.command.params for flag in parameter.opts]
    flags = parse_flags(ctx.args, own)
    for name, value in short.items():
        if value is None:
            continue
        if name in flags:
            raise invalid_field(flag_of(name), "is given twice")
        flags[name] = value
    return load(flags=flags, variables=os.environ, file=config_file)


def settings_of_database(
    ctx: typer.Context, config_file: Path | None, database: str | None, data_dir: Path | None
) -> Effective:
    """Return the settings of a command whose short flags say which database, and no more.

    Raises:
        InvalidArgumentError: as `settings_of`.
    """
    return settings_of(ctx, config_file, {"storage.url": database, "storage.data_dir": data_dir})


def parse_flags(arguments: Sequence[str], own: Sequence[str] = ()) -> dict[str, object]:
    """Return the settings that are given as `--section-name value`, `=value`, or alone for yes.

    `own`: the flags of the command itself, one of which may have been meant.

    Raises:
        InvalidArgumentError: a flag that no setting has, without its value, or given twice.
    """
    names = {flag_of(name): name for name in _accepted()}
    found: dict[str, object] = {}
    left = list(arguments)
    while left:
        flag, equals, value = left.pop(0).partition("=")
        name = names.get(flag)
        if name is None:
            said = f"no setting has this flag{nearest(flag, [*own, *names])}"
            raise invalid_field(
                flag, said if flag.startswith("-") else "is no flag of this command"
            )
        if name in found:
            raise invalid_field(flag, "is given twice")
        if equals:
            found[name] = value
        elif _stands_alone(name):
            found[name] = True
        elif left:
            found[name] = left.pop(0)
        else:
            raise invalid_field(flag, "needs a value")
    return found


def _accepted() -> list[str]:
    return [*settings(), *(f"{name}_file" for name in settings() if is_secret(name))]


def _stands_alone(name: str) -> bool:
    declared = settings().get(name)
    return declared is not None and declared.annotation is bool

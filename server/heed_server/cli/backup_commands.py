"""The commands `heed-server backup`, `restore`, `offers` and `new-epoch`."""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from heed.model import Instant
from heed_server.cli.exits import errors_as_exits
from heed_server.cli.flags import (
    AsJson,
    ConfigFile,
    Database,
    DataDir,
    settings_of_database,
)
from heed_server.cli.reasons import require_reason

if TYPE_CHECKING:
    from heed_server.backup.file import BackupReader, Manifest
    from heed_server.config import Config
    from heed_server.storage.epochs import NewEpoch
    from heed_server.storage.offered import OfferedBy

_NO_ERASURES: Final = (
    "no ledger of erasures was found: who was erased after this backup is not erased in what is "
    "restored; if anybody was, restore again with --erasures FILE"
)
_NO_REVOCATIONS: Final = (
    "no ledger of revocations was found: API keys are as they were when the backup was taken, and "
    "one that was revoked since is good again; before servers start look at heed-server keys list, "
    "and revoke it again: heed-server keys revoke ID"
)


def backup(
    ctx: typer.Context,
    to: Annotated[
        Path, typer.Option("--to", help="The file, or a folder: then it is named by the time.")
    ],
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write all that the database holds to one file, while servers run."""
    with errors_as_exits(as_json=as_json):
        effective = settings_of_database(ctx, config, database, data_dir)
        from heed_server.backup.taking import file_for, take_backup
        from heed_server.config.places import database_url
        from heed_server.primary.limits import limits_of
        from heed_server.storage import StorageLimits

        begun, now = time.monotonic(), _now()
        taken = asyncio.run(
            take_backup(
                database_url(effective.config),
                file_for(to, now),
                now=now,
                limits=limits_of(StorageLimits, effective.config.storage),
            )
        )
    shown = {"file": str(taken.path), "bytes": taken.bytes, "seconds": _since(begun)}
    if as_json:
        print(json.dumps({**shown, **_in_json(taken.manifest)}))
        return
    print(f"{taken.path}: {taken.bytes:,} bytes in {shown['seconds']} s")
    _print_logs(taken.manifest)


def restore(
    ctx: typer.Context,
    from_: Annotated[Path, typer.Option("--from", help="The backup's file.")],
    erasures: Annotated[
        Path | None,
        typer.Option(
            "--erasures",
            help="The ledger of erasures: `heed-server erasures export`. [default: on SQLite, the "
            "file beside the database]",
        ),
    ] = None,
    revocations: Annotated[
        Path | None,
        typer.Option(
            "--revocations",
            help="The ledger of revocations: `heed-server keys revocations`. [default: on "
            "SQLite, the file beside the database]",
        ),
    ] = None,
    set_aside: Annotated[
        bool,
        typer.Option(
            "--set-aside", help="Keep a SQLite database that is there under another name."
        ),
    ] = False,
    verify_only: Annotated[
        bool, typer.Option("--verify-only", help="Look whether the file is whole, and end.")
    ] = False,
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write a backup into an empty database, of a new epoch and under a hold."""
    with errors_as_exits(as_json=as_json):
        effective = settings_of_database(ctx, config, database, data_dir)
        from heed_server.backup.file import BackupReader
        from heed_server.erasures import ledger_path
        from heed_server.revocations import revocations_path

        begun = time.monotonic()
        reader = BackupReader(from_)
        if verify_only:
            _show_verified(reader.manifest, as_json=as_json)
            return
        ledger = _ledger(effective.config, erasures, ledger_path, _NO_ERASURES)
        keys = _ledger(effective.config, revocations, revocations_path, _NO_REVOCATIONS)
        _restore(
            effective.config, reader, ledger, keys, begun, sets_aside=set_aside, as_json=as_json
        )


def offers(
    ctx: typer.Context,
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what followers offered back since the last restore, and by whom. Servers may run."""
    with errors_as_exits(as_json=as_json):
        effective = settings_of_database(ctx, config, database, data_dir)
        from heed_server.config.places import database_url
        from heed_server.primary.limits import limits_of
        from heed_server.storage import StorageLimits
        from heed_server.storage.ways_back import offered_since

        config_ = effective.config
        limits = limits_of(StorageLimits, config_.storage)
        found = asyncio.run(offered_since(database_url(config_), limits=limits))
    if as_json:
        print(json.dumps({"offers": [_offered_in_json(one) for one in found]}))
        return
    for one in found:
        print(
            f"{one.tenant}: {one.subscriber} (by {one.principal}) offered what was lacking of "
            f"{len(one.keys):,} people: {one.opt_outs:,} opt-outs, {one.pauses:,} pauses, "
            f"{one.suppressions:,} suppressions; and {one.holds:,} holds"
        )
    if not found:
        print("nobody offered anything that was lacking since the last restore")
    print("offers above a cap wait for a second person, and are not told here: heed approvals list")


def new_epoch(
    ctx: typer.Context,
    reason: Annotated[str, typer.Option("--reason", help="Why, in words; the holds say it.")],
    config: ConfigFile = None,
    database: Database = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Confirm that a database was put back: begin a new epoch of it, under a hold."""
    with errors_as_exits(as_json=as_json):
        effective = settings_of_database(ctx, config, database, data_dir)
        require_reason(reason)
        from heed_server.config.places import database_url
        from heed_server.storage import ways_back

        begun = asyncio.run(ways_back.new_epoch(database_url(effective.config), reason=reason))
    if as_json:
        print(json.dumps(_epoch_in_json(begun)))
    else:
        _print_epoch(begun)


def _restore(
    config: "Config",
    reader: "BackupReader",
    ledger: Path | None,
    keys: Path | None,
    begun: float,
    *,
    sets_aside: bool,
    as_json: bool,
) -> None:
    from heed_server.backup.restoring import erased_in, restore_backup, revoked_in
    from heed_server.config.places import database_url
    from heed_server.primary.limits import limits_of
    from heed_server.storage import StorageLimits
    from heed_server.storage.ways_back import finish_restore

    url, limits = database_url(config), limits_of(StorageLimits, config.storage)
    finished = asyncio.run(finish_restore(url, limits=limits))
    if finished is not None:
        print(f"finished a restore that was broken off: {finished}", file=sys.stderr)
        return
    back = asyncio.run(
        restore_backup(
            url,
            reader,
            erased=[] if ledger is None else erased_in(ledger),
            revoked=[] if keys is None else revoked_in(keys),
            sets_aside=sets_aside,
            now=_now(),
            limits=limits,
        )
    )
    aside = None if back.set_aside is None else str(back.set_aside)
    if as_json:
        shown = {
            "rows": back.restored.rows,
            "erased_again": None if ledger is None else back.restored.erased_again,
            "revoked_again": None if keys is None else back.restored.revoked_again,
            "set_aside": aside,
            "seconds": _since(begun),
        }
        epoch = _epoch_in_json(back.restored.begun)
        print(json.dumps({**_in_json(back.manifest), **shown, **epoch}))
        return
    print(f"restored {back.restored.rows:,} rows in {_since(begun)} s")
    if ledger is not None:
        print(f"erased again, by {ledger}: {back.restored.erased_again:,}")
    if aside is not None:
        print(f"what was there is kept: {aside}")
    _print_logs(back.manifest)
    if keys is not None:
        print(f"API keys revoked again, by {keys}: {back.restored.revoked_again:,}")
    _print_epoch(back.restored.begun)
    print(
        "servers start on it with the root keys of the database that was backed up (keys.root_file)"
    )


def _ledger(
    config: "Config", named: Path | None, beside: Callable[[Path], Path], without: str
) -> Path | None:
    """Return the ledger to restore by; None: there is none, and what that means is said."""
    from heed_server.config.places import database_file

    if named is not None:
        return named
    file = database_file(config)
    if file is not None and beside(file).exists():
        return beside(file)
    print(without, file=sys.stderr)
    return None


def _show_verified(manifest: "Manifest", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_in_json(manifest)))
        return
    print(f"it is whole: {sum(table.rows for table in manifest.tables):,} rows")
    _print_logs(manifest)


def _in_json(manifest: "Manifest") -> dict[str, object]:
    return {
        "schema": manifest.schema_version,
        "database": manifest.database,
        "epoch": manifest.epoch,
        "taken_us": manifest.taken_us,
        "tenants": [
            {"name": log.name, "revision": log.revision, "running_hash": log.running_hash}
            for log in manifest.logs
        ],
    }


def _print_logs(manifest: "Manifest") -> None:
    for log in manifest.logs:
        print(f"  {log.name}: up to revision {log.revision:,}, hash {log.running_hash[:16]}…")


def _epoch_in_json(begun: "NewEpoch") -> dict[str, object]:
    return {
        "new_epoch": begun.epoch.hex(),
        "hold": begun.hold_id,
        "held_tenants": list(begun.tenants),
    }


def _offered_in_json(one: "OfferedBy") -> dict[str, object]:
    return {
        "tenant": one.tenant,
        "subscriber": one.subscriber,
        "principal": one.principal,
        "opt_outs": one.opt_outs,
        "pauses": one.pauses,
        "suppressions": one.suppressions,
        "holds": one.holds,
        "people": len(one.keys),
    }


def _print_epoch(begun: "NewEpoch") -> None:
    print(f"epoch {begun.epoch.hex()} begins; only mandatory messages pass, in every tenant, until")
    print("you have seen what was lost, recorded it again, and lifted the hold in each. Caches and")
    print("agents offer back what they hold of it until then: heed-server offers")
    for tenant in begun.tenants:
        print(f"  heed holds lift {begun.hold_id} --tenant {tenant} --reason …")


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 1)


def _now() -> Instant:
    return Instant(time.time_ns() // 1000)

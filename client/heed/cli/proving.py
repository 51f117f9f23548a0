"""`heed audit`: get what proves a log, and verify it, which needs no server.

Laws:
- What is got is checked against nothing here but, for an export, its own root: verifying is with a
  key that the user brings.
- A log that is exported is written whole or has no checkpoint, which comes last.
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from heed.audit.checkpoints import Checkpoint, open_checkpoint, read_checkpoint
from heed.audit.claims import read_claim, require_claimed
from heed.audit.consistency import HEADER as CONSISTENCY_HEADER
from heed.audit.consistency import open_consistency
from heed.audit.exports import CHECKPOINT_PATH, KEY_PATH, verify_export
from heed.audit.failing import ProofError
from heed.audit.notes import VerifierKey, read_verifier_key
from heed.audit.receipts import HEADER as RECEIPT_HEADER
from heed.audit.receipts import Proved, open_receipt, read_receipt
from heed.audit.tiles import ENTRIES, TILE_WIDTH, Edge, Tile, edge_tiles, split_entries, width_of
from heed.cli.exits import NOT_PROVED, reporting
from heed.cli.files import writing
from heed.cli.options import AsJson, Session, connected
from heed.cli.output import print_json, time_of
from heed.errors import InvalidArgumentError, UnavailableError, invalid_field
from heed.model import ChangeKind
from heed.proof import leaf_hash
from heed.sync_client import SyncClient

S = TypeVar("S")
T = TypeVar("T")

app = typer.Typer(help="Prove what is in a log, and verify it.", no_args_is_help=True)

Out = Annotated[Path | None, typer.Option("--out", help="A file; stdout if not given")]
KeyOption = Annotated[
    list[str],
    typer.Option("--key", help="The log's verifier key, name+id+key; several with several"),
]


@app.command("checkpoint")
@connected
def checkpoint(
    session: Session,
    out: Out = None,
    show_key: Annotated[
        bool, typer.Option("--show-key", help="Print the log's verifier key instead")
    ] = False,
) -> None:
    """Get the last signed checkpoint of the log."""
    with session.connect() as client:
        found = client.get_checkpoint()
    if session.json:
        print_json(found)
        return
    _write(out, f"{found.verifier_key}\n" if show_key else found.text)


@app.command("receipt")
@connected
def receipt(
    session: Session,
    revision: Annotated[
        int, typer.Argument(min=0, help="The change's; 0: the first of the claim")
    ] = 0,
    claim: Annotated[
        str, typer.Option("--claim", help="The receipt_claim of the write's answer")
    ] = "",
    out: Out = None,
) -> None:
    """Get the receipt of a change: of any with the right audit, by a claim with the right write."""
    with session.connect() as client:
        found = (
            client.get_receipt(_asked(read_claim, claim, "claim"), revision=revision)
            if claim
            else client.get_inclusion_proof(revision)
        )
    if session.json:
        print_json(found)
        return
    _write(out, found.text)


@app.command("consistency")
@connected
def consistency(
    session: Session,
    since: Annotated[Path, typer.Argument(help="The file of an earlier checkpoint", exists=True)],
    out: Out = None,
) -> None:
    """Get the proof that the log begins with what it was at an earlier checkpoint."""
    earlier, _ = _asked(lambda path: read_checkpoint(_text(path)), since, "since")
    with session.connect() as client:
        found = client.get_consistency_proof(earlier.size)
    _write(out, str(found))


@app.command("export")
@connected
def export(
    session: Session,
    folder: Annotated[Path, typer.Argument(help="A folder that is not there yet")],
) -> None:
    """Get the whole log: every entry, the hashes over them, and the checkpoint."""
    folder.mkdir(parents=True)
    with session.connect() as client:
        found = client.get_checkpoint()
        said, _ = _received(read_checkpoint, found.text)
        edge = _fetched(client, said, folder)
    if edge.root() != said.root:
        raise UnavailableError(
            f"the entries that the server gave are not those of its checkpoint; {folder} has no "
            "checkpoint and proves nothing"
        )
    (folder / KEY_PATH).write_text(f"{found.verifier_key}\n", encoding="utf-8")
    (folder / CHECKPOINT_PATH).write_bytes(found.text.encode())
    if session.json:
        print_json({"origin": said.origin, "size": said.size})
    else:
        print(f"{said.size} changes of {said.origin} in {folder}", file=sys.stderr)


@app.command("verify")
def verify(
    path: Annotated[Path, typer.Argument(help="A receipt, a proof, a checkpoint, or a folder")],
    key: KeyOption,
    since: Annotated[
        Path | None, typer.Option(help="The earlier checkpoint, for a consistency proof")
    ] = None,
    claim: Annotated[
        str, typer.Option("--claim", help="The receipt_claim that a receipt has to be of")
    ] = "",
    json_: AsJson = False,
) -> None:
    """Verify a receipt, a proof, a checkpoint or an export, offline: 0 verified, 13 not."""
    with reporting(as_json=json_):
        keys = [_asked(read_verifier_key, one, "key") for one in key]
        try:
            told = _verified(path, keys, since, claim)
        except ProofError as error:
            if json_:
                print_json({"verified": False, "why": str(error)})
            else:
                print(f"not verified: {error}", file=sys.stderr)
            raise typer.Exit(NOT_PROVED) from None
    if json_:
        print_json({"verified": True} | told)
        return
    print("verified")
    for name, value in told.items():
        said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        print(f"  {name.replace('_', ' ')}: {said}")


def _verified(
    path: Path, keys: list[VerifierKey], since: Path | None, claim: str
) -> dict[str, object]:
    try:
        from heed.audit.signing import verify as by_key
    except ImportError as error:  # the library is an extra
        raise InvalidArgumentError(str(error)) from None

    if path.is_dir():
        return _told(verify_export(lambda name: _file(path, name), keys, by_key))
    said = _text(path)
    if said.startswith(RECEIPT_HEADER):
        receipt_said = read_receipt(said)
        proved = open_receipt(receipt_said, keys, by_key)
        if claim:
            require_claimed(
                _asked(read_claim, claim, "claim"),
                origin=proved.checkpoint.origin,
                index=receipt_said.index,
                leaf=leaf_hash(receipt_said.entry),
            )
        return _told_receipt(proved)
    if said.startswith(CONSISTENCY_HEADER):
        if since is None:
            raise invalid_field("since", "is needed: the file of the earlier checkpoint")
        before, after = open_consistency(said, _text(since), keys, by_key)
        return {"since": before.size} | _told(after)
    return _told(open_checkpoint(said, keys, by_key))


def _told(of: Checkpoint) -> dict[str, object]:
    return {"log": of.origin, "size": of.size, "root": of.root.hex()}


def _told_receipt(proved: Proved) -> dict[str, object]:
    entry = proved.entry
    kinds = {int(kind): kind.name.lower() for kind in ChangeKind}
    told: dict[str, object] = {
        "log": proved.checkpoint.origin,
        "revision": int(entry.revision),
        "kind": kinds.get(entry.kind, str(entry.kind)),
        "commit_time": time_of(datetime.fromtimestamp(entry.commit_time / 1_000_000, UTC)),
    }
    if proved.subject_key is not None:
        told["subject_key"] = proved.subject_key.hex()
    if proved.content is not None:
        told["content"] = _content(proved.content)
    return told | {"size": proved.checkpoint.size}


def _content(said: bytes) -> object:
    try:
        return json.loads(said)
    except (ValueError, RecursionError):
        raise ProofError("the content is no JSON, so it is none of heed's") from None


def _fetched(client: SyncClient, said: Checkpoint, folder: Path) -> Edge:
    """Write every entry, and the hashes over them, as this process makes them."""
    edge = Edge()
    while edge.size < said.size:
        number = edge.size // TILE_WIDTH
        tile = Tile(ENTRIES, number, width_of(ENTRIES, number, said.size))
        content = client.get_tile(tile.path)
        _put(folder, tile, content)
        entries = _received(partial(split_entries, tile), content)
        for full in edge.extend([leaf_hash(one) for one in entries]):
            _put(folder, full.tile, b"".join(full.hashes))
    for level, last in enumerate(edge_tiles(said.size)):
        if last.width:
            _put(folder, last, b"".join(edge.levels[level]))
    return edge


def _put(folder: Path, tile: Tile, content: bytes) -> None:
    path = folder / tile.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _file(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        raise ProofError(f"there is no {name} in {folder}") from None


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise ProofError(f"{path} is no text") from None


def _write(path: Path | None, said: str) -> None:
    with writing(path) as file:
        file.write(said)


def _asked(read: Callable[[S], T], said: S, field: str) -> T:
    """What the user said, read."""
    try:
        return read(said)
    except ProofError as error:
        raise invalid_field(field, str(error)) from None


def _received(read: Callable[[S], T], said: S) -> T:
    """What the server gave, read."""
    try:
        return read(said)
    except ProofError as error:
        raise UnavailableError(f"the server gave what proves nothing: {error}") from None

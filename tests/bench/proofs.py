"""The verifiable log: writes with leaf, claim and checkpoints; proofs; a million leaves verified."""

import itertools
import random
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from heed.audit.checkpoints import Checkpoint, origin_of
from heed.audit.exports import CHECKPOINT_PATH, verify_export
from heed.audit.signing import SigningKey, verify
from heed.audit.tiles import ENTRIES, TILE_WIDTH, Edge, Tile, edge_tiles, join_entries
from heed.model import ChangeKind, Instant, Revision, TenantId
from heed.proof import HASH_BYTES, NO_SUBJECT, canonical_entry, leaf_hash
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import preference_service_pb2 as preference
from tests.bench import messages
from tests.bench.calls import IN_FLIGHT, OTHER_ROUNDS, SEEDED, SETS_MAX, seeded_node
from tests.bench.figures import Figure, median_of
from tests.bench.load import LoadSpec
from tests.bench.measure import Arm, alternate, cpu_ratio, rate, ratio, requests_file
from tests.bench.nodes import SERVER_CORE, BenchError, HeedNode, bare_server

FIGURES: Final = ("audited_set_over_bare", "proofs_per_second", "receipt_seconds")
VERIFIED: Final = "verified_leaves_per_second"

PROOF_METHOD: Final = "/heed.v1.AuditService/GetInclusionProof"
RECEIPT_METHOD: Final = "/heed.v1.AuditService/GetReceipt"
PROOFS_IN_FLIGHT: Final = 16
RECEIPTS: Final = 20
"""Writes whose receipts are waited for."""
_ON: Final = f"SQLite, fsynced, on core {SERVER_CORE}, load from another process on another core"
_VERIFY_ROUNDS: Final = 3


def measure_audited(folder: Path) -> list[Figure]:
    """`audited_set_over_bare`, `proofs_per_second`, `receipt_seconds`."""
    with seeded_node(HeedNode(folder)) as node:
        people = itertools.count(10 * SEEDED)
        answer = node.call(messages.SET, messages.sets(people, calls=1)[0])
        if not preference.SetPreferenceResponse.FromString(answer).HasField("receipt_claim"):
            raise BenchError("an answer claims no receipt")
        figures = _sets(node, people, answer)
        waits = [
            _receipt_seconds(node, request) for request in messages.sets(people, calls=RECEIPTS)
        ]
        median, spread = median_of(waits)
        last = preference.SetPreferenceResponse.FromString(
            node.call(messages.SET, messages.sets(people, calls=1)[0])
        ).position.revision
        return [
            *figures,
            Figure(
                name="receipt_seconds", value=median, unit="s", spread=spread,
                against=f"from a write's answer to its receipt, one at a time, {_ON}",
            ),
            *_proofs(node, last - 1),
        ]  # fmt: skip


def measure_verification(folder: Path, leaves: int) -> list[Figure]:
    """`verified_leaves_per_second`: a whole export, from its files, as `heed audit verify` does."""
    key = SigningKey(bytes(32), origin_of(bytes(8), TenantId(1)))
    _write_log(folder, leaves, key)
    rates: list[float] = []
    for _ in range(_VERIFY_ROUNDS):
        begun = time.perf_counter()
        found = verify_export(lambda name: (folder / name).read_bytes(), [key.verifier], verify)
        rates.append(leaves / (time.perf_counter() - begun))
        if found.size != leaves:
            raise BenchError(f"{found.size} leaves were verified, not {leaves}")
    median, spread = median_of(rates)
    return [
        Figure(
            name=VERIFIED, value=median, unit="leaves/s", spread=spread,
            against=f"an export of {leaves:,} changes, every entry and tile, on one core",
        ),
        Figure(
            name="verify_million_seconds", value=1e6 / median, unit="s",
            against="the same, for a million",
        ),
    ]  # fmt: skip


def _sets(node: HeedNode, people: "itertools.count[int]", reply: bytes) -> list[Figure]:
    spec = LoadSpec(
        port=node.port, method=messages.SET, requests="", in_flight=IN_FLIGHT, seconds=2.0
    )
    audited = Arm(
        name="audited_set",
        spec=spec,
        fresh=lambda: messages.sets(people, calls=SETS_MAX),
        pid=node.pid,
    )
    with (
        bare_server({messages.SET: reply}) as (port, pid),
        requests_file(messages.sets(people, calls=1000)) as again,
    ):
        bare = Arm(name="bare", spec=replace(spec, port=port, requests=again), pid=pid)
        results = alternate([audited, bare], OTHER_ROUNDS)
    return [
        ratio(
            "audited_set_over_bare", audited, bare, results,
            "SetPreference, each with leaf and claim, checkpoints signed meanwhile, over a bare "
            f"grpc.aio handler, {IN_FLIGHT} in flight, {_ON}",
        ),
        cpu_ratio(
            "audited_set_over_bare_by_cpu", audited, bare, results,
            "the same rounds, by the servers' processor time",
        ),
    ]  # fmt: skip


def _receipt_seconds(node: HeedNode, request: bytes) -> float:
    answer = preference.SetPreferenceResponse.FromString(node.call(messages.SET, request))
    begun = time.perf_counter()
    asked = audit.GetReceiptRequest(claim=answer.receipt_claim)
    node.call(RECEIPT_METHOD, asked.SerializeToString())
    return time.perf_counter() - begun


def _proofs(node: HeedNode, last: int) -> list[Figure]:
    chosen = random.Random(3)
    asked = [
        audit.GetInclusionProofRequest(revision=chosen.randint(1, last)).SerializeToString()
        for _ in range(5_000)
    ]
    with requests_file(asked) as requests:
        spec = LoadSpec(
            port=node.port,
            method=PROOF_METHOD,
            requests=requests,
            in_flight=PROOFS_IN_FLIGHT,
            seconds=2.0,
        )
        arm = Arm(name="proofs", spec=spec, pid=node.pid)
        results = alternate([arm], OTHER_ROUNDS)
    return [
        rate(
            "proofs_per_second", arm, results, "proofs/s",
            f"receipts of any of {last:,} changes, {PROOFS_IN_FLIGHT} in flight, {_ON}",
        )
    ]  # fmt: skip


def _write_log(folder: Path, leaves: int, key: SigningKey) -> None:
    edge = Edge()
    for start in range(0, leaves, TILE_WIDTH):
        entries = [_entry(at) for at in range(start, min(start + TILE_WIDTH, leaves))]
        _write(folder, Tile(ENTRIES, start // TILE_WIDTH, len(entries)), [join_entries(entries)])
        for full in edge.extend([leaf_hash(one) for one in entries]):
            _write(folder, full.tile, full.hashes)
    for level, tile in enumerate(edge_tiles(leaves)):
        if tile.width:
            _write(folder, tile, edge.levels[level])
    checkpoint = Checkpoint(origin=key.verifier.name, size=leaves, root=edge.root())
    (folder / CHECKPOINT_PATH).write_bytes(key.sign(checkpoint).encode())


def _entry(at: int) -> bytes:
    return canonical_entry(
        kind=ChangeKind.CHOICE,
        tenant_id=TenantId(1),
        revision=Revision(at + 1),
        commit_time=Instant(1_795_219_200_000_000 + at),
        subject_commitment=NO_SUBJECT,
        content_commitment=at.to_bytes(HASH_BYTES),
    )


def _write(folder: Path, tile: Tile, parts: Iterable[bytes]) -> None:
    path = folder / tile.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(parts))

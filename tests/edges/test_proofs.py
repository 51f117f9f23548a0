"""Whoever wrote gets a receipt, and an auditor all that a stranger needs to verify a log."""

import time
from pathlib import Path

import pytest

import heed
from heed.audit.claims import ReceiptClaim, require_claimed
from heed.audit.consistency import open_consistency
from heed.audit.notes import read_verifier_key
from heed.audit.receipts import open_receipt, read_receipt
from heed.audit.signing import verify
from heed.proof import leaf_hash
from heed_server.audit import AuditLimits, Signer
from tests.support import requests as ask
from tests.support.served import Served
from tests.support.servers import CHECKPOINT_KEY, Running, running_server


def signer_of(server: Running) -> Signer:
    return Signer(
        server.store,
        server.store,
        CHECKPOINT_KEY,
        epoch=lambda: server.store.epoch,
        holder="test",
        standing=server.tenants.standing,
        boot_seconds=lambda: 0.0,
        limits=AuditLimits(),
    )


async def test_a_write_names_its_claim_and_a_replay_the_same(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        asked = ask.set_preference()

        first = await server.call("SetPreference", asked)
        again = await server.call("SetPreference", asked)

        assert first.receipt_claim == again.receipt_claim
        assert (again.replayed, first.receipt_claim.first_revision) == (True, 1)
        assert len(first.receipt_claim.leaves_hash) == 32


async def test_several_people_in_one_call_share_a_claim(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        answer = await server.call("BatchSetPreferences", ask.batch_set_preferences(5))
        await signer_of(server).sign_all()
        said = answer.receipt_claim
        assert (said.first_revision, said.count) == (1, 5)

        async with heed.Client(server.address) as client:
            claim = ReceiptClaim(
                origin=said.origin,
                first_revision=said.first_revision,
                count=said.count,
                leaves_hash=said.leaves_hash,
            )
            receipts = [(await client.get_receipt(claim, revision=at)).text for at in range(1, 6)]
            with pytest.raises(heed.InvalidArgumentError, match="revision"):
                await client.get_receipt(claim, revision=6)

        assert len({read_receipt(one).entry for one in receipts}) == 5


async def test_a_log_is_verified_by_what_a_client_gets(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, heed.Client(server.address) as client:
        await server.call("SetPreference", ask.set_preference())
        await signer_of(server).sign_all()
        before = await client.get_checkpoint()
        await server.call("BatchSetPreferences", ask.batch_set_preferences(300))
        await signer_of(server).sign_all()
        key = read_verifier_key(before.verifier_key)

        proof = await client.get_consistency_proof(1)
        receipt = await client.get_inclusion_proof(200)
        tile = await client.get_tile("tile/0/000")
        entries = await client.get_tile("tile/entries/001.p/45")

        old, new = open_consistency(str(proof), before.text, [key], verify)
        assert (old.size, new.size) == (1, 301)
        proved = open_receipt(read_receipt(receipt.text), [key], verify)
        assert proved.entry.revision == 200
        assert tile[199 * 32 : 200 * 32] == leaf_hash(read_receipt(receipt.text).entry)
        assert len(entries) == 45 * 92


async def test_what_is_no_request_of_a_proof_is_refused(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server, heed.Client(server.address) as client:
        claim = ReceiptClaim(origin="", first_revision=0, count=0, leaves_hash=b"")  # type: ignore[arg-type]  # on purpose
        with pytest.raises(heed.InvalidArgumentError) as refused:
            await client.get_receipt(claim)
        assert [one.field for one in refused.value.violations] == [
            "claim.origin",
            "claim.first_revision",
            "claim.count",
            "claim.leaves_hash",
            "revision",
        ]
        for call, field in (
            (client.get_inclusion_proof(0), "revision"),
            (client.get_consistency_proof(0), "old_size"),
            (client.get_consistency_proof(5, new_size=4), "new_size"),
            (client.get_tile(""), "path"),
            (client.get_tile("x" * 101), "path"),
        ):
            with pytest.raises(heed.InvalidArgumentError) as refused:
                await call
            assert [one.field for one in refused.value.violations] == [field]


def test_a_served_log_is_signed_within_a_second_of_each_answer(tmp_path: Path) -> None:
    served = Served(tmp_path).start()
    try:
        with served.client() as client:
            for number in range(3):
                answer = client.opt_out(email=f"p{number}@example.com", source="tests")
                claim = answer.receipt_claim
                assert claim is not None
                began = time.monotonic()
                receipt = client.get_receipt(claim)
                waited = time.monotonic() - began
                key = read_verifier_key(receipt.verifier_key)
                proved = open_receipt(read_receipt(receipt.text), [key], verify)
                require_claimed(
                    claim,
                    origin=proved.checkpoint.origin,
                    index=number,
                    leaf=leaf_hash(read_receipt(receipt.text).entry),
                )
                assert waited < 3, "a second, and what a busy machine adds"
            before = client.get_checkpoint()
        served.end()
        served = Served(tmp_path).start()
        with served.client() as client:
            assert client.get_checkpoint() == before, "the key and the checkpoint outlive a restart"
    finally:
        served.end()

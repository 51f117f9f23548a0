"""The messages of proofs: what is asked, what is refused, and what is told."""

import pytest

from heed.acts import Outcome
from heed.audit.claims import ReceiptClaim
from heed.model import Instant, Revision, TenantId
from heed.still_sent import plan
from heed.topics import TopicTable
from heed.wire import ask_proofs, outcomes, parse_proofs, read
from heed.wire.asked import ClaimedAsked, ConsistencyAsked, RevisionAsked, TileAsked
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from tests.support.requests import violations_of

CLAIM = ReceiptClaim(
    origin="heed.dev/log/0123456789abcdef/1",
    first_revision=Revision(5),
    count=3,
    leaves_hash=bytes(range(32)),
)


def outcome(claim: ReceiptClaim | None) -> Outcome:
    return Outcome(
        revision=Revision(7),
        running_hash=bytes(32),
        epoch=bytes(8),
        commit_time=Instant(1_800_000_000_000_000),
        claim=claim,
    )


def test_a_checkpoint_is_asked_for_by_its_tenant() -> None:
    assert (
        parse_proofs.get_checkpoint(ask_proofs.get_checkpoint("shop").SerializeToString()) == "shop"
    )


@pytest.mark.parametrize(("asked", "meant"), [(0, 5), (5, 5), (7, 7)])
def test_a_receipt_is_asked_for_by_a_claim(asked: int, meant: int) -> None:
    request = ask_proofs.get_receipt("shop", CLAIM, asked)

    assert parse_proofs.get_receipt(request.SerializeToString()) == ClaimedAsked(
        tenant="shop", claim=CLAIM, revision=Revision(meant)
    )


@pytest.mark.parametrize("revision", [4, 8])
def test_a_receipt_of_another_revision_than_the_claims_is_refused(revision: int) -> None:
    request = ask_proofs.get_receipt("", CLAIM, revision)

    assert violations_of(parse_proofs.get_receipt, request).keys() == {"revision"}


@pytest.mark.parametrize(
    ("claim", "field"),
    [
        ({"origin": ""}, "claim.origin"),
        ({"origin": "x" * 201}, "claim.origin"),
        ({"first_revision": 0}, "claim.first_revision"),
        ({"count": 0}, "claim.count"),
        ({"count": 10_001}, "claim.count"),
        ({"leaves_hash": bytes(31)}, "claim.leaves_hash"),
    ],
)
def test_what_is_no_claim_is_refused(claim: dict[str, object], field: str) -> None:
    request = ask_proofs.get_receipt("", CLAIM, 0)
    for name, value in claim.items():
        setattr(request.claim, name, value)

    assert field in violations_of(parse_proofs.get_receipt, request)


def test_any_change_is_asked_for_by_its_revision() -> None:
    request = ask_proofs.get_inclusion_proof("shop", 9)

    assert parse_proofs.get_inclusion_proof(request.SerializeToString()) == RevisionAsked(
        tenant="shop", revision=Revision(9)
    )
    for revision in (0, -1):
        wrong = audit.GetInclusionProofRequest(revision=revision)
        assert violations_of(parse_proofs.get_inclusion_proof, wrong).keys() == {"revision"}


def test_consistency_is_asked_for_by_two_sizes() -> None:
    request = ask_proofs.get_consistency_proof("shop", 3, 9)

    assert parse_proofs.get_consistency_proof(request.SerializeToString()) == ConsistencyAsked(
        tenant="shop", old_size=3, new_size=9
    )
    for old, new, field in ((0, 0, "old_size"), (3, 2, "new_size"), (3, -1, "new_size")):
        wrong = ask_proofs.get_consistency_proof("", old, new)
        assert field in violations_of(parse_proofs.get_consistency_proof, wrong)


def test_a_tile_is_asked_for_by_its_path() -> None:
    request = ask_proofs.get_tile("shop", "tile/0/000")

    assert parse_proofs.get_tile(request.SerializeToString()) == TileAsked(
        tenant="shop", path="tile/0/000"
    )
    for path in ("", "x" * 101):
        wrong = audit.GetTileRequest(path=path)
        assert violations_of(parse_proofs.get_tile, wrong).keys() == {"path"}


def test_signed_texts_are_read_as_they_were_given() -> None:
    of_log = audit.GetCheckpointResponse(checkpoint="note", verifier_key="key")
    of_change = audit.GetReceiptResponse(receipt="proof", verifier_key="key")

    assert read.signed_text(of_log).text == "note"
    assert read.signed_text(of_change).text == "proof"
    assert read.signed_text(of_change).verifier_key == "key"


def test_a_consistency_proof_is_read_with_the_size_that_was_asked_from() -> None:
    answer = audit.GetConsistencyProofResponse(hashes=[bytes(32)], new_size=9, checkpoint="note")

    found = read.consistency_proof(answer, old_size=3)

    assert (found.old_size, found.new_size, found.proof) == (3, 9, (bytes(32),))
    assert found.checkpoint == "note"


def test_a_claim_is_told_and_read_with_each_answer() -> None:
    nothing = plan(TopicTable(()), ())

    one = outcomes.preference_set(TenantId(1), outcome(CLAIM), nothing)
    several = outcomes.preferences_set(TenantId(1), outcome(CLAIM), 1)

    told = preference.SetPreferenceResponse.FromString(one)
    assert told.receipt_claim == pb.ReceiptClaim(
        origin=CLAIM.origin, first_revision=5, count=3, leaves_hash=CLAIM.leaves_hash
    )
    assert read.set_preference(told, "key").receipt_claim == CLAIM
    batch = preference.BatchSetPreferencesResponse.FromString(several)
    assert read.set_preferences(batch, "key").receipt_claim == CLAIM


def test_where_nothing_was_recorded_nothing_is_claimed() -> None:
    told = preference.SetPreferenceResponse.FromString(
        outcomes.preference_set(TenantId(1), outcome(None), plan(TopicTable(()), ()))
    )

    assert not told.HasField("receipt_claim")
    assert read.set_preference(told, "key").receipt_claim is None

"""What an agent answers by: its replica's laws, with a clock and a source that the test sets."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from heed.errors import ErrorReason, HeedError, NotFoundError, UnavailableError
from heed.index.place import Source
from heed.index.shared import SharedIndex, View
from heed.keys import LOOKUP_KEY_BYTES
from heed.model import (
    RULE_VERSION,
    Cause,
    Channel,
    Instant,
    Reach,
    Record,
    RecordKind,
    Revision,
    Topic,
    TopicClass,
    Verdict,
)
from heed.tokens import encode_token
from heed.wire import checks as wire
from heed.wire.encoded import Answered, Position
from heed_proto.v1 import preference_service_pb2 as preference
from heed_server.agent.following import ReplicaFollower
from heed_server.agent.service import CALLER, AgentChecks
from heed_server.service import MaxStaleness
from heed_server.service.checks import Checked
from tests.support import requests as ask
from tests.support.replicas import EPOCH, KEY, SOURCE_NOW_US, Held, held

ADA = "ada@example.com"
BOB = "bob@example.com"
OTHER_KEY = b"\1" * LOOKUP_KEY_BYTES
OPT_OUT = Record(
    kind=RecordKind.OPT_OUT,
    cause=Cause.NONE,
    end_time=None,
    channel=Channel.ANY,
    topic="",
    reach=Reach.PROMOTIONAL,
    decided_time=Instant(SOURCE_NOW_US - 1),
    revision=Revision(3),
)
SECURITY = Topic(
    name="security",
    topic_class=TopicClass.MANDATORY,
    mandatory_channels=frozenset({Channel.EMAIL}),
)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Held]:
    with held(tmp_path / "r") as one:
        yield one


def checks_of(known: ReplicaFollower) -> AgentChecks:
    return AgentChecks(known, MaxStaleness())


async def check(
    known: ReplicaFollower, email: str, *, topic: str = "news", token: str = "", tenant: str = ""
) -> tuple[Answered, Position, Instant]:
    asked = preference.CheckSuppressionRequest(
        tenant=tenant, query=ask.query(email, topic), token=token
    )
    read, checks = wire.check(asked.SerializeToString()), checks_of(known)
    if token:
        with pytest.raises(ValueError, match="check_from"):
            checks.check(CALLER, read)
        return await checks.check_from(CALLER, read, lambda: 0.05)
    return checks.check(CALLER, read)


async def verdict(known: ReplicaFollower, email: str, **said: str) -> Verdict:
    (decision, _), _, _ = await check(known, email, **said)
    return decision.verdict


async def test_a_replica_answers_at_its_revision_and_the_sources_time(replica: Held) -> None:
    replica.install({ADA: [OPT_OUT]}, revision=7)
    replica.hear()
    replica.clock.advance(timedelta(seconds=2))

    (decision, _), _, now = await check(replica.known, ADA)

    assert decision.verdict is Verdict.SUPPRESSED
    assert now == SOURCE_NOW_US + 2_000_000
    assert await verdict(replica.known, BOB) is Verdict.ALLOWED


async def test_allowed_ends_with_the_age_of_its_class_and_suppressed_does_not(
    replica: Held,
) -> None:
    replica.install({ADA: [OPT_OUT]}, topics=[SECURITY])
    replica.hear()

    replica.clock.advance(timedelta(seconds=5))
    assert await verdict(replica.known, BOB) is Verdict.ALLOWED
    replica.clock.advance(timedelta(microseconds=1))
    with pytest.raises(UnavailableError) as refused:
        await verdict(replica.known, BOB)
    assert refused.value.reason is ErrorReason.STATE_STALE
    assert await verdict(replica.known, BOB, topic="security") is Verdict.ALLOWED
    assert await verdict(replica.known, ADA) is Verdict.SUPPRESSED
    replica.clock.advance(timedelta(minutes=15))
    with pytest.raises(UnavailableError):
        await verdict(replica.known, BOB, topic="security")
    assert await verdict(replica.known, ADA) is Verdict.SUPPRESSED


async def test_an_age_is_of_before_the_look_up_though_the_replica_is_heard_of_meanwhile(
    replica: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The follower's thread takes a change and a heartbeat right after the records were read."""
    replica.install({ADA: [OPT_OUT]})
    replica.hear()
    await verdict(replica.known, BOB)
    replica.clock.advance(timedelta(seconds=6))
    find = SharedIndex.find

    def find_and_be_overtaken(
        index: SharedIndex, key: bytes, known: View
    ) -> tuple[bool, bytes | None]:
        found = find(index, key, known)
        replica.hear()
        return found

    monkeypatch.setattr(SharedIndex, "find", find_and_be_overtaken)
    with pytest.raises(UnavailableError) as refused:
        await verdict(replica.known, BOB)

    assert refused.value.reason is ErrorReason.STATE_STALE
    # The control: by what was heard, the next look-up may allow.
    assert await verdict(replica.known, BOB) is Verdict.ALLOWED


async def test_nothing_is_answered_before_a_snapshot_is_whole_and_heard_of(replica: Held) -> None:
    with pytest.raises(UnavailableError):
        await verdict(replica.known, ADA)
    replica.install({ADA: [OPT_OUT]})
    with pytest.raises(UnavailableError):
        await verdict(replica.known, ADA)
    replica.hear()

    assert await verdict(replica.known, ADA) is Verdict.SUPPRESSED


async def test_a_log_of_later_rules_stops_and_allows_nothing(replica: Held) -> None:
    replica.install({ADA: [OPT_OUT]}, rule_version=RULE_VERSION + 1)
    replica.hear()

    assert await verdict(replica.known, ADA) is Verdict.SUPPRESSED
    with pytest.raises(UnavailableError):
        await verdict(replica.known, BOB)


@pytest.mark.parametrize("again", ["in the same index", "by a snapshot"])
async def test_after_another_lookup_key_nobody_is_looked_up_by_the_old_one(
    replica: Held, again: str
) -> None:
    replica.install({ADA: [OPT_OUT]})
    replica.hear()
    assert await verdict(replica.known, ADA) is Verdict.SUPPRESSED

    if again == "by a snapshot":
        replica.install({ADA: [OPT_OUT]}, keys=[(1, OTHER_KEY)])
    else:
        place = replica.owned.place
        assert place is not None
        replica.owned.amend(
            Source(tenant="t", lookup_keys=((1, OTHER_KEY),)),
            rule_version=place.rule_version,
            normaliser_version=place.normaliser_version,
        )
    replica.hear()

    with pytest.raises(UnavailableError):
        await verdict(replica.known, ADA)
    # Then it is looked up by the new one, under which only a snapshot has put anybody.
    found = [await verdict_or_none(replica.known, ADA) for _ in range(2)][-1]
    assert found is (Verdict.SUPPRESSED if again == "by a snapshot" else Verdict.ALLOWED)


@pytest.mark.parametrize("keys", [[(1, KEY), (2, OTHER_KEY)], [(2, OTHER_KEY), (1, KEY)]])
async def test_of_several_lookup_keys_each_is_looked_up(
    replica: Held, keys: list[tuple[int, bytes]]
) -> None:
    replica.install({ADA: [OPT_OUT]}, keys=keys)  # under the first of them
    replica.hear()

    assert await verdict(replica.known, ADA) is Verdict.SUPPRESSED
    assert await verdict(replica.known, BOB) is Verdict.ALLOWED


async def test_another_life_of_the_store_answers_with_its_own_tokens(replica: Held) -> None:
    replica.install({ADA: [OPT_OUT]})
    replica.hear()
    await verdict(replica.known, ADA)
    old = token(7)

    replica.install({}, epoch=b"87654321")
    replica.hear()

    with pytest.raises(UnavailableError):  # once: what was known is found to be of another
        await verdict(replica.known, ADA)
    with pytest.raises(HeedError) as refused:
        await verdict(replica.known, ADA, token=old)
    assert refused.value.reason is ErrorReason.EPOCH_CHANGED
    assert await verdict(replica.known, ADA) is Verdict.ALLOWED


async def test_a_token_is_of_this_revision_or_waited_for(replica: Held) -> None:
    replica.install({}, revision=7)
    replica.hear()

    assert await verdict(replica.known, BOB, token=token(7)) is Verdict.ALLOWED
    with pytest.raises(HeedError) as ahead:
        await verdict(replica.known, BOB, token=token(8))
    with pytest.raises(HeedError) as of_another:
        await verdict(replica.known, BOB, token=token(7, hash_=bytes([9]) * 32))

    assert ahead.value.reason is ErrorReason.NODE_BEHIND
    assert of_another.value.reason is ErrorReason.STORE_MISMATCH


async def test_answers_carry_the_token_of_where_they_are_true(replica: Held) -> None:
    replica.install({}, revision=7)
    replica.hear()
    _, first, _ = await check(replica.known, BOB)
    replica.install({}, revision=9)
    replica.hear()
    _, second, _ = await check(replica.known, BOB)

    told = [
        preference.CheckSuppressionResponse.FromString(one.at(Instant(SOURCE_NOW_US))).position
        for one in (first, second)
    ]
    assert [one.revision for one in told] == [7, 9]
    assert [one.token for one in told] == [token(7), token(9)]


async def test_another_tenant_is_not_this_agents(replica: Held) -> None:
    replica.install({})
    replica.hear()

    assert await verdict(replica.known, BOB, tenant="t") is Verdict.ALLOWED
    with pytest.raises(NotFoundError):
        await verdict(replica.known, BOB, tenant="u")


async def test_a_batch_is_of_one_revision_and_each_named_subject_counts(replica: Held) -> None:
    narrow = replace(OPT_OUT, topic="news")
    replica.install({ADA: [narrow]})
    replica.hear()
    queries = [ask.query(who, topic) for who in (ADA, BOB) for topic in ("news", "offers")]
    asked = preference.BatchCheckSuppressionRequest(queries=queries)

    done = await checks_of(replica.known).batch_check(
        CALLER, wire.batch_check(asked.SerializeToString()), lambda: 1.0
    )

    assert verdicts(done) == [
        Verdict.SUPPRESSED,
        Verdict.ALLOWED,
        Verdict.ALLOWED,
        Verdict.ALLOWED,
    ]


async def verdict_or_none(known: ReplicaFollower, email: str) -> Verdict | None:
    try:
        return await verdict(known, email)
    except UnavailableError:
        return None


def verdicts(done: Checked) -> Sequence[Verdict]:
    return [decision.verdict for decision, _ in done.answered]


def token(revision: int, *, hash_: bytes | None = None) -> str:
    return encode_token(
        epoch=EPOCH,
        tenant_id=1,  # type: ignore[arg-type]  # a tenant's number
        revision=Revision(revision),
        running_hash=hash_ or revision.to_bytes(32, "big"),
    )

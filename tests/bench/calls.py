"""Calls against the bare handler: Check, BatchCheck, SetPreference, BatchSetPreferences."""

import itertools
import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from cryptography import x509

from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as types
from tests.bench import messages
from tests.bench.figures import Figure
from tests.bench.load import LoadSpec
from tests.bench.measure import Arm, alternate, cpu_ratio, load, rate, ratio, requests_file
from tests.bench.nodes import SERVER_CORE, BenchError, HeedNode, Shown, bare_server
from tests.support.identities import (
    ISSUER,
    JwtIssuer,
    grant_said,
    issuer_said,
    write_grants,
    write_jwks,
)
from tests.support.postgres import Postgres
from tests.support.served import Authority

SEEDED: Final = 10_000
"""People with an opt-out before anything is timed."""

ASKED: Final = 5 * SEEDED
"""Who is asked about: one in five has an opt-out, more than most lists have."""
BATCH_QUERIES: Final = 1_000
STREAM_QUERIES: Final = 8
"""Of 64 checks under way on 4 streams each has 16: two requests, of which one is answered while the
other is on its way."""
BATCH_PEOPLE: Final = 1_000
IN_FLIGHT: Final = 64
SETS_MAX: Final = 15_000
"""Requests of one round, each of which is sent once: more than any server here answers in it."""
BATCH_SETS_MAX: Final = 80
CHECK_ROUNDS: Final = 7
OTHER_ROUNDS: Final = 5
_ON = f"both on core {SERVER_CORE}, load from another process on another core"


def measure_checks(folder: Path) -> list[Figure]:
    """`check_over_bare` and `batch_over_unary`."""
    people = list(range(ASKED))
    random.Random(1).shuffle(people)
    with (
        seeded_node(HeedNode(folder)) as node,
        requests_file(messages.checks(iter(people))) as unary,
        requests_file(
            messages.batch_checks(itertools.cycle(people), calls=40, size=BATCH_QUERIES)
        ) as batches,
    ):
        spec = LoadSpec(port=node.port, method=messages.CHECK, requests=unary, in_flight=IN_FLIGHT)
        reply = _verified_reply(spec)
        heed = Arm(name="check", spec=spec, pid=node.pid)
        with bare_server({messages.CHECK: reply}) as (port, pid):
            bare = Arm(name="bare", spec=replace(spec, port=port), pid=pid)
            results = alternate([heed, bare], CHECK_ROUNDS)
        batch = Arm(
            name="batch",
            spec=LoadSpec(
                port=node.port,
                method=messages.BATCH_CHECK,
                requests=batches,
                connections=2,
                in_flight=4,
            ),
            units=BATCH_QUERIES,
            pid=node.pid,
        )
        _verify_batch(node)
        batch_results = alternate([batch, heed], OTHER_ROUNDS)
    return [
        ratio(
            "check_over_bare", heed, bare, results,
            f"unary Check over a bare grpc.aio handler, {IN_FLIGHT} in flight, "
            f"one in {ASKED // SEEDED} suppressed, {_ON}",
        ),
        cpu_ratio(
            "check_over_bare_by_cpu", heed, bare, results,
            "the same rounds, by the servers' processor time",
        ),
        rate("check_calls_per_second", heed, results, "calls/s", "the same rounds"),
        rate("bare_calls_per_second", bare, results, "calls/s", "the same rounds"),
        ratio(
            "batch_over_unary", batch, heed, batch_results,
            f"decisions/s in batches of {BATCH_QUERIES} (4 in flight) over unary Checks, {_ON}",
        ),
        rate("batch_decisions_per_second", batch, batch_results, "decisions/s", "the same rounds"),
    ]  # fmt: skip


def measure_stream(folder: Path) -> list[Figure]:
    """`stream_over_unary`: as many checks under way, over as many connections."""
    people = list(range(ASKED))
    random.Random(1).shuffle(people)
    cycle = itertools.cycle(people)
    with (
        seeded_node(HeedNode(folder)) as node,
        requests_file(messages.checks(iter(people))) as unary,
        requests_file(messages.stream_checks(cycle, calls=2_000, size=STREAM_QUERIES)) as grouped,
        requests_file(messages.stream_checks(cycle, calls=10_000, size=1)) as single,
    ):
        spec = LoadSpec(port=node.port, method=messages.CHECK, requests=unary, in_flight=IN_FLIGHT)
        of_stream = replace(
            spec,
            method=messages.CHECK_STREAM,
            requests=grouped,
            in_flight=IN_FLIGHT // STREAM_QUERIES,
            is_stream=True,
        )
        _verify_stream(of_stream)
        heed = Arm(name="check", spec=spec, pid=node.pid)
        stream = Arm(name="stream", spec=of_stream, units=STREAM_QUERIES, pid=node.pid)
        alone = Arm(
            name="stream of single checks",
            spec=replace(of_stream, requests=single, in_flight=IN_FLIGHT),
            pid=node.pid,
        )
        results = alternate([stream, heed, alone], OTHER_ROUNDS)
    return [
        ratio(
            "stream_over_unary", stream, heed, results,
            f"decisions/s over 4 streams, {IN_FLIGHT} checks under way, {STREAM_QUERIES} in a "
            f"request as the library groups what waits, over unary Checks, {_ON}",
        ),
        ratio(
            "stream_of_single_over_unary", alone, heed, results,
            "the same with one check in a request",
        ),
        rate("stream_decisions_per_second", stream, results, "decisions/s", "the same rounds"),
    ]  # fmt: skip


def measure_checks_tls(folder: Path) -> list[Figure]:
    """`check_tls_over_bare_tls`: both with TLS, heed's with a credential too."""
    people = list(range(ASKED))
    random.Random(1).shuffle(people)
    folder.mkdir(parents=True)
    authority = Authority(folder)
    with (
        seeded_node(HeedNode(folder, authority=authority)) as node,
        requests_file(messages.checks(iter(people))) as unary,
    ):
        spec = LoadSpec(
            port=node.port,
            method=messages.CHECK,
            requests=unary,
            in_flight=IN_FLIGHT,
            seconds=1.5,
            certificate=str(authority.file),
            metadata=node.metadata,
        )
        heed = Arm(name="check", spec=spec, pid=node.pid)
        reply = _verified_reply(spec)
        with bare_server({messages.CHECK: reply}, authority=authority) as (port, pid):
            bare = Arm(name="bare", spec=replace(spec, port=port), pid=pid)
            results = alternate([heed, bare], OTHER_ROUNDS)
    return [
        ratio(
            "check_tls_over_bare_tls", heed, bare, results,
            f"unary Check with TLS and an API key over a bare handler with TLS, "
            f"{IN_FLIGHT} in flight, {_ON}",
        ),
        cpu_ratio(
            "check_tls_over_bare_tls_by_cpu", heed, bare, results,
            "the same rounds, by the servers' processor time",
        ),
    ]  # fmt: skip


def measure_checks_secure(folder: Path) -> list[Figure]:
    """`secure_check_over_bare`: both with mTLS, heed's with a JWT too, which it has verified."""
    people = list(range(ASKED))
    random.Random(1).shuffle(people)
    folder.mkdir(parents=True)
    authority = Authority(folder)
    shown = _shown(folder, authority)
    with (
        seeded_node(HeedNode(folder, authority=authority, shown=shown)) as node,
        requests_file(messages.checks(iter(people))) as unary,
    ):
        spec = LoadSpec(
            port=node.port,
            method=messages.CHECK,
            requests=unary,
            in_flight=IN_FLIGHT,
            seconds=1.5,
            certificate=str(authority.file),
            shown=(str(shown.chain), str(shown.private_key)),
            metadata=node.metadata,
        )
        heed = Arm(name="check", spec=spec, pid=node.pid)
        reply = _verified_reply(spec)
        with bare_server(
            {messages.CHECK: reply}, authority=authority, asks_for_certificates=True
        ) as (port, pid):
            bare = Arm(name="bare", spec=replace(spec, port=port), pid=pid)
            results = alternate([heed, bare], CHECK_ROUNDS)
    return [
        ratio(
            "secure_check_over_bare", heed, bare, results,
            f"unary Check with mTLS and a JWT over a bare handler with mTLS, "
            f"{IN_FLIGHT} in flight, {_ON}",
        ),
        cpu_ratio(
            "secure_check_over_bare_by_cpu", heed, bare, results,
            "the same rounds, by the servers' processor time",
        ),
    ]  # fmt: skip


def _shown(folder: Path, authority: Authority) -> Shown:
    """A caller's certificate and JWT; the JWT is granted what the load does."""
    issuer = JwtIssuer()
    write_jwks(folder, issuer)
    granted = grant_said(issuer=ISSUER, subject="mailer", rights=["check", "write"])
    chain, private_key = authority.issue_to_client("caller", x509.DNSName("caller.example.org"))
    return Shown(
        chain=chain,
        private_key=private_key,
        metadata={"authorization": f"Bearer {issuer.jwt()}"},
        grants=write_grants(folder, issuer_said(), granted),
    )


def measure_sets(folder: Path) -> list[Figure]:
    """`set_over_bare` and `batch_set_over_set`, on SQLite."""
    with seeded_node(HeedNode(folder)) as node:
        return _measure_sets(node, "", f"SQLite, fsynced, {_ON}")


def measure_sets_postgres(folder: Path) -> list[Figure]:
    """The same on PostgreSQL, which shares the server's core."""
    with Postgres() as postgres:
        postgres.pin([SERVER_CORE])
        url = postgres.create_database("heed_bench_sets")
        with seeded_node(HeedNode(folder, database_url=url)) as node:
            return _measure_sets(
                node, "_postgres", f"PostgreSQL on the server's core, fsynced, {_ON}"
            )


def _measure_sets(node: HeedNode, suffix: str, on: str) -> list[Figure]:
    people = itertools.count(10 * SEEDED)
    spec = LoadSpec(
        port=node.port, method=messages.SET, requests="", in_flight=IN_FLIGHT, seconds=2.0
    )
    one_set = Arm(
        name="set", spec=spec, fresh=lambda: messages.sets(people, calls=SETS_MAX), pid=node.pid
    )
    reply = _set_reply(node)
    with (
        bare_server({messages.SET: reply}) as (port, pid),
        requests_file(messages.sets(people, calls=1000)) as again,
    ):
        bare = Arm(name="bare", spec=replace(spec, port=port, requests=again), pid=pid)
        results = alternate([one_set, bare], OTHER_ROUNDS)
    figures = [
        ratio(
            f"set_over_bare{suffix}", one_set, bare, results,
            f"SetPreference over a bare grpc.aio handler, {IN_FLIGHT} in flight, {on}",
        ),
        cpu_ratio(
            f"set_over_bare_by_cpu{suffix}", one_set, bare, results,
            "the same rounds, by the servers' processor time (not the database's)",
        ),
        rate(f"set_calls_per_second{suffix}", one_set, results, "calls/s", "the same rounds"),
    ]  # fmt: skip
    batch = Arm(
        name="batch_set",
        spec=LoadSpec(
            port=node.port,
            method=messages.BATCH_SET,
            requests="",
            connections=2,
            in_flight=4,
            seconds=2.0,
        ),
        fresh=lambda: messages.batch_sets(people, calls=BATCH_SETS_MAX, size=BATCH_PEOPLE),
        units=BATCH_PEOPLE,
        pid=node.pid,
    )
    batch_results = alternate([batch, one_set], OTHER_ROUNDS)
    return [
        *figures,
        ratio(
            f"batch_set_over_set{suffix}", batch, one_set, batch_results,
            f"records/s in batches of {BATCH_PEOPLE} (4 in flight) over SetPreference "
            f"({IN_FLIGHT} in flight), {on}",
        ),
        rate(
            f"batch_set_records_per_second{suffix}", batch, batch_results, "records/s",
            "the same rounds",
        ),
    ]  # fmt: skip


@contextmanager
def seeded_node(node: HeedNode) -> Generator[HeedNode, None, None]:
    """A server that knows the first `SEEDED` people's opt-outs."""
    with node:
        people = iter(range(SEEDED))
        requests = messages.batch_sets(people, calls=SEEDED // BATCH_PEOPLE, size=BATCH_PEOPLE)
        for request in requests:
            node.call(messages.BATCH_SET, request)
        yield node


def _verified_reply(spec: LoadSpec) -> bytes:
    """The longest of some replies, after looking that they say what they should.

    Longest, so that the bare handler never sends less than heed does.
    """
    replies = [bytes.fromhex(one) for one in load(spec).replies]
    decisions = [preference.CheckSuppressionResponse.FromString(one).decision for one in replies]
    _require_both_verdicts(decisions)
    return max(replies, key=len)


def _verify_batch(node: HeedNode) -> None:
    people = iter(range(SEEDED - BATCH_QUERIES // 2, SEEDED + BATCH_QUERIES // 2))
    (request,) = messages.batch_checks(people, calls=1, size=BATCH_QUERIES)
    reply = node.call(messages.BATCH_CHECK, request)
    decisions = preference.BatchCheckSuppressionResponse.FromString(reply).decisions
    known = [one.verdict == types.VERDICT_SUPPRESSED for one in decisions]
    if known != [True] * (BATCH_QUERIES // 2) + [False] * (BATCH_QUERIES // 2):
        raise BenchError("a batch is not answered as it should be")


def _verify_stream(spec: LoadSpec) -> None:
    replies = [bytes.fromhex(one) for one in load(spec).replies]
    answers = [
        one.decision
        for reply in replies
        for one in preference.StreamCheckSuppressionResponse.FromString(reply).answers
    ]
    if len(answers) != STREAM_QUERIES * len(replies):
        raise BenchError("a stream is not answered as it should be")
    _require_both_verdicts(answers)


def _require_both_verdicts(decisions: list[types.Decision]) -> None:
    verdicts = {decision.verdict for decision in decisions}
    if verdicts != {types.VERDICT_ALLOWED, types.VERDICT_SUPPRESSED}:
        raise BenchError(f"the checks are answered {verdicts}, not both ways")


def _set_reply(node: HeedNode) -> bytes:
    (request,) = messages.sets(itertools.count(5 * SEEDED), calls=1)
    reply = node.call(messages.SET, request)
    if node.check(messages.email(5 * SEEDED)).decision.verdict != types.VERDICT_SUPPRESSED:
        raise BenchError("an opt-out is not known to the next check")
    return reply

"""One check, a batch and a stream answer the decision table alike, byte for byte of a decision."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import grpc
import pytest
from grpc import aio

from heed.decide import Facts
from heed.keys import LOOKUP_KEY_BYTES, LookupKey, LookupKeys
from heed.model import Instant, Record, Revision, Subject, SubjectKey, SubjectType, TenantId
from heed.topics import TopicTable
from heed.wire.encoded import Position
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_server.auth.policy import Principal
from heed_server.rpc import CheckStreams
from heed_server.rpc.calls import conversed, unobserved
from heed_server.rpc.methods import UNARY_METHODS
from heed_server.service import Service
from heed_server.service.answering import AnsweringIndex, AnsweringTenant
from heed_server.service.checks import Checks
from heed_server.service.tally import Tally
from tests.support import scenarios
from tests.support.decision_cases import load
from tests.support.naive_decision import Scenario, verdict

SERVICE = "heed.v1.PreferenceService"
DRAWN = 1_000
KEYER = LookupKeys([LookupKey(1, bytes(LOOKUP_KEY_BYTES))])
REVISION = Revision(7)


class Table(Checks):
    """Answers by the scenario that a test sets: it stands in for an index, its follower, a tenant."""

    epoch = b"12345678"
    revision = REVISION
    running_hash = bytes(32)
    tenant_id = TenantId(1)
    lookup = KEYER

    def __init__(self) -> None:
        self.tally = Tally()
        super().__init__(now=lambda: Instant(max(self.scenario.now, 1)))
        self.scenario: Scenario = load()[0].scenario

    @property
    def index(self) -> "Table":
        return self

    @property
    def follower(self) -> "Table":
        return self

    @property
    def holds(self) -> object:
        return self.scenario.holds

    @property
    def topics(self) -> TopicTable:
        return TopicTable(self.scenario.topics)

    def facts(self, keys: Sequence[SubjectKey]) -> Facts:
        return Facts(tuple(self.records_many(keys)), self.scenario.holds, self.topics)

    def records_many(self, keys: Sequence[SubjectKey]) -> list[tuple[Record, ...]]:
        subjects = self.scenario.subjects
        standing = {_key(at): records for at, records in enumerate(subjects)}
        return [standing[key] for key in keys]

    def hash_at(self, _revision: Revision) -> None:
        return None

    def source_age_seconds(self) -> float:
        return 0.0

    def position(self, _index: AnsweringIndex) -> Position:
        return Position(REVISION, "token")

    def enter(self, method: str, principal: Principal, tenant: str) -> AnsweringTenant:
        return cast("AnsweringTenant", self)

    def doubted(self, now: Instant) -> Instant | None:
        return None


class Asked:
    """The three ways to ask, over one connection."""

    def __init__(self, table: Table, channel: aio.Channel) -> None:
        self.table = table
        self._channel = channel
        stream: aio.StreamStreamMultiCallable[bytes, bytes]
        stream = channel.stream_stream(f"/{SERVICE}/StreamCheckSuppression")
        self._stream = stream()

    async def by_call(self, query: pb.Query) -> pb.Decision:
        request = preference.CheckSuppressionRequest(query=query)
        data = await self._unary("CheckSuppression", request.SerializeToString())
        return preference.CheckSuppressionResponse.FromString(data).decision

    async def by_batch(self, query: pb.Query) -> pb.Decision:
        request = preference.BatchCheckSuppressionRequest(queries=[query, query])
        data = await self._unary("BatchCheckSuppression", request.SerializeToString())
        first, second = preference.BatchCheckSuppressionResponse.FromString(data).decisions
        assert first == second
        return first

    async def by_stream(self, query: pb.Query) -> pb.Decision:
        request = preference.StreamCheckSuppressionRequest(queries=[query, query], sequence=1)
        await self._stream.write(request.SerializeToString())
        data = cast("bytes", await self._stream.read())
        first, second = preference.StreamCheckSuppressionResponse.FromString(data).answers
        assert first == second
        return first.decision

    async def _unary(self, name: str, data: bytes) -> bytes:
        method: aio.UnaryUnaryMultiCallable[bytes, bytes]
        method = self._channel.unary_unary(f"/{SERVICE}/{name}")
        return await method(data)

    async def alike(self, scenario: Scenario) -> pb.Decision:
        self.table.scenario = scenario
        query = pb.Query(
            subjects=[pb.Subject(user=f"u-{at}") for at in range(len(scenario.subjects))],
            channel=cast("pb.Channel.ValueType", int(scenario.query.channel)),
            topic=scenario.query.topic,
            campaign=scenario.query.campaign,
        )
        by_call = await self.by_call(query)
        assert await self.by_batch(query) == by_call, scenario
        assert await self.by_stream(query) == by_call, scenario
        return by_call


def _key(at: int) -> SubjectKey:
    return KEYER.key(Subject(type=SubjectType.USER, value=f"u-{at}"))


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    table = Table()
    service = cast("Service", table)
    server = aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        name: grpc.unary_unary_rpc_method_handler(unobserved(UNARY_METHODS[name], service, None))
        for name in ("CheckSuppression", "BatchCheckSuppression")
    }
    name = "StreamCheckSuppression"
    handlers[name] = grpc.stream_stream_rpc_method_handler(
        conversed(name, CheckStreams().converse, table, None, lambda *_, **__: None)
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    address = f"unix:{tmp_path / 's'}"
    server.add_insecure_port(address)
    await server.start()
    async with aio.insecure_channel(address) as channel:
        yield Asked(table, channel)
    await server.stop(None)


async def test_every_case_of_the_table_is_answered_alike_and_as_it_says(asked: Asked) -> None:
    for case in load():
        decision = await asked.alike(case.scenario)

        assert decision.verdict == int(case.expected.verdict), case.name
        assert decision.reasons[0].rule == int(case.expected.rule), case.name


@pytest.mark.slow
async def test_drawn_cases_are_answered_alike_and_as_the_design_says(asked: Asked) -> None:
    for seed in range(DRAWN):
        drawn = scenarios.scenario(scenarios.seeded(seed))
        scenario = replace(drawn, now=Instant(max(drawn.now, 1)))

        decision = await asked.alike(scenario)

        assert decision.verdict == int(verdict(scenario)), scenario

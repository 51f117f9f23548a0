"""A check over REST answers the decision table as one over gRPC does, whole."""

from dataclasses import replace
from typing import Any, cast

import pytest
from google.protobuf.json_format import MessageToDict

from heed.model import Instant
from heed.names import word_of
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_server.auth.policy import OPEN
from heed_server.rpc.methods import UNARY_METHODS
from heed_server.service import Service
from tests.edges.test_check_parity import Table
from tests.support import scenarios
from tests.support.decision_cases import load
from tests.support.naive_decision import Scenario, verdict
from tests.support.rest import Rest

DRAWN = 300
PREFIXES = {
    "verdict": "VERDICT",
    "rule": "RULE",
    "kind": "RECORD_KIND",
    "cause": "CAUSE",
    "reach": "REACH",
    "channel": "CHANNEL",
    "topic_class": "TOPIC_CLASS",
}


class Asked:
    """The same question over both, of one table."""

    def __init__(self) -> None:
        self.table = Table()
        self._rest = Rest(cast("Service", self.table))

    async def alike(self, scenario: Scenario) -> dict[str, Any]:
        """Return the answer over REST, once it is seen to be that over gRPC."""
        self.table.scenario = scenario
        asked = scenario.query
        people = [f"u-{at}" for at in range(len(scenario.subjects))]
        query = {
            "subjects": [{"user": one} for one in people],
            "channel": word_of(asked.channel),
            "topic": asked.topic,
            "campaign": asked.campaign,
        }
        over_rest = await self._rest.post("/v1/checks", query)
        batch = await self._rest.post("/v1/checks/batch", {"queries": [query, query]})

        assert (over_rest.code, batch.code) == (200, 200), (over_rest.body, scenario)
        position = over_rest.body.pop("position")
        assert batch.body == {"decisions": [over_rest.body, over_rest.body], "position": position}
        assert over_rest.body == self._over_grpc(people, asked), scenario
        return dict(over_rest.body)

    def _over_grpc(self, people: list[str], asked: Any) -> object:
        message = preference.CheckSuppressionRequest(
            query=pb.Query(
                subjects=[pb.Subject(user=one) for one in people],
                channel=cast("pb.Channel.ValueType", int(asked.channel)),
                topic=asked.topic,
                campaign=asked.campaign,
            )
        )
        row = UNARY_METHODS["CheckSuppression"]
        service = cast("Service", self.table)
        data = row.answer(service, OPEN, message.SerializeToString(), lambda: None)
        assert isinstance(data, bytes)
        decision = preference.CheckSuppressionResponse.FromString(data).decision
        return _told(
            {"undeclared_topic": False, "subjects_with_records": []}
            | MessageToDict(decision, preserving_proto_field_name=True)
        )


def _told(said: Any, name: str = "") -> Any:
    """What protobuf's own JSON says, in REST's words."""
    match said:
        case dict():
            if name == "periods":
                return _period(said)
            members = {one: _told(value, one) for one, value in said.items()}
            if name == "hold":
                members = {"revision": 0, "reason": "", **members}
            if name == "record":
                members = {"subject_index": 0, "active": False, **members}
            if name == "scope":
                members = {"channel": "unknown", "topic": "", **members}
            return members
        case list():
            return [_told(one, name) for one in said]
        case str() if name == "revision":
            return int(said)
        case int() if name in PREFIXES:  # of a later version
            return "unknown"
        case str() if name in PREFIXES:
            return said.removeprefix(PREFIXES[name] + "_").lower()
        case _:
            return said


def _period(said: Any) -> Any:
    told: dict[str, Any] = {
        name: f"{said.get(f'{name}_minute', 0) // 60:02}:{said.get(f'{name}_minute', 0) % 60:02}"
        for name in ("start", "end")
    }
    days = [day.removeprefix("DAY_OF_WEEK_").lower() for day in said.get("days", [])]
    return {**told, "days": days} if days else told


async def test_every_case_of_the_table_is_answered_alike() -> None:
    asked = Asked()
    for case in load():
        body = await asked.alike(case.scenario)

        assert body["verdict"] == word_of(case.expected.verdict), case.name
        assert body["reasons"][0]["rule"] == word_of(case.expected.rule), case.name


@pytest.mark.slow
async def test_drawn_cases_are_answered_alike() -> None:
    asked = Asked()
    for seed in range(DRAWN):
        drawn = scenarios.scenario(scenarios.seeded(seed))
        scenario = replace(drawn, now=Instant(max(drawn.now, 1)))

        body = await asked.alike(scenario)

        assert body["verdict"] == word_of(verdict(scenario)), scenario

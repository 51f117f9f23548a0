"""The table of calls, and the retries made from it."""

import json

import grpc
import pytest

from heed.connection import options
from heed.connection.methods import FOLLOWING, METHODS
from heed.connection.spec import Kind
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import watch_service_pb2 as watch

CONFIG = json.loads(options.service_config())


def retried() -> dict[str, dict[str, object]]:
    return {
        name["method"]: method["retryPolicy"]
        for method in CONFIG["methodConfig"]
        for name in method["name"]
    }


def test_the_table_is_the_contract() -> None:
    """Every RPC of every service, with its messages, and none besides."""
    of_contract = {
        (f"/{service.full_name}/{method.name}", method.input_type.name, method.output_type.name)
        for file in (preference, admin, audit, watch)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }

    of_table = {
        (spec.path, spec.request.DESCRIPTOR.name, spec.answer.DESCRIPTOR.name)
        for spec in (*METHODS, *FOLLOWING)
    }
    assert of_table == of_contract


def test_what_asks_whether_to_send_is_a_decision_and_what_has_a_key_is_a_write() -> None:
    for spec in METHODS:
        has_key = "idempotency_key" in spec.request.DESCRIPTOR.fields_by_name
        assert has_key <= (spec.kind is Kind.WRITE), spec.name
    decisions = {spec.name for spec in METHODS if spec.kind is Kind.DECISION}
    assert decisions == {
        "CheckSuppression",
        "BatchCheckSuppression",
        "StreamCheckSuppression",
        "Explain",
    }


def test_a_write_without_a_key_is_never_sent_twice() -> None:
    for spec in METHODS:
        has_key = "idempotency_key" in spec.request.DESCRIPTOR.fields_by_name
        if spec.kind is Kind.WRITE and not has_key:
            assert spec.name not in retried()


def test_only_what_was_not_taken_is_retried_and_at_most_twice() -> None:
    for policy in retried().values():
        assert policy["retryableStatusCodes"] == ["UNAVAILABLE", "CANCELLED"]
        assert policy["maxAttempts"] == 3


def test_every_retried_call_is_in_the_service_config_once() -> None:
    names = [name["method"] for method in CONFIG["methodConfig"] for name in method["name"]]

    assert sorted(names) == sorted(spec.name for spec in METHODS if spec.is_retried)


def test_retries_stop_when_a_tenth_of_the_calls_fail_and_calls_are_spread() -> None:
    assert CONFIG["retryThrottling"] == {"maxTokens": 50, "tokenRatio": 0.1}
    assert CONFIG["loadBalancingConfig"] == [{"round_robin": {}}]


@pytest.mark.parametrize(("name", "seconds"), [("CheckSuppression", 0.05), ("SetPreference", 2.0)])
def test_a_call_has_its_deadline(name: str, seconds: float) -> None:
    (spec,) = (spec for spec in METHODS if spec.name == name)

    assert spec.timeout_seconds == seconds


def test_pings_are_well_above_the_least_that_a_server_takes() -> None:
    assert options.KEEPALIVE_MILLISECONDS >= 20_000


def test_grpc_takes_the_service_config() -> None:
    """It ignores a bad one in silence on some versions and fails every call on others."""
    policies = retried()

    assert policies
    channel = grpc.insecure_channel(
        "localhost:1", [("grpc.service_config", options.service_config())]
    )
    channel.close()

"""`heed call`: any method of the contract, by its name, in JSON."""

import json
from collections.abc import Generator

import pytest

from tests.support.heed_command import Heed, heed_command

ADA = "ada@example.com"


@pytest.fixture
def heed(monkeypatch: pytest.MonkeyPatch) -> Generator[Heed]:
    with heed_command(monkeypatch) as command:
        yield command


def test_any_method_can_be_called_by_its_name_in_json(heed: Heed) -> None:
    request = {"query": {"subjects": [{"email": ADA}], "channel": "CHANNEL_EMAIL"}}

    whole = heed("call", "heed.v1.PreferenceService/CheckSuppression", json.dumps(request))
    short = heed("call", "CheckSuppression", "-", given=json.dumps(request))

    assert json.loads(whole.stdout)["decision"]["verdict"] == "VERDICT_ALLOWED"
    assert json.loads(short.stdout)["decision"]["verdict"] == "VERDICT_ALLOWED"


def test_a_call_that_streams_prints_each_message(heed: Heed) -> None:
    heed("set", "opt-out", "--email", ADA)

    lines = heed("call", "ExportRecords", "--json").stdout.splitlines()

    assert len(lines) == 2
    assert json.loads(lines[1])["total"] == "1"


def test_every_method_is_listed(heed: Heed) -> None:
    listed = heed("call", "--list").stdout
    lines = [json.loads(line) for line in heed("call", "--list", "--json").stdout.splitlines()]

    assert "heed.v1.PreferenceService\n" in listed
    assert "ExportRecords(ExportRecordsRequest) -> stream ExportRecordsResponse" in listed
    assert {"heed.v1.AuditService/Explain", "heed.v1.AdminService/LiftHold"} <= {
        line["method"] for line in lines
    }


def test_a_template_of_a_request_can_be_filled_in(heed: Heed) -> None:
    template = json.loads(heed("call", "ListTopics", "--template").stdout)

    assert template == {"tenant": "", "pageSize": 0, "pageToken": ""}


def test_a_template_goes_into_the_messages_of_a_request(heed: Heed) -> None:
    template = json.loads(heed("call", "CheckSuppression", "--template").stdout)

    assert template["query"]["subjects"] == [{"email": ""}]
    assert template["query"]["channel"] == "CHANNEL_UNSPECIFIED"
    template["query"] |= {"subjects": [{"email": ADA}], "channel": "CHANNEL_EMAIL"}
    assert heed("call", "CheckSuppression", json.dumps(template)).exit_code == 0


@pytest.mark.parametrize(
    ("request_", "says"),
    [("{", "no JSON"), ("[]", "no JSON object"), ('{"nope": 1}', "nope"), ("{} {}", "takes one")],
)
def test_a_call_with_a_bad_request_exits_with_2(heed: Heed, request_: str, says: str) -> None:
    result = heed("call", "ListTopics", request_)

    assert result.exit_code == 2
    assert says in result.stderr


def test_a_call_that_is_refused_is_told_by_its_reason(heed: Heed) -> None:
    result = heed("call", "ListTopics", '{"tenant": "other"}')

    assert result.exit_code == 4
    assert "TENANT_UNKNOWN" in result.stderr

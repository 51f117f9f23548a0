"""Bounds that a pattern holds are those that `heed.wire.limits` names."""

from collections.abc import Callable

import pytest

from heed.errors import InvalidArgumentError
from heed.keys import DOMAIN_LABEL_CHARACTERS_MAX, normalise
from heed.model import Subject, SubjectType
from heed.topics import validate_topic
from heed.wire import limits, parse, parse_admin
from heed_proto.v1 import admin_service_pb2 as admin
from tests.support import requests as ask


def read_label(length: int) -> None:
    validate_topic("weekly." + "x" * length)


def read_tenant(length: int) -> None:
    asked = admin.CreateTenantRequest(name="x" * length)
    parse_admin.create_tenant(asked.SerializeToString())


def read_jurisdiction(length: int) -> None:
    asked = ask.set_preference()
    asked.origin.jurisdiction = "DE-BW0000000000"[:length]
    parse.set_preference(asked.SerializeToString())


def read_domain_label(length: int) -> None:
    normalise(Subject(type=SubjectType.EMAIL, value=f"ada@{'x' * length}.example"))


@pytest.mark.parametrize(
    ("read", "most"),
    [
        (read_label, limits.TOPIC_LABEL_CHARACTERS_MAX),
        (read_tenant, limits.TENANT_CHARACTERS_MAX),
        (read_jurisdiction, limits.JURISDICTION_CHARACTERS_MAX),
        (read_domain_label, DOMAIN_LABEL_CHARACTERS_MAX),
    ],
)
def test_a_name_may_be_as_long_as_its_bound_and_no_longer(
    read: Callable[[int], object], most: int
) -> None:
    read(most)

    with pytest.raises(InvalidArgumentError):
        read(most + 1)

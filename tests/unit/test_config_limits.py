"""Every limit that a part of heed declares is a setting, and has the same default."""

from dataclasses import fields
from typing import Any

import pytest
from pydantic import BaseModel

from heed_server.audit import AuditLimits
from heed_server.config import (
    AuditConfig,
    CapsConfig,
    IndexConfig,
    LimitsConfig,
    OutboxConfig,
    RatesConfig,
    StalenessConfig,
    StorageConfig,
    WatchConfig,
    WebhooksConfig,
)
from heed_server.follow import FollowLimits
from heed_server.outbox import OutboxLimits
from heed_server.primary.limits import limits_of
from heed_server.rates import RateLimits
from heed_server.rpc import CheckStreamLimits, RpcLimits
from heed_server.service import MaxStaleness
from heed_server.service.admission import CallLimits
from heed_server.service.caps import CapLimits
from heed_server.storage import StorageLimits
from heed_server.watch import WatchLimits
from heed_server.webhooks import WebhookLimits

OF_THE_CONTRACT = {"message_bytes_max"}
"""What callers rely on: the same for every server."""


@pytest.mark.parametrize(
    ("kind", "section"),
    [
        (CallLimits, LimitsConfig()),
        (CapLimits, CapsConfig()),
        (CheckStreamLimits, LimitsConfig()),
        (FollowLimits, IndexConfig()),
        (OutboxLimits, OutboxConfig()),
        (RateLimits, RatesConfig()),
        (AuditLimits, AuditConfig()),
        (RpcLimits, LimitsConfig()),
        (StorageLimits, StorageConfig()),
        (WatchLimits, WatchConfig()),
        (WebhookLimits, WebhooksConfig()),
    ],
)
def test_every_limit_is_a_setting_with_the_same_default(
    kind: type[Any], section: BaseModel
) -> None:
    names = {field.name for field in fields(kind)} - OF_THE_CONTRACT

    assert names <= set(type(section).model_fields)
    assert limits_of(kind, section) == kind()


def test_a_limit_that_is_set_is_the_limit_in_force() -> None:
    limits = limits_of(StorageLimits, StorageConfig(writes_queued_max=7))

    assert limits == StorageLimits(writes_queued_max=7)


def test_staleness_has_the_same_default_wherever_it_stands() -> None:
    config, bounds = StalenessConfig(), MaxStaleness()

    assert (
        config.promotional_seconds,
        config.transactional_seconds,
        config.mandatory_seconds,
    ) == (bounds.promotional, bounds.transactional, bounds.mandatory)

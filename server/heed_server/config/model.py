"""Every setting, in sections by concern.

Laws:
- A value is checked here, once; past this package nothing parses a setting.
- Durations are seconds, sizes bytes, and the unit ends the name.
- docs/settings.md is made from this model (`heed_server.config.page`), and a test compares them.
"""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from heed_server.config.agent import AgentConfig
from heed_server.config.audit import AuditConfig
from heed_server.config.dashboard import DashboardConfig
from heed_server.config.deadlines import DeadlinesConfig
from heed_server.config.decisions import DecisionLogConfig
from heed_server.config.edge import (
    AuthConfig,
    CapsConfig,
    DrainConfig,
    LimitsConfig,
    ListenConfig,
    RatesConfig,
    TelemetryConfig,
    TlsConfig,
    WatchConfig,
)
from heed_server.config.inbound import InboundConfig
from heed_server.config.kept import IndexConfig, KeysConfig, StalenessConfig, StorageConfig
from heed_server.config.outbox import OutboxConfig
from heed_server.config.pages import PagesConfig
from heed_server.config.rest import RestConfig
from heed_server.config.section import Section
from heed_server.config.web import WebConfig
from heed_server.config.webhooks import WebhooksConfig


class Config(Section):
    """Every setting of heed-server, by section."""

    listen: ListenConfig = ListenConfig()
    tls: TlsConfig = TlsConfig()
    auth: AuthConfig = AuthConfig()
    storage: StorageConfig = StorageConfig()
    keys: KeysConfig = KeysConfig()
    index: IndexConfig = IndexConfig()
    limits: LimitsConfig = LimitsConfig()
    rates: RatesConfig = RatesConfig()
    caps: CapsConfig = CapsConfig()
    watch: WatchConfig = WatchConfig()
    web: WebConfig = WebConfig()
    pages: PagesConfig = PagesConfig()
    rest: RestConfig = RestConfig()
    inbound: InboundConfig = InboundConfig()
    dashboard: DashboardConfig = DashboardConfig()
    outbox: OutboxConfig = OutboxConfig()
    webhooks: WebhooksConfig = WebhooksConfig()
    audit: AuditConfig = AuditConfig()
    deadlines: DeadlinesConfig = DeadlinesConfig()
    staleness: StalenessConfig = StalenessConfig()
    drain: DrainConfig = DrainConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    decision_log: DecisionLogConfig = DecisionLogConfig()
    agent: AgentConfig = AgentConfig()


@functools.cache
def settings() -> Mapping[str, FieldInfo]:
    """Return the declaration of every setting by name: `storage.url`."""
    found: dict[str, FieldInfo] = {}
    for section, declared in Config.model_fields.items():
        fields = cast("type[Section]", declared.annotation).model_fields
        found |= {f"{section}.{field}": declaration for field, declaration in fields.items()}
    return MappingProxyType(found)


def is_secret(name: str) -> bool:
    """Whether a setting may carry a secret, which is masked wherever it is shown."""
    return settings()[name].annotation is SecretStr

"""What an operator can set, and where each value came from."""

from heed_server.config.audit import AuditConfig
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
from heed_server.config.model import Config
from heed_server.config.outbox import OutboxConfig
from heed_server.config.sources import DEFAULT_FILE, Effective, load
from heed_server.config.web import WebConfig
from heed_server.config.webhooks import WebhooksConfig

__all__ = [
    "DEFAULT_FILE",
    "AuditConfig",
    "AuthConfig",
    "CapsConfig",
    "Config",
    "DecisionLogConfig",
    "DrainConfig",
    "Effective",
    "InboundConfig",
    "IndexConfig",
    "KeysConfig",
    "LimitsConfig",
    "ListenConfig",
    "OutboxConfig",
    "RatesConfig",
    "StalenessConfig",
    "StorageConfig",
    "TelemetryConfig",
    "TlsConfig",
    "WatchConfig",
    "WebConfig",
    "WebhooksConfig",
    "load",
]

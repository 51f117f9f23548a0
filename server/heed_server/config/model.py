"""Every setting, in sections by concern: its unit, its default, what more or less of it costs.

Laws:
- A value is checked here, once; past this module nothing parses a setting.
- Durations are seconds, sizes bytes, and the unit ends the name.
- docs/settings.md is made from this module (`heed_server.config.page`), and a test compares them.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from heed_server.config.addresses import parse_address


def setting(
    default: object,
    meaning: str,
    *,
    higher: str = "",
    lower: str = "",
    ge: float | None = None,
    le: float | None = None,
) -> Any:
    """Declare one setting: what it means, and what going higher or lower costs."""
    costs: JsonDict = {"higher": higher, "lower": lower}
    return Field(default=default, description=meaning, ge=ge, le=le, json_schema_extra=costs)


class Section(BaseModel):
    """Settings of one concern."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _split(value: object) -> object:
    """Lists may be written with commas, where a source has no lists."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _require_addresses(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("names no address; write 127.0.0.1:50051")
    for text in value:
        parse_address(text)
    return value


def _require_port(value: str) -> str:
    if value and parse_address(value).path:
        raise ValueError(f"{value!r} is a unix socket; write 127.0.0.1:9464")
    return value


Addresses = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_require_addresses)]
HostPort = Annotated[str, AfterValidator(_require_port)]
AutoBool = bool | Literal["auto"]


class ListenConfig(Section):
    """Where the server listens."""

    address: Addresses = setting(
        ("127.0.0.1:50051",),
        "`host:port`, `[::1]:port` or `unix:path`, several with commas. On any address but "
        "loopback and unix sockets the server needs TLS and API keys.",
    )
    insecure: bool = setting(
        False,
        "Listen beyond loopback although TLS or API keys are missing; logged as a warning. For "
        "private networks whose every host may opt people in.",
    )
    reflection: bool = setting(
        True, "Describe the contract to any caller (grpc.reflection), so that tools need no protos."
    )


class TlsConfig(Section):
    """The certificate that the server shows. Both files, or neither."""

    certificate_file: Path | None = setting(
        None,
        "PEM: the server's certificate and those that lead to its root. Changed files are taken "
        "up by the next handshake.",
    )
    private_key_file: Path | None = setting(
        None, "PEM: its private key, readable by the server alone."
    )

    @model_validator(mode="after")
    def _require_both(self) -> Self:
        if (self.certificate_file is None) != (self.private_key_file is None):
            raise ValueError("certificate_file and private_key_file go together; name both")
        return self


class AuthConfig(Section):
    """Who may call."""

    required: AutoBool = setting(
        "auto",
        "Whether every call needs an API key. `auto`: beyond loopback (unless `listen.insecure`), "
        "and anywhere once a key was made; decided at the start.",
    )
    keys_kept_seconds: float = setting(
        900.0,
        "How long the keys last read stay good while the database is away.",
        higher="a key revoked meanwhile reads on this node for longer",
        lower="losing the database takes Checks down sooner",
        ge=5,
        le=86_400,
    )


class StorageConfig(Section):
    """Where the log is kept."""

    url: SecretStr = setting(
        SecretStr(""),
        "`postgresql+asyncpg://user:password@host/name`, or `sqlite+aiosqlite:///path`. Empty: "
        "SQLite in `storage.data_dir`.",
    )
    data_dir: Path = setting(
        Path("heed-data"),
        "The folder of the SQLite database and of the index; made, with mode 0700, if missing.",
    )
    migrate: AutoBool = setting(
        "auto",
        "Whether `serve` brings the schema up to date. `auto`: on SQLite, which one server owns. "
        "On PostgreSQL run `heed-server migrate` once before the servers.",
    )


class IndexConfig(Section):
    """The LMDB index that Checks read."""

    directory: Path | None = setting(
        None, "The folder of the index. Unset: `index` in `storage.data_dir`. On a local disk."
    )


class LimitsConfig(Section):
    """What one server takes on at a time."""

    message_bytes_max: int = setting(
        4 << 20,
        "The largest request.",
        higher="a caller may occupy more memory",
        lower="large batches are refused; one of 10,000 checks takes about 1 MB",
        ge=1 << 20,
        le=64 << 20,
    )


class StalenessConfig(Section):
    """For how long "allowed" is answered while the log cannot be read."""

    promotional_seconds: float = setting(
        5.0,
        "The oldest knowledge by which a promotional message is allowed.",
        higher="an opt-out made elsewhere may be missed for longer while the database is away",
        lower="short outages of the database already refuse Checks",
        ge=1,
        le=3600,
    )
    transactional_seconds: float = setting(
        60.0,
        "The same for transactional messages.",
        higher="as above",
        lower="as above",
        ge=1,
        le=86_400,
    )
    mandatory_seconds: float = setting(
        900.0,
        "The same for mandatory messages.",
        higher="as above",
        lower="as above",
        ge=1,
        le=86_400,
    )


class DrainConfig(Section):
    """How the server stops. Together shorter than the time after which it is killed."""

    announce_seconds: float = setting(
        1.0,
        "How long the server still serves after its health says NOT_SERVING.",
        higher="stopping takes longer",
        lower="callers notice only when their connection ends; best the interval of the probe",
        ge=0,
        le=120,
    )
    grace_seconds: float = setting(
        6.0,
        "How long calls under way may take to end, before they are cancelled. A commit under way "
        "is always finished.",
        higher="stopping takes longer",
        lower="slow calls end UNAVAILABLE",
        ge=0,
        le=600,
    )


class TelemetryConfig(Section):
    """What the server says about itself. Never an address."""

    log_format: Literal["auto", "console", "json"] = setting(
        "auto", "How log lines look. `auto`: for people on a terminal, JSON elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "The least severe line that is written."
    )
    log_calls: bool = setting(
        False,
        "Write one line a call, but for Checks: method, code, duration. Never its content.",
    )
    metrics_address: HostPort = setting(
        "127.0.0.1:9464",
        "`host:port` of /metrics for Prometheus, over HTTP. Empty: none. It tells tenants' names "
        "and counts to whoever reaches it, and no more.",
    )
    check_metrics: bool = setting(
        False,
        "Count and time Checks too.",
        higher="on: each Check takes a few microseconds longer",
    )
    otlp: AutoBool = setting(
        "auto",
        "Send traces and metrics by OTLP, as the standard OTEL_* variables say. `auto`: when one "
        "of OTEL_EXPORTER_OTLP_ENDPOINT, …_TRACES_ENDPOINT and …_METRICS_ENDPOINT is set.",
    )


class Config(Section):
    """Every setting of heed-server, by section."""

    listen: ListenConfig = ListenConfig()
    tls: TlsConfig = TlsConfig()
    auth: AuthConfig = AuthConfig()
    storage: StorageConfig = StorageConfig()
    index: IndexConfig = IndexConfig()
    limits: LimitsConfig = LimitsConfig()
    staleness: StalenessConfig = StalenessConfig()
    drain: DrainConfig = DrainConfig()
    telemetry: TelemetryConfig = TelemetryConfig()


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

"""What the server says about itself: logs, metrics and traces, none of which holds an address.

`otlp` and `tracing` bring OpenTelemetry; import them only when `otlp_is_asked_for`.
"""

from collections.abc import Mapping
from typing import Literal

_ENDPOINT_VARIABLES = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)


def otlp_is_asked_for(otlp: bool | Literal["auto"], variables: Mapping[str, str]) -> bool:  # noqa: FBT001 - the setting's own value
    """Whether traces and metrics shall be sent: by the setting, or by the standard variables."""
    if variables.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if otlp == "auto":
        return any(variables.get(name) for name in _ENDPOINT_VARIABLES)
    return otlp

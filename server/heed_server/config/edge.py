"""The settings of the edge: where to listen, who may call, how much at a time, how to stop."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from heed_server.config.section import Addresses, AnyAddresses, AutoBool, HostPort, Section, setting


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
    workers: int = setting(
        1,
        "Processes that answer Checks, on the same addresses; a further one owns the database and "
        "its index and takes all other calls from them. 1: one process does everything.",
        higher="some 70 MiB each; no more than there are cores",
        lower="Checks have fewer cores; with 1, other calls are some 0.6 ms quicker",
        ge=1,
        le=64,
    )
    event_loop: Literal["auto", "uvloop", "asyncio"] = setting(
        "auto", "What runs the server. `auto`: uvloop where it is installed, which is quicker."
    )


class TlsConfig(Section):
    """The certificate that the server shows (both files, or neither), and whose it takes."""

    certificate_file: Path | None = setting(
        None,
        "PEM: the server's certificate and those that lead to its root. Changed files are taken "
        "up by the next handshake.",
    )
    private_key_file: Path | None = setting(
        None, "PEM: its private key, readable by the server alone."
    )

    client_ca_file: Path | None = setting(
        None,
        "PEM: the authorities of callers' certificates. Set, every caller must show one, wherever "
        "`client_addresses` says. What a certificate may do say the grants.",
    )
    client_addresses: AnyAddresses = setting(
        (),
        "Those of `listen.address`, and `rest.address`, where a caller must show a certificate. "
        "Empty: all but unix sockets, and REST behind a proxy.",
    )

    @model_validator(mode="after")
    def _require_both(self) -> Self:
        if (self.certificate_file is None) != (self.private_key_file is None):
            raise ValueError("certificate_file and private_key_file go together; name both")
        if self.client_ca_file is not None and self.certificate_file is None:
            raise ValueError("client_ca_file needs certificate_file and private_key_file")
        if self.client_addresses and self.client_ca_file is None:
            raise ValueError("client_addresses needs client_ca_file")
        return self


class AuthConfig(Section):
    """Who may call."""

    required: AutoBool = setting(
        "auto",
        "Whether every call needs a credential. `auto`: beyond loopback (unless "
        "`listen.insecure`), where there is a `grants_file`, and anywhere from the first API key "
        "that is made.",
    )
    keys_kept_seconds: float = setting(
        900.0,
        "How long the keys last read stay good while the database is away.",
        higher="a key revoked meanwhile reads on this node for longer",
        lower="losing the database takes Checks down sooner",
        ge=5,
        le=86_400,
    )
    grants_file: Path | None = setting(
        None,
        "TOML: what certificates and JWTs may do, and which issuers' JWTs are taken. Looked at "
        "every 2 s. Unset: neither is a credential.",
    )
    grants_kept_seconds: float = setting(
        900.0,
        "How long the grants last read stay good while their file is away or wrong.",
        higher="what was taken out of a file that is wrong goes on for longer",
        lower="a mistake in the file takes Checks down sooner",
        ge=5,
        le=86_400,
    )
    jwt_leeway_seconds: float = setting(
        30.0,
        "How far an issuer's clock may be off: a JWT is taken for so long before and after.",
        higher="a JWT outlives its end for longer",
        lower="one from a clock that is off is refused",
        ge=0,
        le=300,
    )
    jwks_refresh_seconds: float = setting(
        300.0,
        "How often an issuer's URL is asked for its keys, and how often at most once more because "
        "a JWT names one that is not known.",
        higher="a key that was taken away is good for longer, and a new one is refused for longer",
        lower="the issuer is asked more often",
        ge=10,
        le=86_400,
    )
    jwks_kept_seconds: float = setting(
        3_600.0,
        "How long an issuer's keys stay good while they cannot be read.",
        higher="a key that was taken away meanwhile is good for longer",
        lower="losing the issuer takes Checks down sooner",
        ge=10,
        le=604_800,
    )
    jwks_seconds_max: float = setting(
        5.0,
        "How long an issuer's URL may take to answer.",
        higher="one that hangs is noticed later",
        lower="a slow one counts as away",
        ge=0.1,
        le=20,
    )


class LimitsConfig(Section):
    """What one server takes on at a time. What one call may hold is in docs/limits.md."""

    metadata_bytes_max: int = setting(
        8 * 1024,
        "Metadata of a call, softly: above it calls are refused more and more, at twice it all.",
        higher="a caller may occupy more memory",
        lower="callers with much tracing metadata are refused",
        ge=1024,
        le=1 << 20,
    )
    calls_max: int = setting(
        8_192,
        "Calls under way in the process; one more is RESOURCE_EXHAUSTED.",
        higher="more memory, and longer queues under load",
        lower="bursts are refused sooner",
        ge=1,
        le=1_000_000,
    )
    calls_pending_max: int = setting(
        3_000,
        "Calls that have arrived and wait for the process's loop; one more is refused, and from "
        "half of it on some are.",
        higher="a flood of large headers fills more memory",
        lower="bursts are refused that a busy loop would have got to",
        ge=10,
        le=1_000_000,
    )
    calls_of_principal_max: int = setting(
        4_096,
        "The same of one principal, but for single opt-outs. Of all principals together an eighth "
        "of `calls_max` is left for single opt-outs.",
        higher="one may take nearly all",
        lower="a busy caller is refused with OVERLOADED",
        ge=1,
        le=1_000_000,
    )
    calls_of_connection_max: int = setting(
        1_024,
        "Calls under way on one connection; the caller's library holds back the others.",
        higher="one connection may take all",
        lower="busy callers need more connections",
        ge=1,
        le=1_000_000,
    )
    connections_max: int = setting(
        4_000,
        "Connections; one more is closed.",
        higher="more memory and file descriptors",
        lower="callers beyond it cannot connect",
        ge=1,
        le=1_000_000,
    )
    streams_max: int = setting(
        2,
        "Exports under way. Each holds a view of the database open.",
        higher="a rebuild of the index may have to wait",
        lower="exports are refused",
        ge=1,
        le=1_000,
    )
    write_seconds_max: float = setting(
        60.0,
        "How long an export waits for its reader before it is cut off.",
        higher="a stuck reader holds a view of the database for longer",
        lower="slow readers are cut off",
        ge=1,
        le=3600,
    )
    check_streams_max: int = setting(
        2_000,
        "Streams of checks of the process; one more is LIMIT_REACHED.",
        higher="more memory",
        lower="callers are refused, and check by single calls",
        ge=0,
        le=1_000_000,
    )
    check_streams_of_principal_max: int = setting(
        1_000,
        "The same of one principal.",
        higher="one may take all",
        lower="its callers are refused",
        ge=0,
        le=1_000_000,
    )
    check_stream_seconds_max: float = setting(
        25.0,
        "How long a stream of checks lives, or down to half of it, idle or busy.",
        higher="an idle one outlives its key by so long; above 25 one may be cut off",
        lower="streams are opened more often",
        ge=1,
        le=55,
    )


class RatesConfig(Section):
    """What one principal may ask of one process in a second; 0: as much as it likes."""

    checks_per_second_max: float = setting(
        0,
        "Messages asked about; a batch of 10,000 costs 10,000. Not at an agent, nor in a cache.",
        higher="one may take all the time of a process",
        lower="a busy sender is refused, and must not send",
        ge=0,
        le=1e9,
    )
    writes_per_second_max: float = setting(
        1_000,
        "Writes about one person that are not stops alone, and those of operators. A single "
        "opt-out is never refused for its rate.",
        higher="others wait behind",
        lower="bursts of opt-ins are refused",
        ge=0,
        le=1e9,
    )
    records_per_second_max: float = setting(
        0,
        "Records of writes about several people: batches, lists of suppressions, imports.",
        higher="imports take the disk from others",
        lower="imports are slower",
        ge=0,
        le=1e9,
    )
    reads_per_second_max: float = setting(
        1_000,
        "Reads of the database, and exports begun.",
        higher="others who read wait",
        lower="a busy preference page is refused",
        ge=0,
        le=1e9,
    )
    streams_per_second_max: float = setting(
        200,
        "Streams of changes and of checks that are opened.",
        higher="a storm of them delays Checks",
        lower="a fleet that starts at once needs longer to follow",
        ge=0,
        le=1e9,
    )
    burst_seconds: float = setting(
        10.0,
        "For how many seconds' worth a principal that was silent may ask at once.",
        higher="larger bursts pass",
        lower="a fleet that starts together is refused sooner",
        ge=0.1,
        le=3600,
    )


class CapsConfig(Section):
    """What one principal may do in a tenant in an hour without a second person; 0: no cap."""

    bulk_people_per_hour_max: int = setting(
        1_000,
        "People stopped by calls for several: opt-outs, pauses, suppressions, imports; or "
        "`bulk_percent_per_hour_max`, if that is more. 0: no cap on them.",
        higher="a stolen key silences more people",
        lower="ordinary feeds of bounces wait for a second person",
        ge=0,
        le=1_000_000_000,
    )
    bulk_percent_per_hour_max: float = setting(
        1.0,
        "The same as a share of the tenant's subjects, in percent.",
        higher="as above",
        lower="as above",
        ge=0,
        le=100,
    )
    consents_per_hour_max: int = setting(
        100,
        "People opted in.",
        higher="a stolen key reactivates more people",
        lower="a busy sign-up page waits for a second person",
        ge=0,
        le=1_000_000_000,
    )
    releases_per_hour_max: int = setting(
        100,
        "People released from suppressions, one by one or in bulk. On a server that asks for no "
        "credentials nobody can approve more.",
        higher="a stolen key has more people written to who bounced or were suppressed by hand",
        lower="a support desk waits for a second person",
        ge=0,
        le=1_000_000_000,
    )


class WatchConfig(Section):
    """The streams by which caches and other systems follow the log."""

    streams_max: int = setting(
        4_000,
        "Streams of the process; one more is LIMIT_REACHED.",
        higher="more memory, some 50 KiB each; a batch takes longer to hand out",
        lower="subscribers are refused",
        ge=0,
        le=1_000_000,
    )
    streams_of_principal_max: int = setting(
        2_000,
        "The same of one principal.",
        higher="one may take all",
        lower="its subscribers are refused",
        ge=0,
        le=1_000_000,
    )
    heartbeat_seconds: float = setting(
        1.0,
        "How long a stream stays silent at most, give or take a tenth.",
        higher="a dead stream is noticed later",
        lower="more messages that say nothing",
        ge=0.05,
        le=60,
    )
    coalesce_seconds_max: float = setting(
        0.02,
        "What passes between two batches at most, under load: a fifth of a millisecond a stream.",
        higher="changes come later",
        lower="many streams take time from writes",
        ge=0,
        le=1,
    )
    window_bytes_max: int = setting(
        8 << 20,
        "The last changes of a tenant that are kept in memory for streams a little behind.",
        higher="more memory",
        lower="they read the log sooner",
        ge=1 << 16,
        le=1 << 32,
    )
    replay_changes_max: int = setting(
        1_000_000,
        "A stream that would begin further behind is sent a snapshot.",
        higher="long replays where a snapshot is quicker",
        lower="snapshots where a replay is quicker",
        ge=0,
        le=1_000_000_000,
    )
    snapshots_max: int = setting(
        4,
        "Snapshots that are being delivered at a time; further ones wait.",
        higher="each is slower",
        lower="others wait longer",
        ge=1,
        le=1_000,
    )
    snapshots_queued_max: int = setting(
        4_000,
        "Streams that wait for a snapshot; one more is OVERLOADED.",
        higher="more streams that know nothing yet",
        lower="new subscribers are refused sooner",
        ge=0,
        le=1_000_000,
    )
    snapshot_kept_seconds: float = setting(
        30.0,
        "How long the file of a snapshot is kept for the next who ask. In the index's folder.",
        higher="space on the disk, some 60 bytes a record, and a longer replay after it",
        lower="it is made more often",
        ge=0,
        le=3600,
    )
    write_seconds_max: float = setting(
        60.0,
        "How long a stream waits for its reader before it is cut off.",
        higher="a stuck reader holds its place for longer",
        lower="slow readers are cut off",
        ge=1,
        le=3600,
    )
    stream_seconds_max: float = setting(
        1_200.0,
        "How long a stream lives, or down to half of it; its reader opens another one then.",
        higher="the load of several nodes evens out later",
        lower="streams are opened more often",
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

"""`heed-server doctor`: whether a server can run here with these settings, or runs well already.

It only looks: nothing is made, migrated or repaired. What it finds is a list of findings, each good
or not; any that is not makes the command fail. `heed doctor` looks at a server from without.
"""

import asyncio
import math
import shutil
import socket
import ssl
import stat
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificate, load_pem_x509_certificates

from heed.cli.output import print_json
from heed.errors import HeedError, InvalidArgumentError
from heed.index import Fault, IndexUnusableError
from heed.index.seal import read_seal
from heed.model import Instant
from heed_server.auth.certificates import server_credentials
from heed_server.auth.key_socket import is_served, socket_path
from heed_server.cli.health import status_of
from heed_server.config import Config
from heed_server.config.addresses import Address, parse_address
from heed_server.config.exposure import asks_for_certificates, require_safe_listening
from heed_server.config.masking import masked_url
from heed_server.config.places import database_file, database_url, index_directory
from heed_server.follow.loss import LossMarker
from heed_server.outbox import OutboxLimits, connect, require_library
from heed_server.primary.identifying import open_identities
from heed_server.primary.inbound import sources_of
from heed_server.primary.limits import limits_of
from heed_server.primary.publishing import target_of
from heed_server.primary.webhooks import targets_of
from heed_server.storage import SqlStore, open_store
from heed_server.storage.errors import SchemaOlderError
from heed_server.telemetry.logs import configure_logs

CLOCK_OFF_SECONDS_MAX = 5.0
"""How far this host's clock may be off the database's: past it only stops are taken."""
FREE_SHARE_MIN = 0.1
"""How much of the disk should be free."""
PROBE_SECONDS = 2.0

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool
    found: str


def examine(config: Config, *, as_json: bool) -> bool:
    """Print every finding as it is made; whether all are good. What else is said is no finding."""
    configure_logs(log_format=config.telemetry.log_format, level="warning")
    return asyncio.run(_print_all(config, as_json=as_json))


async def _print_all(config: Config, *, as_json: bool) -> bool:
    is_well = True
    async for finding in findings(config):
        is_well = is_well and finding.good
        if as_json:
            print_json(finding)
        else:
            print(f"{'ok ' if finding.good else 'BAD'} {finding.what}: {finding.found}")
    return is_well


async def findings(config: Config) -> AsyncGenerator[Finding]:
    """Look at one thing after the other."""
    yield _listening(config)
    yield _certificate(config)
    yield await _grants(config)
    if config.inbound.address:
        yield _inbound(config)
    if config.web.address and config.pages.file is not None:
        yield _pages(config.pages.file)
    yield _folder(config.storage.data_dir)
    yield _disk(config.storage.data_dir)
    database = database_file(config)
    is_running = database is not None and await is_served(socket_path(database))
    if is_running:
        yield _finding("database", f"{database} is open in a server that runs")
    elif database is not None and not database.exists():
        yield _finding("database", f"{database} is not there yet; the first start makes it")
    else:
        async for finding in _database(config):
            yield finding
    for text in config.listen.address:
        yield _address("listen", parse_address(text), config, is_heed=True)
    if config.telemetry.metrics_address:
        metrics = parse_address(config.telemetry.metrics_address)
        yield _address("metrics", metrics, config, is_heed=is_running)
    if config.outbox.urls:
        yield await _outbox(config)
    if config.webhooks.targets_file is not None:
        async for finding in _webhooks(config):
            yield finding


def _listening(config: Config) -> Finding:
    try:
        require_safe_listening(config)
    except InvalidArgumentError as error:
        return _finding("exposure", error.message, good=False)
    return _finding("exposure", "only this host, or TLS and keys, or meant to be open")


def _certificate(config: Config) -> Finding:
    key = config.tls.private_key_file
    try:
        credentials = server_credentials(config.tls)
    except InvalidArgumentError as error:
        return _finding("certificate", error.message, good=False)
    if credentials is None or key is None:
        return _finding("certificate", "none is set")
    if key.stat().st_mode & _OTHERS:
        return _finding("certificate", f"others may read {key}; chmod 600 {key}", good=False)
    return _finding("certificate", f"{config.tls.certificate_file} and its key belong together")


async def _grants(config: Config) -> Finding:
    try:
        identities = await open_identities(
            config,
            now=_now,
            boot_seconds=time.monotonic,
        )
    except InvalidArgumentError as error:
        return _finding("grants", error.message, good=False)
    if identities is None:
        return _finding("grants", "none: certificates and JWTs are no credentials here")
    away = [name for name, age in identities.jwks_ages_seconds.items() if math.isinf(age)]
    if away:
        return _finding("grants", f"the keys of {', '.join(away)} cannot be had", good=False)
    return _finding("grants", f"{identities.grant_count} to certificates and JWTs")


def _pages(file: Path) -> Finding:
    from heed_server.web.public.looks import looks_of

    try:
        looks = looks_of(file)
    except InvalidArgumentError as error:
        return _finding("pages", error.message, good=False)
    return _finding("pages", f"looks of {', '.join(looks.tenants) or 'nobody'}")


def _inbound(config: Config) -> Finding:
    from heed_server.web.inbound.sns_certificates import SigningCertificates

    try:
        sources = sources_of(config, SigningCertificates(now=_now))
    except InvalidArgumentError as error:
        return _finding("inbound", error.message, good=False)
    exposed = [file for file in sources.secret_files if file.stat().st_mode & _OTHERS]
    if exposed:
        return _finding(
            "inbound", f"others may read {exposed[0]}; chmod 600 {exposed[0]}", good=False
        )
    return _finding("inbound", f"reports are taken of {', '.join(sources.names) or 'nobody'}")


def _folder(folder: Path) -> Finding:
    if not folder.exists():
        return _finding("data folder", f"{folder} is not there yet; the first start makes it")
    if folder.stat().st_mode & _OTHERS:
        return _finding("data folder", f"others may enter {folder}; chmod 700 {folder}", good=False)
    return _finding("data folder", f"{folder} is this user's alone")


def _disk(folder: Path) -> Finding:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    usage = shutil.disk_usage(place)
    found = f"{usage.free >> 20:,} MiB free of {usage.total >> 20:,}"
    return _finding("disk", found, good=usage.free >= usage.total * FREE_SHARE_MIN)


async def _database(config: Config) -> AsyncGenerator[Finding]:
    """What an open database tells: its schema, its clock, and the indexes of its tenants."""
    url = database_url(config)
    try:
        store = await open_store(url, migrates=False, root_file=config.keys.root_file)
    except HeedError as error:
        yield _schema_finding(config, error)
        return
    async with store:
        tenants = await store.tenants()
        named = ", ".join(tenant.name for tenant in tenants) or "none yet"
        shown = database_file(config) or masked_url(url)
        yield _finding("database", f"{shown}, its schema is the one needed; tenants: {named}")
        yield await _clock(store)
        for tenant in tenants:
            head = await store.head(tenant.tenant_id)
            directory = index_directory(config) / f"tenant-{tenant.tenant_id}"
            yield _index(tenant.name, directory, head.epoch)


def _schema_finding(config: Config, error: HeedError) -> Finding:
    """What keeps the database from being opened; not bad where the next start mends it."""
    migrates = config.storage.migrate
    is_mended = migrates is True or (migrates == "auto" and database_file(config) is not None)
    if isinstance(error, SchemaOlderError) and is_mended:
        return _finding("database", f"{error.message}, or start the server, which does it too")
    return _finding("database", error.message, good=False)


async def _clock(store: SqlStore) -> Finding:
    asked = time.time()
    told = (await store.ping()).timestamp()
    answered = time.time()
    off_seconds = max(asked - told, told - answered, 0.0)
    at = datetime.fromtimestamp(told, UTC).isoformat(timespec="seconds")
    found = f"this host's is {off_seconds:.1f} s off the database's, {at}"
    return _finding("clock", found, good=off_seconds <= CLOCK_OFF_SECONDS_MAX)


def _index(tenant: str, directory: Path, epoch: bytes) -> Finding:
    what = f"index of {tenant}"
    loss = LossMarker.beside(directory)
    if loss.stands_in(epoch):
        return _finding(what, loss.message(tenant), good=False)
    try:
        seal = read_seal(directory)
    except IndexUnusableError as error:
        is_expected = error.fault in {Fault.MISSING, Fault.UNCLEAN}
        return _finding(what, f"{error.message}; the next start makes it anew", good=is_expected)
    return _finding(what, f"sealed, {seal.data_bytes:,} bytes")


def _address(what: str, address: Address, config: Config, *, is_heed: bool) -> Finding:
    """Whether an address is free, or a heed server has it."""
    if _is_free(address):
        return _finding(what, f"{address} is free")
    if what == "listen" and asks_for_certificates(config, str(address)):
        return _finding(what, f"{address} is in use; whoever has it asks for a certificate")
    if what == "listen" and config.tls.certificate_file is not None and not address.path:
        is_ours = _shows(address, config.tls.certificate_file)
        found = "shows the certificate" if is_ours else "does not show the certificate"
        return _finding(what, f"{address} is in use; whoever has it {found}", good=is_ours)
    if what == "listen":
        status, why = status_of(str(address), "", PROBE_SECONDS, None, "")
        is_serving = status == "SERVING"
        found = "a heed server serves here" if is_serving else f"in use: {why or status}"
        return _finding(what, f"{address}: {found}", good=is_serving)
    found = "a server that runs has it" if is_heed else "is in use by something else"
    return _finding(what, f"{address} {found}", good=is_heed)


def _shows(address: Address, certificate: Path) -> bool:
    """Whether whoever listens there shows our certificate, whoever issued it to what name."""
    try:
        place = (address.host or "127.0.0.1", address.port)
        shown = ssl.get_server_certificate(place, timeout=PROBE_SECONDS)
        ours = load_pem_x509_certificates(certificate.read_bytes())[0]
    except (OSError, ValueError):
        return False
    return load_pem_x509_certificate(shown.encode()) == ours


async def _outbox(config: Config) -> Finding:
    """Whether NATS can be had."""
    shown = masked_url(config.outbox.nats_url.get_secret_value())
    try:
        require_library()
        async with connect(target_of(config), limits_of(OutboxLimits, config.outbox)):
            return _finding("outbox", f"NATS answers at {shown}")
    except HeedError as error:
        return _finding("outbox", f"{shown}: {error.message}", good=False)


async def _webhooks(config: Config) -> AsyncGenerator[Finding]:
    """Whether the targets can be read, and their hosts are such that webhooks may go there."""
    from heed_server.webhooks.resolving import Guard
    from heed_server.webhooks.trying import unreachable

    try:
        targets = targets_of(config)
    except InvalidArgumentError as error:
        yield _finding("webhooks", error.message, good=False)
        return
    if targets is None:
        return
    for target in targets.targets:
        why = await unreachable(target, Guard(targets.private_networks))
        found = why or "its host may be reached; `heed-server webhooks test` sends to it"
        yield _finding(f"webhooks to {target.name} of {target.tenant}", found, good=not why)


def _is_free(address: Address) -> bool:
    if address.path:
        return not Path(address.path).exists()
    family = socket.AF_INET6 if ":" in address.host or not address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError:
            return False
    return True


def _finding(what: str, found: str, *, good: bool = True) -> Finding:
    return Finding(what=what, good=good, found=found)


def _now() -> Instant:
    return Instant(time.time_ns() // 1_000)

"""Floods of HTTP/2 frames leave the server whole, and a legitimate caller is answered meanwhile.

What each attack is says `tests.support.http2_attacker`; docs/floods.md says what was measured. How
much slower Checks are meanwhile is for the bench (`flood_p99_over_baseline`): here it would be the
noise of the machine.
"""

import time
from collections.abc import Generator
from pathlib import Path

import grpc
import pytest

from tests.support import requests as ask
from tests.support.flooded import attack, caller, resident_bytes
from tests.support.http2_attacker import ATTACKS
from tests.support.served import Served

ATTACK_SECONDS = 1.5
ANSWERED_SHARE_MIN = 0.95
RECOVERED_SECONDS_MAX = 10.0
GROWN_BYTES_MAX = 2 * 3_000 * 64_000
"""So many calls may wait (`limits.calls_pending_max`), each with the largest headers that come whole
to gRPC, held as they came and as they were read."""

UNBOUNDED = {"hpack_bomb"}
"""Where gRPC itself takes more: it keeps what it refuses, for each stream (docs/floods.md)."""


@pytest.fixture
def server(tmp_path: Path) -> Generator[Served]:
    with Served(tmp_path) as running:
        yield running


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_a_flood_neither_ends_nor_fills_a_server_and_checks_are_answered(
    server: Served, name: str
) -> None:
    host, _, port = server.address.rpartition(":")
    before = resident_bytes(server.process.pid)

    with caller(server.address) as checked:
        checked(lambda: False, 0.2)
        with attack(name, host, port, ATTACK_SECONDS) as is_over:
            meanwhile = checked(is_over, 60)
    grown = resident_bytes(server.process.pid) - before
    seconds = _seconds_to_opt_out(server)

    assert server.process.poll() is None, server.log[-2_000:]
    assert meanwhile.answered_share >= ANSWERED_SHARE_MIN
    if name not in UNBOUNDED:
        assert seconds <= RECOVERED_SECONDS_MAX
        assert grown <= GROWN_BYTES_MAX


def _seconds_to_opt_out(server: Served) -> float:
    """How long after the flood the first opt-out is taken, tried again as the library does."""
    began = time.monotonic()
    request = ask.set_preference(ask.opt_out()).SerializeToString()
    with grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        write: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/heed.v1.PreferenceService/SetPreference"
        )
        while True:
            try:
                write(request, timeout=3 * RECOVERED_SECONDS_MAX, wait_for_ready=True)
            except grpc.RpcError:
                if time.monotonic() - began > 3 * RECOVERED_SECONDS_MAX:
                    raise
            else:
                return time.monotonic() - began

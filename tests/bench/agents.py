"""Checks through an agent's socket against the bare handler, by a C load."""

import os
from pathlib import Path
from typing import Final

import grpc

from heed_proto.v1 import preference_service_pb2 as preference
from tests.bench import h2load, messages
from tests.bench.calls import SEEDED, seeded_node
from tests.bench.figures import Figure
from tests.bench.nodes import SERVER_CORE, BenchError, HeedNode, bare_server
from tests.support.agents import ServedAgent

ROUNDS: Final = 7
FIGURES: Final = ("agent_check_over_bare", "agent_check_over_bare_by_cpu")


def measure_agent(folder: Path) -> list[Figure]:
    """`agent_check_over_bare`."""
    if not h2load.is_there():
        h2load.absent(*FIGURES)
        return []
    request = preference.CheckSuppressionRequest(query=messages.query_of(messages.email(1)))
    message = request.SerializeToString()
    with (
        seeded_node(HeedNode(folder)) as node,
        ServedAgent(folder, f"127.0.0.1:{node.port}") as agent,
        h2load.request_file(message) as file,
    ):
        os.sched_setaffinity(agent.process.pid, {SERVER_CORE})
        agent.wait_in_step().wait_for_revision(SEEDED)
        reply = _verified_reply(agent, message)
        socket = f"unix:{agent.folder.absolute()}/bare.sock"
        over = h2load.H2Arm(
            name="agent",
            method=messages.CHECK,
            request=file,
            address=agent.address,
            pids=(agent.process.pid,),
        )
        with bare_server({messages.CHECK: reply}, address=socket) as (_, pid):
            under = h2load.H2Arm(
                name="bare", method=messages.CHECK, request=file, address=socket, pids=(pid,)
            )
            results = h2load.alternate([over, under], ROUNDS)
        if agent.asked():
            raise BenchError("the agent asked its upstream, instead of answering by its replica")
    against = (
        f"unary Check through an agent's unix socket over a bare grpc.aio handler on one, h2load, "
        f"{over.in_flight} in flight, both on core {SERVER_CORE}"
    )
    return [
        h2load.rate_ratio(FIGURES[0], over, under, results, against),
        h2load.cpu_ratio(FIGURES[1], over, under, results, "the same rounds, by processor time"),
        h2load.rate("agent_check_calls_per_second", over, results, "the same rounds"),
    ]


def _verified_reply(agent: ServedAgent, message: bytes) -> bytes:
    """What the agent answers, as a real client sees it."""
    with grpc.insecure_channel(agent.address) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(messages.CHECK)
        reply = call(message, timeout=10)
    answer = preference.CheckSuppressionResponse.FromString(reply)
    if not answer.decision.verdict or answer.position.revision < SEEDED:
        raise BenchError(f"the agent answers {answer}")
    return reply

"""An agent: any client's Checks by a replica on its host, everything else by its upstream."""

import json
import re
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

import heed
from heed.errors import HeedError, RightRequiredError, UnauthenticatedError, UnavailableError
from tests.support.agents import ServedAgent
from tests.support.caches import wait_until
from tests.support.served import Served, run_command

pytestmark = pytest.mark.slow  # each starts processes

ORIGIN = heed.Origin(source="tests")
ADA = "ada@example.com"
BOB = "bob@example.com"
SHORT = {
    "HEED_STALENESS_PROMOTIONAL_SECONDS": "1",
    "HEED_STALENESS_TRANSACTIONAL_SECONDS": "2",
    "HEED_STALENESS_MANDATORY_SECONDS": "6",
}
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def open_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, ServedAgent]]:
    """A server that asks for no keys, and an agent of it."""
    folder = tmp_path_factory.mktemp("open")
    with Served(folder) as server, ServedAgent(folder, server.address) as agent:
        yield server, agent.wait_in_step()


def key_of(server: Served, name: str, *rights: str) -> str:
    made = run_command(
        *("keys", "create", name, "--json"),
        *(part for right in rights for part in ("--right", right)),
        cwd=server.folder,
    )
    assert made.returncode == 0, made.stderr
    return str(json.loads(made.stdout)["key"])


def test_a_choice_made_through_the_agent_is_known_to_the_next_check_there(
    open_pair: tuple[Served, ServedAgent],
) -> None:
    server, agent = open_pair
    with agent.client() as here, server.client() as there:
        before = here.check(email=ADA, channel="email", topic="news")
        made = here.opt_out(email=ADA, source="tests", topic="news")
        after = here.check(email=ADA, channel="email", topic="news", token=made.token)
        many = here.check_many(
            [heed.Query(email=who, channel="email", topic="news") for who in (ADA, BOB)]
        )
        same = there.check(email=ADA, channel="email", topic="news", token=made.token)

    assert before.allowed
    assert not after.allowed
    assert [one.allowed for one in many] == [False, True]
    assert (after.reasons, after.revision, after.token) == (same.reasons, same.revision, same.token)


def test_checks_are_answered_by_the_replica_and_not_by_the_upstream(
    open_pair: tuple[Served, ServedAgent],
) -> None:
    _, agent = open_pair
    before = agent.asked()
    with agent.client() as here:
        for at in range(20):
            here.check(email=f"p{at}@example.com", channel="email", topic="news")

    assert agent.asked() == before


def test_a_stream_of_checks_is_answered_by_the_replica_and_not_by_the_upstream(
    open_pair: tuple[Served, ServedAgent],
) -> None:
    _, agent = open_pair
    before = agent.asked()
    with agent.client() as here:
        made = here.opt_out(email="streamed@example.com", source="tests")
        agent.wait_for_revision(made.revision)
        with here.check_stream() as stream:
            stopped = stream.check(email="streamed@example.com", channel="email", token=made.token)
            free = [stream.check(email=f"s{at}@example.com", channel="email") for at in range(20)]

    assert not stopped.allowed
    assert all(one.allowed for one in free)
    assert agent.asked() == before
    assert not any("StreamCheckSuppression" in name for name in agent.metrics())


def test_the_socket_is_for_its_user_alone_unless_said_otherwise(
    open_pair: tuple[Served, ServedAgent], tmp_path: Path
) -> None:
    server, agent = open_pair
    shared = ServedAgent(tmp_path, server.address, "--socket-mode", "0660")
    with shared:
        modes = [
            stat.S_IMODE(Path(one.address.removeprefix("unix:")).stat().st_mode)
            for one in (agent, shared)
        ]

    assert modes == [0o600, 0o660]


def test_a_check_about_another_tenant_is_the_upstreams_to_answer(
    open_pair: tuple[Served, ServedAgent],
) -> None:
    _, agent = open_pair
    with agent.client() as here, pytest.raises(HeedError) as refused:
        here.check(email=ADA, channel="email", tenant="other")

    assert refused.value.reason is heed.ErrorReason.TENANT_UNKNOWN


def test_a_malformed_check_is_refused_with_its_fields(
    open_pair: tuple[Served, ServedAgent],
) -> None:
    _, agent = open_pair
    with agent.client() as here, pytest.raises(heed.InvalidArgumentError) as refused:
        here.check(email="no address", channel="email")

    assert refused.value.violations


def test_health_and_reflection_are_those_of_a_server(open_pair: tuple[Served, ServedAgent]) -> None:
    _, agent = open_pair
    asked = [
        run_command("health", "--address", agent.address, "--service", name, cwd=agent.folder)
        for name in ("", "heed.v1.Check", "heed.v1.Write")
    ]

    assert [one.returncode for one in asked] == [0, 0, 0]


def test_every_metric_of_an_agent_is_explained(open_pair: tuple[Served, ServedAgent]) -> None:
    _, agent = open_pair
    names = {name.partition("{")[0] for name in agent.metrics() if name.startswith("heed_")}
    pattern = re.compile(r"^\| `(heed_\w+)", re.MULTILINE)
    of_agents = set(pattern.findall((DOCS / "agent.md").read_text(encoding="utf-8")))
    of_servers = set(pattern.findall((DOCS / "operations.md").read_text(encoding="utf-8")))

    unexplained = {
        name
        for name in names - of_agents - of_servers
        if not name.endswith(("_created", "_bucket", "_count", "_sum"))
    }
    assert unexplained == set()
    assert of_agents - {"heed_agent_resyncs_total"} <= names


def test_who_may_open_the_socket_may_check_and_nothing_else(tmp_path: Path) -> None:
    """The upstream asks for keys; the caller of the agent's socket has none, or one of its own."""
    with Served(tmp_path) as server:
        follows, writes, checks = (
            key_of(server, "agent", "watch"),
            key_of(server, "writer", "write", "check"),
            key_of(server, "checker", "check"),
        )
        with ServedAgent(
            tmp_path, server.address, variables={"HEED_AGENT_API_KEY": follows}
        ) as agent:
            agent.wait_in_step()
            with agent.client() as nobody:
                assert nobody.check(email=ADA, channel="email").allowed
                with pytest.raises(UnauthenticatedError):
                    nobody.opt_out(email=ADA, source="tests")
                with pytest.raises(UnauthenticatedError):
                    list(nobody.list_topics())
            with agent.client(api_key=checks) as checker:
                assert checker.check(email=ADA, channel="email").allowed
                with pytest.raises(RightRequiredError):
                    checker.opt_out(email=ADA, source="tests")
            with agent.client(api_key="heed_wrong") as wrong, pytest.raises(UnauthenticatedError):
                wrong.check(email=ADA, channel="email")
            with agent.client(api_key=writes) as writer:
                made = writer.opt_out(email=ADA, source="tests")
                assert not writer.check(email=ADA, channel="email", token=made.token).allowed


def test_without_its_upstream_an_agent_allows_by_class_and_for_so_long(tmp_path: Path) -> None:
    with Served(tmp_path) as server, server.client() as there:
        there.declare_topic(
            "security", topic_class="mandatory", mandatory_channels=["email"], origin=ORIGIN
        )
        there.opt_out(email=ADA, source="tests")
        last = there.opt_out(email="x@example.com", source="tests").revision
        with ServedAgent(tmp_path, server.address, variables=SHORT) as agent:
            agent.wait_in_step().wait_for_revision(last)
            with agent.client() as here:

                def allows(who: str, topic: str) -> bool | None:
                    try:
                        return here.check(email=who, channel="email", topic=topic).allowed
                    except UnavailableError as error:
                        assert error.reason is heed.ErrorReason.STATE_STALE  # noqa: PT017
                        return None

                def is_allowed_beyond(end: float) -> bool:
                    assert allows(BOB, "news") is True
                    return monotonic() > end

                # The control: while the upstream lives, the bound of 1 s is never met.
                end = monotonic() + 2
                wait_until(lambda: is_allowed_beyond(end))

                server.signal(signal.SIGKILL)
                server.wait()

                wait_until(lambda: allows(BOB, "news") is None)
                assert allows(BOB, "security") is True
                assert allows(ADA, "news") is False
                wait_until(lambda: allows(BOB, "security") is None)
                assert allows(ADA, "news") is False


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "names no server"),
        (("--upstream", "nonsense"), "is not one"),
        (("--upstream", "127.0.0.1:1", "--listen", "0.0.0.0:1"), "needs TLS and API keys"),
        (("--upstream", "127.0.0.1:1", "--socket-mode", "999"), "no mode of a file"),
        (("--upstream", "127.0.0.1:1", "--agent-tenants", "a"), "did you mean --agent-tenant?"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    flags: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    ended = run_command("agent", *flags, cwd=tmp_path)

    assert ended.returncode == 2
    assert said in ended.stderr


def test_the_agents_own_key_is_printed_by_nothing(tmp_path: Path) -> None:
    printed = run_command(
        *("agent", "--upstream", "127.0.0.1:1", "--print-config"),
        cwd=tmp_path,
        variables={"HEED_AGENT_API_KEY": "heed_swordfish"},
    )

    assert printed.returncode == 0
    assert "api_key" in printed.stdout
    assert "swordfish" not in printed.stdout

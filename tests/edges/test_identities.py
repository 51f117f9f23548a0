"""Certificates and JWTs from end to end: over TLS, through workers, and through an agent."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

import heed
from heed.errors import HeedError, RightRequiredError, UnauthenticatedError, UnavailableError
from heed_proto.v1 import watch_service_pb2 as watch
from tests.support import requests as ask
from tests.support.agents import ServedAgent
from tests.support.identities import (
    ISSUER,
    JwtIssuer,
    grant_said,
    issuer_said,
    write_grants,
    write_jwks,
)
from tests.support.served import Authority, Served, run_command

pytestmark = pytest.mark.slow  # each starts processes

ORIGIN = heed.Origin(source="tests")
ADA = "ada@example.com"
CHECKS, WRITES, FOLLOWS = (
    f"spiffe://example.org/{name}" for name in ("checks", "writes", "follows")
)
GRANTS = (
    issuer_said(),
    grant_said(name="checks", spiffe_id=CHECKS),
    grant_said(name="writes", spiffe_id=WRITES, rights=["check", "write"]),
    grant_said(name="by-dns", dns_name="mail.example.org"),
    grant_said(name="agent", spiffe_id=FOLLOWS, rights=[
        "check", "watch", "write", "suppress", "admin", "audit", "operate", "export", "consent",
    ]),
    grant_said(name="mailer", issuer=ISSUER, subject="mailer", rights=["check", "write", "watch"]),
)  # fmt: skip


@dataclass
class World:
    """A server, and who may call it."""

    server: Served
    authority: Authority
    issuer: JwtIssuer

    @property
    def asking(self) -> str:
        """Where a certificate must be shown."""
        return self.server.addresses[1]

    def client(self, *names: x509.GeneralName, **said: object) -> heed.SyncClient:
        """A client with a certificate of these names."""
        return client_of(self.server, self.authority, self.asking, *names, **said)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def client_of(
    server: Served, authority: Authority, address: str, *names: x509.GeneralName, **said: object
) -> heed.SyncClient:
    signer = said.pop("signer", authority)
    assert isinstance(signer, Authority)
    certificate, key = signer.issue_to_client("client", *names, **said)  # type: ignore[arg-type]  # of the test
    tls = heed.Tls(
        root_certificates=authority.file,
        certificate_chain=certificate.read_bytes(),
        private_key=key.read_bytes(),
    )
    return server.client(address=address, tls=tls)


def flags(folder: Path, authority: Authority, issuer: JwtIssuer) -> tuple[str, ...]:
    write_jwks(folder, issuer)
    return (
        *authority.flags(),
        f"--tls-client-ca-file={authority.file}",
        f"--auth-grants-file={write_grants(folder, *GRANTS)}",
        "--telemetry-log-calls=true",
        "--telemetry-check-metrics=true",
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with an address where nobody shows a certificate, and one where everybody does."""
    folder = tmp_path_factory.mktemp("identities")
    authority, issuer = Authority(folder), JwtIssuer()
    with Served(
        folder,
        *flags(folder, authority, issuer),
        "--tls-client-addresses=localhost:0",
        listen="127.0.0.1:0,localhost:0",
    ) as server:
        yield World(server, authority, issuer)


def may_check(client: heed.SyncClient) -> bool:
    with client:
        return client.check(email=ADA, channel="email", timeout=5).allowed


def test_a_workload_may_do_what_its_certificate_is_granted_and_no_more(world: World) -> None:
    with world.client(uri(CHECKS)) as client:
        assert client.check(email=ADA, channel="email").allowed
        with pytest.raises(RightRequiredError):
            client.opt_out(email=ADA, source="tests")
        with pytest.raises(HeedError) as refused:
            client.check(email=ADA, channel="email", tenant="other")
    assert refused.value.reason is heed.ErrorReason.TENANT_UNKNOWN


def test_a_dns_name_is_taken_as_it_is_written(world: World) -> None:
    assert may_check(world.client(x509.DNSName("mail.example.org")))
    for other in ("*.example.org", "x.mail.example.org", "example.org"):
        with pytest.raises(UnauthenticatedError):
            may_check(world.client(x509.DNSName(other)))


@pytest.mark.parametrize(
    "names",
    [
        (uri("spiffe://evil.org/checks"),),
        (uri(CHECKS), uri(WRITES)),
        (uri("spiffe://example.org/checks/../writes"),),
        (uri("https://example.org/checks"), x509.DNSName("mail.example.org")),
    ],
)
def test_a_certificate_of_our_authority_that_names_nobody_granted_is_refused(
    world: World, names: tuple[x509.GeneralName, ...]
) -> None:
    with pytest.raises(UnauthenticatedError):
        may_check(world.client(*names))


def test_the_handshake_refuses_what_is_not_of_our_authority_or_does_not_hold(
    world: World, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    stranger = Authority(tmp_path)
    for_servers = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    refused: list[dict[str, object]] = [
        {"signer": stranger},
        {"begin": now - timedelta(days=2), "end": now - timedelta(seconds=1)},
        {"begin": now + timedelta(hours=1), "end": now + timedelta(days=1)},
        {"extensions": [(for_servers, True)]},
    ]

    for said in refused:
        with pytest.raises(UnavailableError):
            may_check(world.client(uri(CHECKS), **said))
    with pytest.raises(UnavailableError):
        may_check(world.server.client(address=world.asking, tls=world.authority.tls))


def test_a_jwt_lets_in_with_a_certificate_or_without(world: World) -> None:
    text = world.issuer.jwt()
    without = world.server.client(tls=world.authority.tls, api_key=text)

    assert may_check(without)
    certificate, key = world.authority.issue_to_client("any", x509.DNSName("any.example.org"))
    tls = heed.Tls(
        root_certificates=world.authority.file,
        certificate_chain=certificate.read_bytes(),
        private_key=key.read_bytes(),
    )
    assert may_check(world.server.client(address=world.asking, tls=tls, api_key=text))
    with pytest.raises(UnauthenticatedError):
        may_check(world.server.client(tls=world.authority.tls))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "other"},
        {"exp": time() - 60},
        {"sub": "nobody"},
        # Of when the tests were collected: still to come when this one runs.
        {"nbf": time() + 86_400},
        {"iss": "x"},
    ],
)
def test_a_jwt_that_is_not_for_us_now_is_refused(world: World, claims: dict[str, Any]) -> None:
    with pytest.raises(UnauthenticatedError):
        may_check(world.server.client(tls=world.authority.tls, api_key=world.issuer.jwt(**claims)))
    with pytest.raises(UnauthenticatedError):
        may_check(world.server.client(tls=world.authority.tls, api_key=JwtIssuer().jwt()))


def test_the_authorities_of_callers_are_taken_up_anew(tmp_path: Path) -> None:
    authority, issuer = Authority(tmp_path), JwtIssuer()
    (tmp_path / "new").mkdir()
    new = Authority(tmp_path / "new")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.file.read_bytes())
    given = [*flags(tmp_path, authority, issuer), f"--tls-client-ca-file={trusted}"]
    given.remove(f"--tls-client-ca-file={authority.file}")
    with Served(tmp_path, *given) as server:
        with pytest.raises(UnavailableError):
            may_check(client_of(server, authority, server.address, uri(CHECKS), signer=new))

        trusted.write_bytes(new.file.read_bytes())

        assert may_check(client_of(server, authority, server.address, uri(CHECKS), signer=new))
        with pytest.raises(UnavailableError):
            may_check(client_of(server, authority, server.address, uri(CHECKS)))
        trusted.write_text("nonsense")
        assert may_check(client_of(server, authority, server.address, uri(CHECKS), signer=new))
        server.wait_for("certificate_not_renewed")


def test_a_grant_that_is_taken_away_counts_within_seconds_on_open_connections(
    tmp_path: Path,
) -> None:
    authority, issuer = Authority(tmp_path), JwtIssuer()
    with (
        Served(tmp_path, *flags(tmp_path, authority, issuer)) as server,
        client_of(server, authority, server.address, uri(CHECKS)) as client,
    ):
        assert client.check(email=ADA, channel="email").allowed
        write_grants(tmp_path, *(grant for grant in GRANTS if CHECKS not in grant))
        server.wait_for("grants_read")
        with pytest.raises(UnauthenticatedError) as refused:
            client.check(email=ADA, channel="email")

        assert "certificate" in refused.value.message
        assert server.metrics()["heed_grants"] == 4
        server.wait_for("credential_refused")


def test_workers_know_their_callers_by_certificate_and_tell_the_owner(tmp_path: Path) -> None:
    authority, issuer = Authority(tmp_path), JwtIssuer()
    certificate, _ = authority.issue_to_client("forged", uri(WRITES))
    forged = (("heed-caller-certificate-bin", certificate.read_bytes()),)
    with Served(tmp_path, *flags(tmp_path, authority, issuer), "--workers=2") as server:
        with client_of(server, authority, server.address, uri(WRITES)) as client:
            made = client.opt_out(email=ADA, source="tests")
            assert not client.check(email=ADA, channel="email", token=made.token).allowed
        call = server.wait_for("call")
        while call["method"] != "SetPreference":
            call = server.wait_for("call")
        assert (call["code"], call["caller"]) == ("OK", "writes")
        with (
            client_of(server, authority, server.address, uri(CHECKS)) as client,
            pytest.raises(RightRequiredError),
        ):
            client.opt_out(email=ADA, source="tests")
        # Whoever says by themselves what only a worker may say is not heard.
        chain, key = authority.issue_to_client("checks", uri(CHECKS))
        credentials = grpc.ssl_channel_credentials(
            authority.file.read_bytes(), key.read_bytes(), chain.read_bytes()
        )
        with grpc.secure_channel(
            server.address.replace("127.0.0.1", "localhost"), credentials
        ) as channel:
            write: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                "/heed.v1.PreferenceService/SetPreference"
            )
            with pytest.raises(grpc.RpcError) as refused:
                write(ask.set_preference().SerializeToString(), timeout=10, metadata=forged)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_stream_of_changes_through_a_worker_ends_after_its_certificates_grant(
    tmp_path: Path,
) -> None:
    """The owner judges the certificate that its worker saw, again and again."""
    authority, issuer = Authority(tmp_path), JwtIssuer()
    chain, key = authority.issue_to_client("follows", uri(FOLLOWS))
    credentials = grpc.ssl_channel_credentials(
        authority.file.read_bytes(), key.read_bytes(), chain.read_bytes()
    )
    with Served(tmp_path, *flags(tmp_path, authority, issuer), "--workers=2") as server:
        address = server.address.replace("127.0.0.1", "localhost")
        with grpc.secure_channel(address, credentials) as channel:
            call: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
                "/heed.v1.WatchService/WatchChanges"
            )
            request = watch.WatchChangesRequest(subscriber="s").SerializeToString()
            messages = call(request, timeout=70)
            heard = [next(messages) for _ in range(3)]
            write_grants(tmp_path, *(grant for grant in GRANTS if FOLLOWS not in grant))
            began = time()
            with pytest.raises(grpc.RpcError) as ended:
                list(messages)
        assert all(heard)
        assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert time() - began < 60


def test_through_an_agent_the_servers_log_names_the_caller_and_its_certificate_is_nobodys(
    tmp_path: Path,
) -> None:
    """The agent's own certificate is granted everything: none of it may reach a caller."""
    authority, issuer = Authority(tmp_path), JwtIssuer()
    chain, key = authority.issue_to_client("agent", uri(FOLLOWS))
    with Served(tmp_path, *flags(tmp_path, authority, issuer)) as server:
        agent_flags = (
            f"--agent-upstream-ca-file={authority.file}",
            f"--agent-upstream-certificate-file={chain}",
            f"--agent-upstream-private-key-file={key}",
        )
        with ServedAgent(tmp_path, server.address, *agent_flags) as agent:
            agent.wait_in_step()
            with agent.client() as nobody:
                assert nobody.check(email=ADA, channel="email").allowed  # by the socket's mode
                for call in (
                    lambda: nobody.opt_out(email=ADA, source="tests"),
                    lambda: list(nobody.list_topics()),
                    lambda: list(nobody.export_records()),
                    nobody.get_propagation,
                ):
                    with pytest.raises(UnauthenticatedError):
                        call()
            with agent.client(api_key=issuer.jwt()) as mailer:
                made = mailer.opt_out(email=ADA, source="tests")
                assert not mailer.check(email=ADA, channel="email", token=made.token).allowed
                with pytest.raises(RightRequiredError):
                    list(mailer.export_records())
            with (
                agent.client(api_key=issuer.jwt(exp=time() - 60)) as late,
                pytest.raises(UnauthenticatedError),
            ):
                late.check(email=ADA, channel="email")

        written = [json.loads(line) for line in server.lines if '"SetPreference"' in line]
    assert [(one["code"], one["caller"]) for one in written] == [
        ("UNAUTHENTICATED", ""),
        ("OK", "mailer"),
    ]


def test_a_certificate_lets_a_connection_to_an_agent_in_and_speaks_for_nobody_there(
    tmp_path: Path,
) -> None:
    authority, issuer = Authority(tmp_path), JwtIssuer()
    chain, key = authority.issue_to_client("agent", uri(FOLLOWS))
    with Served(tmp_path, *flags(tmp_path, authority, issuer)) as server:
        agent_flags = (
            f"--agent-upstream-ca-file={authority.file}",
            f"--agent-upstream-certificate-file={chain}",
            f"--agent-upstream-private-key-file={key}",
            *authority.flags("agent-server"),
            f"--tls-client-ca-file={authority.file}",
        )
        with ServedAgent(tmp_path, server.address, *agent_flags, listen="127.0.0.1:0") as agent:
            agent.wait_in_step()
            mine, my_key = authority.issue_to_client("writes", uri(WRITES))
            tls = heed.Tls(
                root_certificates=authority.file,
                certificate_chain=mine.read_bytes(),
                private_key=my_key.read_bytes(),
            )
            with pytest.raises(UnavailableError):
                may_check(agent.client(tls=authority.tls, api_key=issuer.jwt()))
            with pytest.raises(UnauthenticatedError):
                may_check(agent.client(tls=tls))
            with agent.client(tls=tls) as client, pytest.raises(UnauthenticatedError):
                client.opt_out(email=ADA, source="tests")
            assert may_check(agent.client(tls=tls, api_key=issuer.jwt()))


def test_a_stream_of_changes_ends_after_its_jwt(
    tmp_path: Path,
) -> None:
    """Its credential is judged again every 15 s; the promise is 60."""
    authority, issuer = Authority(tmp_path), JwtIssuer()
    seconds = 5
    grants = [
        GRANTS[0],
        grant_said(name="mailer", issuer=ISSUER, subject="mailer", rights=["watch"]),
    ]
    write_jwks(tmp_path, issuer)
    with Served(
        tmp_path,
        *authority.flags(),
        f"--auth-grants-file={write_grants(tmp_path, *grants)}",
        "--auth-jwt-leeway-seconds=0",
    ) as server:
        credentials = grpc.ssl_channel_credentials(authority.file.read_bytes())
        address = server.address.replace("127.0.0.1", "localhost")
        with grpc.secure_channel(address, credentials) as channel:
            call: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
                "/heed.v1.WatchService/WatchChanges"
            )
            began = time()
            bearer = (("authorization", f"Bearer {issuer.jwt(exp=began + seconds)}"),)
            request = watch.WatchChangesRequest(subscriber="s").SerializeToString()
            messages = call(request, timeout=60, metadata=bearer)
            heard = [next(messages) for _ in range(3)]
            with pytest.raises(grpc.RpcError) as ended:
                list(messages)
        assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert all(heard)
        assert seconds <= time() - began < 60


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--tls-client-ca-file=ca.pem",), "client_ca_file needs"),
        (("--auth-grants-file=nowhere.toml",), "nowhere.toml"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    tmp_path: Path, given: tuple[str, ...], said: str
) -> None:
    done = run_command("serve", "--listen", "127.0.0.1:0", *given, cwd=tmp_path)

    assert done.returncode == 2
    assert said in done.stderr


def test_an_address_that_is_not_listened_on_cannot_ask_for_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    given = (
        *authority.flags(),
        f"--tls-client-ca-file={authority.file}",
        "--tls-client-addresses=127.0.0.1:1",
    )

    done = run_command("serve", "--listen", "127.0.0.1:0", *given, cwd=tmp_path)

    assert done.returncode == 2
    assert "is none of listen.address" in done.stderr


def test_an_agent_takes_no_grants(tmp_path: Path) -> None:
    file = write_grants(tmp_path, "")

    done = run_command(
        "agent", "--upstream", "127.0.0.1:1", f"--auth-grants-file={file}", cwd=tmp_path
    )

    assert done.returncode == 2
    assert "an agent's upstream judges who calls" in done.stderr


def test_doctor_tells_of_grants_that_are_wrong(tmp_path: Path) -> None:
    file = write_grants(tmp_path, grant_said())

    done = run_command("doctor", f"--auth-grants-file={file}", "--listen=127.0.0.1:0", cwd=tmp_path)

    assert done.returncode == 1
    assert "BAD grants: " in done.stdout


def test_a_server_says_how_its_first_address_is_reached_and_that_grants_let_callers_in(
    world: World,
) -> None:
    said = world.server.serving["first_check"]

    assert "--ca-file" in said
    assert "--certificate-file" not in said  # the second address asks for one
    assert '"no_keys"' not in world.server.log


def test_doctor_in_json_says_nothing_but_its_findings(tmp_path: Path) -> None:
    write_jwks(tmp_path, JwtIssuer())
    file = write_grants(tmp_path, GRANTS[0], GRANTS[-1])  # of JWTs: no certificate is asked for

    done = run_command(
        "doctor", "--json", f"--auth-grants-file={file}", "--listen=127.0.0.1:0", cwd=tmp_path
    )

    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"what": "grants", "good": True} in [
        {name: one[name] for name in ("what", "good")} for one in findings
    ]

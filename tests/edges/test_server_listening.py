"""Where the server listens, what it demands there, and whom it refuses to stand beside."""

import socket
import ssl
import time
from pathlib import Path

import pytest

from heed import OptOut, Origin, UnavailableError
from heed.errors import ErrorReason
from tests.support.roots import shared_root_file
from tests.support.served import Authority, Served, run_command

ORIGIN = Origin(source="tests")
SOMEBODY = "ada@example.com"

pytestmark = pytest.mark.slow  # each starts processes


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", ":0"])
def test_beyond_loopback_it_does_not_start_without_tls_and_keys(
    tmp_path: Path, address: str
) -> None:
    done = run_command("serve", "--listen", address, cwd=tmp_path)

    assert done.returncode == 2
    assert "TLS and API keys" in done.stderr
    assert not (tmp_path / "heed-data").exists()


def test_beyond_loopback_keys_cannot_be_turned_off(tmp_path: Path) -> None:
    flags = (*Authority(tmp_path).flags(), "--auth-required=false")

    done = run_command("serve", "--listen", "0.0.0.0:0", *flags, cwd=tmp_path)

    assert done.returncode == 2
    assert "auth.required" in done.stderr


def test_beyond_loopback_with_tls_keys_are_required_unasked(tmp_path: Path) -> None:
    with Served(tmp_path, *Authority(tmp_path).flags(), listen="0.0.0.0:0") as server:
        assert server.serving["keys_required"] is True
        assert server.serving["tls"] is True
        server.wait_for("no_keys")


def test_insecure_listening_starts_when_it_is_meant_and_is_warned_of(tmp_path: Path) -> None:
    with Served(tmp_path, "--insecure", listen="0.0.0.0:0") as server:
        warnings = [line for line in server.lines if "listening_insecurely" in line]

        assert len(warnings) == 1
        assert '"level": "warning"' in warnings[0]


def test_a_unix_socket_is_served_beside_a_port_with_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    path = tmp_path / "heed.sock"
    flags = (*authority.flags(), "--auth-required=false")

    with Served(tmp_path, *flags, listen=f"127.0.0.1:0,unix:{path}") as server:
        with server.client(address=f"unix:{path}") as client:
            client.set_preference(email=SOMEBODY, choices=[OptOut()], origin=ORIGIN)
        with server.client(tls=authority.tls) as client:
            assert not client.check(email=SOMEBODY, channel="email").allowed


def test_plaintext_is_not_answered_where_tls_is_set(tmp_path: Path) -> None:
    flags = (*Authority(tmp_path).flags(), "--auth-required=false")

    with (
        Served(tmp_path, *flags) as server,
        server.client() as client,
        pytest.raises(UnavailableError),
    ):
        client.check(email=SOMEBODY, channel="email", timeout=2)


def test_a_handshake_that_fails_puts_no_line_of_another_form_into_the_log(tmp_path: Path) -> None:
    with Served(tmp_path, *Authority(tmp_path).flags()) as server:
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as caller:
            caller.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while caller.recv(1024):
                pass
        server.stop()

        assert [line for line in server.lines if not line.startswith("{")] == []


def test_nothing_older_than_tls_1_2_is_spoken(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    with Served(tmp_path, *authority.flags(), "--auth-required=false") as server:
        assert _handshake(server, authority, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
        assert _handshake(server, authority, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
        with pytest.raises(ssl.SSLError), pytest.warns(DeprecationWarning, match="TLSv1_1"):
            _handshake(server, authority, ssl.TLSVersion.TLSv1_1)


def _handshake(server: Served, authority: Authority, speaking: ssl.TLSVersion) -> str | None:
    context = ssl.create_default_context(cafile=str(authority.file))
    context.set_alpn_protocols(["h2"])
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = speaking
    with _connection(server, context) as connection:
        return connection.version()


def _connection(server: Served, context: ssl.SSLContext) -> ssl.SSLSocket:
    import socket

    host, port = server.address.rsplit(":", 1)
    plain = socket.create_connection((host, int(port)), timeout=10)
    try:
        return context.wrap_socket(plain, server_hostname="localhost")
    except BaseException:
        plain.close()
        raise


def _serial(server: Served, authority: Authority) -> str:
    context = ssl.create_default_context(cafile=str(authority.file))
    context.set_alpn_protocols(["h2"])
    with _connection(server, context) as connection:
        certificate = connection.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


def test_a_changed_certificate_is_shown_at_the_next_handshake(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Served(tmp_path, *authority.flags(), "--auth-required=false") as server:
        first = _serial(server, authority)
        assert _serial(server, authority) == first

        authority.issue()

        assert _serial(server, authority) != first
        server.wait_for("certificate_renewed")


def test_a_certificate_caught_halfway_through_its_change_is_not_shown(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Served(tmp_path, *authority.flags(), "--auth-required=false") as server:
        first = _serial(server, authority)
        _, other_key = authority.issue("other")

        (tmp_path / "server.key").write_bytes(other_key.read_bytes())

        assert _serial(server, authority) == first
        server.wait_for("certificate_not_renewed")


@pytest.mark.parametrize("damage", ["missing", "mismatched", "nonsense"])
def test_a_certificate_of_no_use_is_refused_at_the_start(tmp_path: Path, damage: str) -> None:
    authority = Authority(tmp_path)
    flags = authority.flags()
    match damage:
        case "missing":
            (tmp_path / "server.key").unlink()
        case "mismatched":
            _, other_key = authority.issue("other")
            (tmp_path / "server.key").write_bytes(other_key.read_bytes())
        case _:
            (tmp_path / "server.pem").write_text("nonsense")

    done = run_command("serve", "--listen", "127.0.0.1:0", *flags, cwd=tmp_path)

    assert done.returncode == 2
    assert "the certificate and its key cannot be used" in done.stderr


def test_an_address_in_use_is_refused_and_said(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with Served(tmp_path) as server:
        done = run_command("serve", "--listen", server.address, cwd=tmp_path / "other")

    assert done.returncode == 3
    assert server.address in done.stderr
    assert "--listen" in done.stderr


def test_a_socket_without_its_folder_is_refused_with_what_to_make(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    done = run_command("serve", "--listen", f"unix:{folder}/heed.sock", cwd=tmp_path)

    assert done.returncode == 3
    assert f"there is no folder {folder}; make it" in done.stderr


def test_a_second_server_of_one_sqlite_database_is_refused(tmp_path: Path) -> None:
    with Served(tmp_path) as server:
        done = run_command("serve", "--listen", "127.0.0.1:0", cwd=tmp_path)
        with server.client() as client:
            client.set_preference(email=SOMEBODY, choices=[OptOut()], origin=ORIGIN)

    assert done.returncode == 3
    assert "another process has" in done.stderr


def test_the_database_and_the_index_are_their_users_alone(tmp_path: Path) -> None:
    with Served(tmp_path) as server, server.client() as client:
        client.set_preference(email=SOMEBODY, choices=[OptOut()], origin=ORIGIN)
        files = [tmp_path / "heed-data", *(tmp_path / "heed-data").rglob("*")]
        modes = {str(file): file.stat().st_mode & 0o077 for file in files if file.exists()}

    assert {file for file, others in modes.items() if others} == set()


def test_a_url_of_no_database_that_heed_knows_is_a_wrong_setting(tmp_path: Path) -> None:
    done = run_command("serve", "--database", "mysql://ada:hunter2@db.example/heed", cwd=tmp_path)

    assert done.returncode == 2
    assert "storage.url cannot be read; write sqlite:///path or postgresql://" in done.stderr
    assert "hunter2" not in done.stderr


def test_an_unreachable_database_is_said_within_seconds(tmp_path: Path) -> None:
    began = time.monotonic()

    done = run_command(
        *("serve", "--listen", "127.0.0.1:0"),
        *("--database", "postgresql://heed:hunter2@127.0.0.1:1/heed"),
        *("--keys-root-file", str(shared_root_file())),
        cwd=tmp_path,
    )

    assert done.returncode == 3
    assert ErrorReason.STORE_UNAVAILABLE in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert time.monotonic() - began < 20

"""Getting an issuer's keys from a real https server, which does what bad ones do."""

import http.server
import ssl
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from heed_server.auth.fetching import FetchError, fetch
from tests.support.served import Authority

KEYS = b'{"keys": []}'


class _Source(http.server.BaseHTTPRequestHandler):
    """Serves keys, and what is not keys."""

    asked: list[str]
    is_over: threading.Event

    def do_GET(self) -> None:
        self.asked.append(self.path)
        match self.path:
            case "/redirect":
                self.send_response(302)
                self.send_header("Location", "/keys")
                self.end_headers()
            case "/missing":
                self.send_error(404)
            case "/endless":
                self.send_response(200)
                self.end_headers()
                while not self.is_over.wait(0.02):
                    self.wfile.write(b" ")
            case _:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(KEYS if self.path == "/keys" else b" " * 1_001)

    def log_message(self, *_: object, **_said: object) -> None:
        """Say nothing."""


@contextmanager
def source(authority: Authority) -> Generator[tuple[str, list[str]]]:
    """Serve within the block; yields where, and what was asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("source"))
    asked: list[str] = []
    is_over = threading.Event()
    handler = type("Handler", (_Source,), {"asked": asked, "is_over": is_over})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # callers that leave
        server.socket = context.wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"https://localhost:{server.server_port}", asked
        finally:
            is_over.set()
            server.shutdown()
            serving.join()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    monkeypatch.setenv("no_proxy", "localhost")
    return Authority(tmp_path)


def test_keys_are_got_from_whom_is_trusted(authority: Authority) -> None:
    with source(authority) as (url, _):
        got = fetch(f"{url}/keys", ca_file=authority.file, seconds_max=5, bytes_max=1_000)

    assert got == KEYS


def test_nothing_is_got_from_whom_nobody_trusts(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    with source(authority) as (url, asked):
        for ca_file in (None, other.file):
            with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
                fetch(f"{url}/keys", ca_file=ca_file, seconds_max=5, bytes_max=1_000)

    assert asked == []


def test_a_redirect_is_not_followed(authority: Authority) -> None:
    with source(authority) as (url, asked), pytest.raises(FetchError, match="302"):
        fetch(f"{url}/redirect", ca_file=authority.file, seconds_max=5, bytes_max=1_000)

    assert asked == ["/redirect"]


@pytest.mark.parametrize("path", ["/missing", "/large"])
def test_what_is_not_there_or_too_large_is_nothing(authority: Authority, path: str) -> None:
    with source(authority) as (url, _), pytest.raises(FetchError):
        fetch(f"{url}{path}", ca_file=authority.file, seconds_max=5, bytes_max=1_000)


def test_one_that_drips_for_ever_is_left_in_time(authority: Authority) -> None:
    with source(authority) as (url, _):
        began = time.monotonic()
        with pytest.raises(FetchError, match="longer than"):
            fetch(f"{url}/endless", ca_file=authority.file, seconds_max=0.3, bytes_max=100_000)

        assert time.monotonic() - began < 5


def test_where_nobody_is_nothing_is_got(authority: Authority) -> None:
    with source(authority) as (url, _):
        pass
    with pytest.raises(FetchError):
        fetch(f"{url}/keys", ca_file=authority.file, seconds_max=5, bytes_max=1_000)
    with pytest.raises(FetchError):
        fetch(f"{url}/keys", ca_file=authority.file.with_name("none"), seconds_max=5, bytes_max=1)

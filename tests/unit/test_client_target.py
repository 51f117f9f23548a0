"""Where a client connects, how, and with what."""

from collections.abc import Callable
from pathlib import Path

import pytest

import heed
from heed.connection.options import channel_options
from heed.connection.target import Target, Tls, pem, target_of


def target(
    address: str,
    *,
    tls: Tls | None = None,
    insecure: bool = False,
    api_key: str | Callable[[], str] | None = None,
) -> Target:
    return target_of(address, tls=tls, insecure=insecure, api_key=api_key)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("127.0.0.1:50051", "dns:///127.0.0.1:50051"),
        ("localhost:1", "dns:///localhost:1"),
        ("[::1]:50051", "dns:///[::1]:50051"),
        ("heed.example.com:443", "dns:///heed.example.com:443"),
        ("dns:///heed.example.com:443", "dns:///heed.example.com:443"),
        ("dns://192.0.2.53/heed.example.com:443", "dns://192.0.2.53/heed.example.com:443"),
        ("ipv4:192.0.2.1:1,192.0.2.2:1", "ipv4:192.0.2.1:1,192.0.2.2:1"),
        ("unix:/run/heed.sock", "unix:/run/heed.sock"),
    ],
)
def test_an_address_is_resolved_by_name_unless_it_says_otherwise(address: str, name: str) -> None:
    assert target(address).name == name


@pytest.mark.parametrize(
    "address", ["", "heed", "heed:", ":50051", "heed:port", "http://heed:1", "a b:1", "dns:///x"]
)
def test_what_is_no_address_is_refused_with_the_form(address: str) -> None:
    with pytest.raises(heed.InvalidArgumentError, match="write host:port") as caught:
        target(address)

    assert caught.value.metadata == {"field": "address"}


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:1", "127.8.9.1:1", "localhost:1", "[::1]:1", "unix:/run/x", "ipv4:127.0.0.1:1"],
)
def test_this_host_is_reached_in_plaintext(address: str) -> None:
    assert target(address, api_key="k").tls is None


@pytest.mark.parametrize(
    "address",
    ["heed.example.com:1", "192.0.2.1:1", "ipv4:127.0.0.1:1,192.0.2.1:1", "localhost.example:1"],
)
def test_every_other_host_is_reached_by_tls_so_that_no_key_crosses_in_clear(address: str) -> None:
    assert target(address, api_key="k").tls == Tls()


def test_plaintext_to_another_host_has_to_be_asked_for() -> None:
    assert target("heed:1", api_key="k", insecure=True).tls is None


def test_insecure_contradicts_tls() -> None:
    with pytest.raises(heed.InvalidArgumentError, match="contradicts tls"):
        target("heed:1", insecure=True, tls=Tls())


def test_a_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(heed.InvalidArgumentError, match="go together"):
        Tls(certificate_chain=b"PEM")


def test_a_key_goes_along_as_a_bearer() -> None:
    assert target("localhost:1", api_key="heed_x").metadata == (("authorization", "Bearer heed_x"),)


def test_what_returns_a_key_is_asked_at_each_call_and_no_sooner() -> None:
    returned = iter(["first", "second", "two words"])
    made = target("localhost:1", api_key=lambda: next(returned))

    assert [made.metadata[0][1] for _ in range(2)] == ["Bearer first", "Bearer second"]
    with pytest.raises(heed.InvalidArgumentError) as refused:
        _ = made.metadata
    assert "two words" not in refused.value.message


@pytest.mark.parametrize("key", ["", "two words", "line\n", "grüße", "x" * 7_169])
def test_what_cannot_be_a_key_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(heed.InvalidArgumentError) as caught:
        target("localhost:1", api_key=key)

    assert not key or key not in str(caught.value)


def test_no_repr_shows_a_secret() -> None:
    tls = Tls(certificate_chain=b"CHAIN", private_key=b"SECRET")

    assert "SECRET" not in repr(tls)
    assert "heed_x" not in repr(target("localhost:1", api_key="heed_x"))


def test_a_pem_is_bytes_or_a_file_of_them(tmp_path: Path) -> None:
    file = tmp_path / "roots.pem"
    file.write_bytes(b"PEM")

    assert pem(file) == pem(b"PEM") == b"PEM"
    assert pem(None) is None


def test_a_proxy_of_the_environment_is_not_asked_for_this_host() -> None:
    assert ("grpc.enable_http_proxy", 0) in channel_options(target("localhost:1"))
    assert ("grpc.enable_http_proxy", 0) not in channel_options(target("heed.example.com:1"))


def test_the_name_that_a_certificate_must_carry_can_be_another_than_the_host() -> None:
    options = channel_options(target("192.0.2.1:1", tls=Tls(server_name="heed.example.com")))

    assert ("grpc.ssl_target_name_override", "heed.example.com") in options

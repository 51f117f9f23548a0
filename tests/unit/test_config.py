"""The settings: their sources, which wins, what is refused, and who may reach the server."""

from pathlib import Path

import pytest

from heed.errors import InvalidArgumentError
from heed_server.config import Config, Effective, ListenConfig, load
from heed_server.config.addresses import parse_address
from heed_server.config.exposure import keys_are_required, require_safe_listening
from heed_server.config.masking import masked_url
from heed_server.config.model import settings
from heed_server.config.page import effective_lines, effective_values, settings_page
from heed_server.config.sources import flag_of, variable_of

DOCS = Path(__file__).parents[2] / "docs"
URL = "postgresql+asyncpg://heed:hunter2@db.example/heed?sslpassword=swordfish"


def _violations(
    *,
    flags: dict[str, object] | None = None,
    variables: dict[str, str] | None = None,
    file: Path | None = None,
) -> dict[str, str]:
    with pytest.raises(InvalidArgumentError) as refused:
        load(flags=flags or {}, variables=variables or {}, file=file)
    return {violation.field: violation.description for violation in refused.value.violations}


def _toml(folder: Path, text: str) -> Path:
    file = folder / "given.toml"
    file.write_text(text)
    return file


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_flag_wins_over_a_variable_which_wins_over_the_file(tmp_path: Path) -> None:
    file = _toml(
        tmp_path,
        "[drain]\nannounce_seconds = 1.5\ngrace_seconds = 2.5\n[listen]\nreflection = false\n",
    )

    effective = load(
        flags={"drain.announce_seconds": "3"},
        variables={"HEED_DRAIN_ANNOUNCE_SECONDS": "4", "HEED_DRAIN_GRACE_SECONDS": "5"},
        file=file,
    )

    assert effective.config.drain.announce_seconds == 3
    assert effective.config.drain.grace_seconds == 5
    assert effective.config.listen.reflection is False
    assert effective.origins["drain.announce_seconds"] == "--drain-announce-seconds"
    assert effective.origins["drain.grace_seconds"] == "HEED_DRAIN_GRACE_SECONDS"
    assert effective.origins["listen.reflection"] == str(file)
    assert effective.origins["storage.url"] == "default"


def test_heed_toml_of_the_working_directory_is_read_without_being_named(tmp_path: Path) -> None:
    (tmp_path / "heed.toml").write_text('[listen]\naddress = ["127.0.0.1:1", "unix:/run/h"]\n')

    effective = load(flags={}, variables={})

    assert effective.config.listen.address == ("127.0.0.1:1", "unix:/run/h")
    assert effective.origins["listen.address"] == "heed.toml"


def test_lists_may_be_written_with_commas() -> None:
    effective = load(flags={}, variables={"HEED_LISTEN_ADDRESS": "127.0.0.1:1, unix:/run/h"})

    assert effective.config.listen.address == ("127.0.0.1:1", "unix:/run/h")


def test_an_unknown_variable_is_refused_with_the_nearest_name() -> None:
    said = _violations(variables={"HEED_STORGE_URL": "x"})

    assert said == {
        "HEED_STORGE_URL": "no setting has this variable; did you mean HEED_STORAGE_URL?"
    }


def test_an_unknown_flag_is_refused_with_the_nearest_name() -> None:
    said = _violations(flags={"drain.grace_second": "1"})

    assert "did you mean drain.grace_seconds?" in said["drain.grace_second"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[drain]\ngrace = 1\n", "drain.grace"),
        ("[drian]\ngrace_seconds = 1\n", "drian.grace_seconds"),
    ],
)
def test_an_unknown_key_of_the_file_is_refused_with_the_nearest_name(
    tmp_path: Path, text: str, name: str
) -> None:
    said = _violations(file=_toml(tmp_path, text))

    assert "did you mean drain.grace_seconds?" in said[name]


def test_a_value_outside_any_section_is_refused(tmp_path: Path) -> None:
    file = _toml(tmp_path, "address = 1\n")

    assert "stands in no section" in _violations(file=file)[f"{file}: address"]


@pytest.mark.parametrize(
    "variable",
    [
        "HEED_TEST_POSTGRES_URL",
        "HEED_API_KEY",
        "HEED_API_KEY_FILE",
        "HEED_ADDRESS",
        "HEED_CA_FILE",
        "HEED_TENANT",
        "HOME",
    ],
)
def test_variables_of_others_are_left_alone(variable: str) -> None:
    assert load(flags={}, variables={variable: "x"}).config == Config()


def test_a_wrong_value_is_refused_with_its_name_and_where_it_came_from() -> None:
    said = _violations(variables={"HEED_DRAIN_GRACE_SECONDS": "soon"})

    assert "HEED_DRAIN_GRACE_SECONDS" in said["drain.grace_seconds"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("drain.grace_seconds", "-1"),
        ("drain.grace_seconds", "nan"),
        ("drain.grace_seconds", "inf"),
        ("listen.address", ""),
        ("listen.address", "127.0.0.1"),
        ("listen.address", "::1:50051"),
        ("listen.address", "127.0.0.1:99999"),
        ("listen.address", "unix:"),
        ("telemetry.metrics_address", "unix:/run/metrics"),
        ("telemetry.log_format", "xml"),
        ("web.public_url", "http://news.example.com"),
        ("web.public_url", "http://localhost.example"),
        ("web.public_url", "ftp://127.0.0.1"),
        ("web.public_url", "https://"),
        ("web.public_url", "https://jane@news.example.com"),
        ("web.public_url", "https://news.example.com/?a=b"),
    ],
)
def test_a_value_outside_its_bounds_is_refused(name: str, value: str) -> None:
    assert name in _violations(flags={name: value})


@pytest.mark.parametrize(
    "url",
    [
        "https://news.example.com/heed",
        "http://127.0.0.1:8080",
        "http://localhost",
        "http://[::1]:1",
    ],
)
def test_links_begin_with_https_or_stay_on_this_host(url: str) -> None:
    assert load(flags={"web.public_url": url}, variables={}).config.web.public_url == url


def test_every_wrong_name_and_value_of_one_start_is_told_at_once() -> None:
    said = _violations(flags={"drain.grace_seconds": "-1", "listen.address": "nowhere"})

    assert set(said) == {"drain.grace_seconds", "listen.address"}


def test_a_certificate_without_its_key_is_refused() -> None:
    assert "go together" in _violations(flags={"tls.certificate_file": "server.pem"})["tls"]


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    file = tmp_path / "missing.toml"

    assert "cannot be read" in _violations(file=file)[str(file)]


@pytest.mark.parametrize("source", ["flag", "variable", "file"])
def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path: Path, source: str) -> None:
    secret = tmp_path / "url"
    secret.write_text(URL + "\n")

    match source:
        case "flag":
            effective = load(flags={"storage.url_file": str(secret)}, variables={})
        case "variable":
            effective = load(flags={}, variables={"HEED_STORAGE_URL_FILE": str(secret)})
        case _:
            file = _toml(tmp_path, f'[storage]\nurl_file = "{secret}"\n')
            effective = load(flags={}, variables={}, file=file)

    assert effective.config.storage.url.get_secret_value() == URL
    assert "(a file)" in effective.origins["storage.url"]


def test_a_secret_given_beside_its_file_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text(URL)

    said = _violations(variables={"HEED_STORAGE_URL": URL, "HEED_STORAGE_URL_FILE": str(secret)})

    assert "given twice" in said["storage.url"]


def _every_text_of(effective: Effective) -> str:
    shown = [repr(effective), repr(effective.config), repr(effective_values(effective.config))]
    return "\n".join([*shown, *effective_lines(effective)])


def test_no_secret_is_shown_anywhere() -> None:
    effective = load(flags={"storage.url": URL}, variables={})

    assert "hunter2" not in _every_text_of(effective)
    assert "swordfish" not in _every_text_of(effective)
    assert masked_url(URL) == "postgresql+asyncpg://heed:***@db.example/heed?***"


def test_a_violation_repeats_no_secret(tmp_path: Path) -> None:
    file = _toml(tmp_path, '[storage]\nurl = ["postgresql://heed:hunter2@h/d"]\n')

    assert "hunter2" not in repr(_violations(file=file))


def test_what_is_printed_can_be_read_again(tmp_path: Path) -> None:
    effective = load(flags={"drain.grace_seconds": "9", "auth.required": "true"}, variables={})

    file = _toml(tmp_path, "\n".join(effective_lines(effective)))

    assert load(flags={}, variables={}, file=file).config == effective.config


def test_every_setting_says_what_it_means_and_has_names_of_its_own() -> None:
    names = list(settings())

    assert all(settings()[name].description for name in names)
    assert len({flag_of(name) for name in names}) == len(names)
    assert len({variable_of(name) for name in names}) == len(names)


def test_docs_settings_md_is_what_the_model_says() -> None:
    assert (DOCS / "settings.md").read_text() == settings_page()


@pytest.mark.parametrize(
    ("text", "is_loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("[::ffff:127.0.0.1]:1", True),
        ("unix:/run/heed.sock", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        (":1", False),
        ("10.0.0.1:1", False),
        ("[::ffff:10.0.0.1]:1", False),
        ("heed.example:1", False),
        ("localhost.example:1", False),
    ],
)
def test_only_addresses_of_this_host_are_loopback(text: str, is_loopback: bool) -> None:
    address = parse_address(text)

    assert address.is_loopback is is_loopback
    assert parse_address(str(address)) == address


def _listening(text: str, **flags: object) -> Config:
    return load(flags={"listen.address": text, **flags}, variables={}).config


CERTIFICATE = {"tls.certificate_file": "server.pem", "tls.private_key_file": "server.key"}


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        ({}, {"tls.certificate_file"}),
        ({"auth.required": "true"}, {"tls.certificate_file"}),
        ({**CERTIFICATE, "auth.required": "false"}, {"auth.required"}),
        ({"auth.required": "false"}, {"tls.certificate_file", "auth.required"}),
    ],
)
def test_beyond_loopback_both_tls_and_keys_are_needed(
    flags: dict[str, object], missing: set[str]
) -> None:
    assert _missing(_listening("127.0.0.1:1,0.0.0.0:50051", **flags)) == missing


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("127.0.0.1:1", {}),
        ("unix:/run/heed.sock", {}),
        ("0.0.0.0:1", CERTIFICATE),
        ("0.0.0.0:1", {"listen.insecure": "true"}),
    ],
)
def test_a_safe_listener_or_one_that_is_meant_is_let_be(
    text: str, flags: dict[str, object]
) -> None:
    assert _missing(_listening(text, **flags)) == set()


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        ({}, {"dashboard.address"}),
        ({"auth.required": "true"}, {"dashboard.address"}),
        ({"listen.insecure": "true"}, {"dashboard.address"}),
        ({"dashboard.behind_proxy": "true"}, set[str]()),
        (CERTIFICATE, set[str]()),
    ],
)
def test_beyond_loopback_the_dashboard_has_tls_here_or_at_a_proxy(
    flags: dict[str, object], missing: set[str]
) -> None:
    said = {"dashboard.address": "0.0.0.0:8082", **flags}

    assert _missing(_listening("127.0.0.1:1", **said)) == missing


def _missing(config: Config) -> set[str]:
    """What must be set for these listeners to be let be."""
    try:
        require_safe_listening(config)
    except InvalidArgumentError as refused:
        return {violation.field for violation in refused.violations}
    return set()


@pytest.mark.parametrize(
    ("text", "flags", "required"),
    [
        ("127.0.0.1:1", {}, None),
        ("127.0.0.1:1", {"auth.required": "true"}, True),
        ("127.0.0.1:1", {"auth.required": "false"}, False),
        ("0.0.0.0:1", CERTIFICATE, True),
        ("0.0.0.0:1", {"listen.insecure": "true"}, None),
        ("0.0.0.0:1", {"listen.insecure": "true", "auth.required": "true"}, True),
    ],
)
def test_whether_keys_are_required(
    text: str, flags: dict[str, object], required: bool | None
) -> None:
    config = _listening(text, **flags)

    assert keys_are_required(config) is required


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(ListenConfig(), "insecure", True)  # noqa: B010 - a type checker refuses the assignment

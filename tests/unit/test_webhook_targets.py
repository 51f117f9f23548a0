"""The file of targets is read whole or refused whole, and says what is wrong in it."""

import os
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest

from heed.errors import InvalidArgumentError
from heed.model import Channel
from heed_server.webhooks import TargetsFile
from heed_server.webhooks.events import EventType
from heed_server.webhooks.signing import parse_secret, signed_headers
from heed_server.webhooks.targets import Target, parse_targets
from tests.support.receiver import SECRET

GOOD = {
    "name": '"crm"',
    "tenant": '"default"',
    "url": '"https://crm.example.com/hooks?token=x"',
    "secret_file": '"crm.secret"',
    "events": '["preference.*", "subject.erased"]',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "crm.secret").write_text(f"# the new one first\n{SECRET}\n\n")
    return tmp_path


def toml(**other: str | None) -> str:
    said = {name: value for name, value in {**GOOD, **other}.items() if value is not None}
    return "[[target]]\n" + "".join(f"{name} = {value}\n" for name, value in said.items())


def parse(folder: Path, text: str, *networks: str) -> tuple[Target, ...]:
    return parse_targets(
        text, source=folder / "targets.toml", private_networks=[ip_network(one) for one in networks]
    )


def test_a_target_is_read_with_its_secret(folder: Path) -> None:
    (target,) = parse(
        folder, toml(channels='["email", "In-App"]', topics='["news"]', begin='"first"')
    )

    assert (target.name, target.tenant, target.begins_first) == ("crm", "default", True)
    assert target.secrets == (parse_secret(SECRET),)
    assert target.wanted.events == {EventType.PREFERENCE_CHANGED, EventType.SUBJECT_ERASED}
    assert target.wanted.channels == {Channel.EMAIL, Channel.IN_APP}
    shown = repr(target)
    assert "token" not in shown
    assert SECRET[6:20] not in shown


def test_all_events_are_meant_by_a_star(folder: Path) -> None:
    (target,) = parse(folder, toml(events='["*"]'))

    assert EventType.DEADLINE_NEAR in target.wanted.events
    assert EventType.WEBHOOK_TEST not in target.wanted.events


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (toml(url='"http://crm.example.com/"'), "is not https"),
        (toml(url='"http://localhost/"'), "is not https"),
        (toml(url='"https://user:pass@crm.example.com/"'), "without a user"),
        (toml(url='"https:///hooks"'), "without a user"),
        (toml(url='"https://crm.example.com/ hooks"'), "without a user"),
        (toml(url='"https://crm.example.com/#x"'), "fragment"),
        (toml(url='"https://crm.example.com:0/"'), "fragment, or a port"),
        (toml(url='"https://crm.example.com:99999/"'), "Port out of range"),
        (toml(url='"https://10.0.0.1/"'), "webhooks.private_networks"),
        (toml(url='"https://127.1/"'), "webhooks.private_networks"),
        (toml(url='"https://2130706433/"'), "webhooks.private_networks"),
        (toml(url='"https://[::ffff:127.0.0.1]/"'), "webhooks.private_networks"),
        (toml(url='"https://[fe80::1]/"'), "webhooks.private_networks"),
        (toml(url='"http://127.0.0.1/"'), "webhooks.private_networks"),
        (toml(url='"file:///etc/passwd"'), "without a user"),
        (toml(url='"gopher://crm.example.com/"'), "is not https"),
        (toml(events='["preference.changd"]'), "none of: preference.changed"),
        (toml(events='["webhook.test"]'), "none of"),
        (toml(events="[]"), "length"),
        (toml(channels='["emial"]'), "did you mean 'email'"),
        (toml(channels='["any"]'), "leave channels out"),
        (toml(topics='["News"]'), "topic"),
        (toml(name='"CRM"'), "name"),
        (toml(tenant=None), "tenant"),
        (toml(secret_file='"other.secret"'), "No such file"),
        (toml(begin='"last"'), "begin"),
        (toml(url_file='"x"'), "url_file"),
        (toml() + toml(), "twice"),
        ("[[target]", "Expected"),
    ],
    ids=lambda value: value[-30:] if isinstance(value, str) else "",
)
def test_what_is_wrong_is_refused_and_named(folder: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        parse(folder, text)

    assert said.lower() in refused.value.message.lower()
    assert refused.value.violations[0].field == "webhooks.targets_file"


def test_loopback_is_for_whoever_names_it(folder: Path) -> None:
    (target,) = parse(folder, toml(url='"http://127.0.0.1:8080/"'), "127.0.0.0/8")

    assert target.url == "http://127.0.0.1:8080/"


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("", "needs 1 to 4 secrets"),
        ("\n".join([SECRET] * 5), "needs 1 to 4 secrets"),
        ("whsec_" + "A" * 28, "21 bytes, not 24 to 64"),
        ("whsec_" + "A" * 100, "75 bytes, not 24 to 64"),
        ("whsec_!!!", "not base64"),
        ("hunter2hunter2hunter2hunter2", "does not begin with whsec_"),
        ("x" * 5_000, "larger than 4096"),
    ],
    ids=range(7),
)
def test_a_secret_that_is_none_is_refused_and_not_shown(
    folder: Path, secret: str, said: str
) -> None:
    (folder / "crm.secret").write_text(secret)

    with pytest.raises(InvalidArgumentError) as refused:
        parse(folder, toml())

    assert said in refused.value.message
    assert "hunter2" not in refused.value.message


def later(file: Path, text: str) -> None:
    """Change a file, at another time whatever the clock's grain."""
    before = file.stat().st_mtime_ns
    file.write_text(text)
    os.utime(file, ns=(before + 1_000_000, before + 1_000_000))


@pytest.mark.parametrize("name", ["targets.toml", "crm.secret"])
def test_what_changes_is_read_again_and_what_is_wrong_leaves_what_was_good(
    folder: Path, name: str
) -> None:
    file = folder / "targets.toml"
    file.write_text(toml())
    targets = TargetsFile(file)
    before = targets.targets
    targets.refresh()
    assert targets.targets is before

    later(folder / name, "nonsense [")
    targets.refresh()
    assert targets.targets == before

    later(folder / "crm.secret", SECRET.replace("AAEC", "BBEC"))
    later(file, toml(url='"https://other.example.com/"'))
    targets.refresh()
    assert targets.targets[0].url == "https://other.example.com/"
    assert targets.targets[0].secrets != before[0].secrets


def test_a_file_that_goes_leaves_what_was_good(folder: Path) -> None:
    file = folder / "targets.toml"
    file.write_text(toml())
    targets = TargetsFile(file)
    file.rename(folder / "away")

    targets.refresh()

    assert targets.of_tenant("default") == targets.targets
    assert targets.of_tenant("other") == ()
    (folder / "away").rename(file)
    targets.refresh()
    assert len(targets.targets) == 1


def test_a_server_does_not_start_by_a_file_that_is_wrong(folder: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        TargetsFile(folder / "targets.toml")


@pytest.mark.parametrize("change", [lambda b: b + b" ", lambda b: b[:-1]])
def test_another_body_has_another_signature(change: Callable[[bytes], bytes]) -> None:
    secrets = [parse_secret(SECRET)]
    signed = signed_headers("id-1", b"{}", at_second=1, secrets=secrets)

    assert signed != signed_headers("id-1", change(b"{}"), at_second=1, secrets=secrets)
    assert signed != signed_headers("id-2", b"{}", at_second=1, secrets=secrets)
    assert signed != signed_headers("id-1", b"{}", at_second=2, secrets=secrets)
    assert signed["webhook-signature"].startswith("v1,")

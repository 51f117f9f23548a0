"""docs/deadlines.md tells the policies that are shipped, and its file of policies is one."""

import re
from pathlib import Path

from heed_server.deadlines import policies_of
from heed_server.deadlines.policies import Policy
from tests.docs.pages import DOCS

PAGE = (DOCS / "deadlines.md").read_text()
ROW = re.compile(r"^\| `([a-z-]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", re.MULTILINE)


def test_every_policy_is_told_as_it_is() -> None:
    told = {name: (where, channels, time) for name, where, channels, time in ROW.findall(PAGE)}

    assert told == {name: _row(policy) for name, policy in policies_of().policies.items()}


def test_the_defaults_are_those_that_the_page_says() -> None:
    shipped = policies_of()

    assert set(shipped.default) == shipped.policies.keys() - {"gdpr-answer"}


def test_the_file_of_the_page_is_read(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "policies.toml"
    file.write_text(block)

    own = policies_of(file)

    assert own.version == "2026-11-27+2027-01"
    assert {"house", "quebec", "can-spam"} <= own.policies.keys()


def _row(policy: Policy) -> tuple[str, str, str]:
    places = ["everywhere" if place == "*" else place for place in policy.jurisdictions]
    channels = [channel.name.lower() for channel in policy.channels]
    since = "" if policy.since is None else f", since {policy.since}"
    return ", ".join(places), ", ".join(channels) or "all", _time(policy) + since


def _time(policy: Policy) -> str:
    if policy.hours is not None:
        return f"{policy.hours} hours" if policy.hours else "at once"
    if policy.months is not None:
        return f"{policy.months} month"
    words = "working days" if policy.calendar == "NZ" else "business days"
    first = ", the first on the day itself" if policy.with_first_day else ""
    last = ", till the last begins" if policy.without_last_day else ""
    return f"{policy.business_days} {words}{first}{last}"

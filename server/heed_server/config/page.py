"""The settings as text: docs/settings.md, and the effective ones with where each came from.

Law: a secret never stands in either; of a URL what `heed_server.config.masking` hides.

`python -m heed_server.config.page > docs/settings.md` writes the page again.
"""

import sys
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from heed_server.config.masking import masked_url
from heed_server.config.model import Config, is_secret, settings
from heed_server.config.sources import Effective, flag_of, variable_of

_INTRODUCTION = """\
# Settings

<!-- Made by `python -m heed_server.config.page > docs/settings.md`; a test compares them. -->

Every setting has three names: `--storage-data-dir PATH` as a flag of `heed-server`,
`HEED_STORAGE_DATA_DIR=PATH` as a variable, and `data_dir` in the section `[storage]` of heed.toml.
A flag wins over a variable, a variable over the file, and the file over the default.
The file is the one that `--config` names, else `heed.toml` in the working directory, if any.
A name that no setting has is refused in every source, with the nearest name.
`HEED_TEST_*` and `HEED_BENCH_*` belong to the tests, and the variables of the `heed` command, such
as `HEED_ADDRESS` and `HEED_API_KEY`, to that; the server reads none of them and lets them be.

A setting marked *secret* may stand in a file of its own: `--storage-url-file PATH`,
`HEED_STORAGE_URL_FILE=PATH`, or `url_file` in the section.
`heed-server serve --print-config` prints the settings in force, secrets masked, and where each came
from; they are logged once at the start too.

Short flags: `--listen` is `--listen-address`, `--database` is `--storage-url`, `--data-dir` is
`--storage-data-dir`, `--insecure` is `--listen-insecure`, and `--workers` is `--listen-workers`.
A flag that is a yes or no may stand alone, for yes; write `--listen-reflection=false` for no.
Lists are written with commas.
"""


def settings_page() -> str:
    """Return docs/settings.md."""
    lines = [_INTRODUCTION]
    for section, declared in Config.model_fields.items():
        concern = (declared.annotation.__doc__ or "").strip() if declared.annotation else ""
        lines += [f"## {section}", "", concern, ""]
        lines += ["| setting | default | meaning | higher costs | lower costs |"]
        lines += ["|---|---|---|---|---|"]
        fields = {name: field for name, field in settings().items() if _section(name) == section}
        lines += [_row(name, field) for name, field in fields.items()]
        lines += [""]
    return "\n".join(lines).rstrip() + "\n"


def effective_lines(effective: Effective) -> list[str]:
    """Return the settings in force as heed.toml would have them, each with its origin."""
    lines: list[str] = []
    for name, value in effective_values(effective.config).items():
        section = _section(name)
        if f"[{section}]" not in lines:
            lines += ["", f"[{section}]"] if lines else [f"[{section}]"]
        field = name.removeprefix(section + ".")
        given = f"# {field} is unset" if value is None else f"{field} = {_in_toml(value)}"
        lines.append(f"{given}  # {effective.origins[name]}")
    return lines


def effective_values(config: Config) -> dict[str, object]:
    """Return the value of every setting by name, in plain types, secrets masked."""
    values: dict[str, object] = {}
    for name in settings():
        section, field = name.split(".", 1)
        values[name] = _plain(getattr(getattr(config, section), field))
    return values


def _row(name: str, field: FieldInfo) -> str:
    section = _section(name)
    costs = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    meaning = (field.description or "") + (" *Secret.*" if is_secret(name) else "")
    bounds = " to ".join(
        f"{bound:,}" for part in field.metadata if (bound := _bound(part)) is not None
    )
    cells = (
        f"`{flag_of(name)}`<br>`{variable_of(name)}`<br>`{name.removeprefix(section + '.')}`",
        f"`{_in_toml(_plain(field.default))}`" + (f"<br>{bounds}" if bounds else ""),
        meaning,
        str(costs.get("higher") or "-"),
        str(costs.get("lower") or "-"),
    )
    return "| " + " | ".join(cells) + " |"


def _bound(part: object) -> float | None:
    """The number of a `Ge` or `Le`, which pydantic keeps beside a field."""
    found: float | None = getattr(part, "ge", getattr(part, "le", None))
    return found


def _section(name: str) -> str:
    return name.split(".", 1)[0]


def _plain(value: object) -> object:
    if isinstance(value, SecretStr):
        return masked_url(value.get_secret_value())
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Path):
        return str(value)
    return value


def _in_toml(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_in_toml(part) for part in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


if __name__ == "__main__":
    sys.stdout.write(settings_page())

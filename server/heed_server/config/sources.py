"""Reads the settings: flags over `HEED_*` variables over heed.toml over defaults.

Laws:
- A name that no setting has is refused in every source, with the nearest name that there is: a
  mistyped limit that is silently ignored is found when it is needed.
- A secret may stand in a file: `HEED_STORAGE_URL_FILE`, `url_file` in heed.toml.
- Where each value came from is known, and printed.
"""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from heed.errors import FieldViolation, InvalidArgumentError
from heed_server.config.model import Config, is_secret, settings

DEFAULT_FILE = Path("heed.toml")
"""Read when it is there and no other file is named."""

FILE_BYTES_MAX = 1 << 20
"""A larger heed.toml, or file of a secret, is refused: somebody named the wrong file."""

VARIABLE_PREFIX = "HEED_"

_FILE_SUFFIX = "_file"
# Variables that begin like ours and belong to others: the `heed` command, and compose.yaml.
_VARIABLES_OF_OTHERS = frozenset(
    {
        "HEED_ADDRESS",
        "HEED_API_KEY",
        "HEED_API_KEY_FILE",
        "HEED_CA_FILE",
        "HEED_INSECURE",
        "HEED_POSTGRES_PASSWORD",
        "HEED_TENANT",
        "HEED_TLS_CERTIFICATE",
        "HEED_TLS_KEY",
        "HEED_TLS_ROOTS",
        "HEED_TLS_SERVER_NAME",
    }
)
_PREFIXES_OF_OTHERS = ("HEED_TEST_", "HEED_BENCH_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """The settings in force, and where each came from."""

    config: Config
    origins: Mapping[str, str]
    """By name (`storage.url`): `--storage-url`, `HEED_STORAGE_URL`, `heed.toml` or `default`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """One value in one source."""

    value: object
    origin: str


def load(
    *, flags: Mapping[str, object], variables: Mapping[str, str], file: Path | None = None
) -> Effective:
    """Return the settings that these sources give.

    `flags` are by name: `{"listen.address": "127.0.0.1:50051"}`. `file` None means `DEFAULT_FILE`,
    if it is there; a file that is named must be.

    Raises:
        InvalidArgumentError: with one violation for each name or value that is wrong.
    """
    violations: list[FieldViolation] = []
    given = {
        **_from_file(file, violations),
        **_from_variables(variables, violations),
        **_from_flags(flags, violations),
    }
    if violations:
        raise _refusal(violations)
    origins = dict.fromkeys(settings(), "default")
    origins |= {name: found.origin for name, found in given.items()}
    return Effective(config=_checked(given), origins=origins)


def flag_of(name: str) -> str:
    """`storage.data_dir` is `--storage-data-dir`."""
    return "--" + name.replace(".", "-").replace("_", "-")


def variable_of(name: str) -> str:
    """`storage.data_dir` is `HEED_STORAGE_DATA_DIR`."""
    return VARIABLE_PREFIX + name.replace(".", "_").upper()


def nearest(name: str, names: Iterable[str]) -> str:
    """Say which known name is nearest, for the end of a message; empty if none is near."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _checked(given: Mapping[str, _Found]) -> Config:
    nested: dict[str, dict[str, object]] = {}
    for name, found in given.items():
        section, field = name.split(".", 1)
        nested.setdefault(section, {})[field] = found.value
    try:
        return Config.model_validate(nested)
    except ValidationError as error:
        violations: list[FieldViolation] = []
        for detail in error.errors(include_url=False, include_input=False):
            name = ".".join(str(part) for part in detail["loc"][:2])
            said = detail["msg"].removeprefix("Value error, ")
            origin = f" (from {given[name].origin})" if name in given else ""
            violations.append(FieldViolation(name, said[:1].lower() + said[1:] + origin))
        raise _refusal(violations) from None


def _from_flags(flags: Mapping[str, object], violations: list[FieldViolation]) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    for name, value in flags.items():
        _keep(found, name, _Found(value=value, origin=flag_of(name)), violations)
    return found


def _from_variables(
    variables: Mapping[str, str], violations: list[FieldViolation]
) -> dict[str, _Found]:
    names = {variable_of(name): name for name in _accepted()}
    found: dict[str, _Found] = {}
    for variable, value in variables.items():
        if not variable.startswith(VARIABLE_PREFIX) or _is_of_others(variable):
            continue
        if variable not in names:
            said = f"no setting has this variable{nearest(variable, names)}"
            violations.append(FieldViolation(variable, said))
            continue
        _keep(found, names[variable], _Found(value=value, origin=variable), violations)
    return found


def _from_file(file: Path | None, violations: list[FieldViolation]) -> dict[str, _Found]:
    if file is None:
        if not DEFAULT_FILE.exists():
            return {}
        file = DEFAULT_FILE
    try:
        sections = tomllib.loads(_text_of(file))
    except (OSError, ValueError) as error:
        violations.append(FieldViolation(str(file), f"cannot be read: {error}"))
        return {}
    found: dict[str, _Found] = {}
    for section, fields in sections.items():
        if not isinstance(fields, dict):
            said = f"stands in no section{nearest(section, settings())}"
            violations.append(FieldViolation(f"{file}: {section}", said))
            continue
        for field, value in fields.items():
            _keep(found, f"{section}.{field}", _Found(value=value, origin=str(file)), violations)
    return found


def _keep(
    found: dict[str, _Found], name: str, given: _Found, violations: list[FieldViolation]
) -> None:
    """Add one value, read from its file if it names one."""
    if name not in _accepted():
        said = f"no setting has this name{nearest(name, settings())} (from {given.origin})"
        violations.append(FieldViolation(name, said))
        return
    if name not in settings():
        name = name.removesuffix(_FILE_SUFFIX)
        try:
            text = _text_of(Path(str(given.value))).strip()
        except (OSError, ValueError) as error:
            violations.append(FieldViolation(name, f"{given.origin} cannot be read: {error}"))
            return
        given = _Found(value=text, origin=f"{given.origin} (a file)")
    if name in found:
        said = f"is given twice, by {found[name].origin} and by {given.origin}"
        violations.append(FieldViolation(name, said))
        return
    found[name] = given


def _accepted() -> frozenset[str]:
    """Every name that a source may use: the settings, and a file's name for each secret."""
    secrets = {name + _FILE_SUFFIX for name in settings() if is_secret(name)}
    return frozenset(settings()) | secrets


def _is_of_others(variable: str) -> bool:
    return variable in _VARIABLES_OF_OTHERS or variable.startswith(_PREFIXES_OF_OTHERS)


def _text_of(file: Path) -> str:
    with file.open("rb") as opened:
        content = opened.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise ValueError(f"{os.fspath(file)} is larger than {FILE_BYTES_MAX} bytes")
    return content.decode("utf-8")


def _refusal(violations: list[FieldViolation]) -> InvalidArgumentError:
    # One, as every refusal names one; whoever tells it tells those behind it too.
    first = f"{violations[0].field}: {violations[0].description}"
    return InvalidArgumentError(f"the settings are wrong: {first}", violations=violations)

"""What a format is: how it is told, and what its records become.

Adding one: a module with its `Format`s, an entry in `heed.formats.registry`, a sample under
tests/cases/imports, a row in docs/imports.md; the tests hold the last two.
"""

from collections.abc import Callable
from dataclasses import dataclass

from heed.formats.rows import Convert, Options, UnusableInputError
from heed.formats.sample import Sample, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One kind of file that a vendor writes."""

    name: str
    """What `--as` takes: `sendgrid-bounces`."""
    vendor: str
    """Whose: the source of an import, unless another is named."""
    file: str
    """What the file is, in docs/imports.md."""
    becomes: str
    """What its records become, in docs/imports.md."""
    fits: Callable[[Sample], bool]
    """Whether a file that begins so can be this. Where several fit, the operator says which."""
    bind: Callable[[Sample, Options], Convert]
    """Makes what reads this very file. Raises UnusableInputError when the file has not what this
    format needs, or the options leave open what its records become."""
    columns: tuple[str, ...] = ()
    """What the cells are where there is no header; the first also names a bare JSON text."""
    depends_on_day: bool = False
    """Whether rows may depend on the day of the import (`Options.day_end`)."""


def need(sample: Sample, format_name: str, *keys: str) -> None:
    """Return if a file has these columns or members, or no records at all.

    Raises:
        UnusableInputError: it lacks one.
    """
    if sample.keys or sample.rows or sample.values:
        missing = [key for key in keys if key not in sample.keys]
        if missing:
            has = ", ".join(sorted(sample.keys)[:20]) or "none"
            raise UnusableInputError(
                f"{format_name} needs {', '.join(missing)}; the file has the columns {has}"
            )


def has_exactly(*keys: str) -> Callable[[Sample], bool]:
    """Return the test whether a file has these columns or members and no other."""
    wanted = frozenset(keys)
    return lambda sample: sample.keys == wanted


def has_all(*keys: str) -> Callable[[Sample], bool]:
    """Return the test whether a file has these columns or members among others."""
    wanted = frozenset(keys)
    return lambda sample: wanted <= sample.keys


def has_json(*keys: str, other: frozenset[str] = frozenset()) -> Callable[[Sample], bool]:
    """Return the test whether a file is JSON of objects with these members, perhaps others."""
    wanted = frozenset(keys)
    return lambda sample: (
        sample.shape is not Shape.TABLE and wanted <= sample.keys <= wanted | other
    )

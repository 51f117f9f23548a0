"""Every format, and which one a file is of.

Laws:
- A file is told by its content. Where several formats fit the same bytes, none is chosen.
- The order here is that of docs/imports.md, which a test compares with it.
"""

from typing import Final

from heed.formats import (
    cloudflare,
    generic,
    hashes,
    listmonk,
    mailchimp,
    mailgun,
    postmark,
    sendgrid,
    ses,
    telnyx,
    twilio,
)
from heed.formats.format import Format
from heed.formats.rows import UnusableInputError
from heed.formats.sample import Sample, Shape

FORMATS: Final[tuple[Format, ...]] = (
    *ses.FORMATS,
    *sendgrid.FORMATS,
    *mailgun.FORMATS,
    *mailchimp.FORMATS,
    *listmonk.FORMATS,
    *postmark.FORMATS,
    *twilio.FORMATS,
    *telnyx.FORMATS,
    *cloudflare.FORMATS,
    *generic.FORMATS,
    *hashes.FORMATS,
)

_BY_NAME: Final = {one.name: one for one in FORMATS}


def format_of(sample: Sample, name: str, member: str) -> Format:
    """Return the format of a file: the one named, else the only one that fits.

    Raises:
        UnusableInputError: there is no format of that name, or none fits, or several do.
    """
    where = f"{member}: " if member else ""
    if name:
        named = _BY_NAME.get(name)
        if named is None:
            raise UnusableInputError(
                f"there is no format {name[:40]!r}; there are {', '.join(_BY_NAME)}"
            )
        return named
    fitting = [one for one in FORMATS if one.fits(sample)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = [one.name for one in fitting]
        raise UnusableInputError(
            f"{where}these bytes fit {', '.join(names[:-1])} and {names[-1]}, which become "
            "different things; say which it is: --as NAME"
        )
    raise UnusableInputError(
        f"{where}no format that heed knows looks like this: {_look(sample)}. If it is one of "
        f"{', '.join(_BY_NAME)}, say which: --as NAME; else name its columns: "
        "--as generic --column address=NAME --cause CAUSE"
    )


def _look(sample: Sample) -> str:
    """Describe a file without quoting anybody's data."""
    if sample.shape is not Shape.TABLE:
        return f"{sample.shape.value} with {_names(sorted(sample.keys)) or 'no members'}"
    if sample.header is not None:
        return f"a table with the columns {_names(list(sample.names))}"
    cells = len(sample.rows[0]) if sample.rows else 0
    return f"a table of {cells} columns without a header"


def _names(names: list[str]) -> str:
    shown = ", ".join(name[:40] for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown  # noqa: PLR2004

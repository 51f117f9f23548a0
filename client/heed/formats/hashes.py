"""Lists of hashed addresses, which cannot be imported.

heed knows a subject by a keyed hash of the normalised address, which nobody can make of another
hash. Saying so is better than reading such a list as something it is not.
"""

from typing import Final

from heed.formats.format import Format
from heed.formats.rows import Convert, Options, UnusableInputError
from heed.formats.sample import Sample, looks_like_hash


def _fits(sample: Sample) -> bool:
    return looks_like_hash(sample.first_text()) and (
        sample.header is None or len(sample.header) == 1
    )


def _bind(_sample: Sample, _options: Options) -> Convert:
    raise UnusableInputError(
        "this is a list of hashed addresses; heed cannot make a subject of a hash. Ask its owner "
        "for the addresses, or hash the addresses of your own list the same way (trimmed; "
        "lower-cased or not, ask, never guess), keep those that the list has, and import them: "
        "heed import FILE --as generic --cause opt_out"
    )


FORMATS: Final = (
    Format(
        name="hashes",
        vendor="",
        file="Hashed addresses (MD5, SHA-1, SHA-256, SHA-512 in hexadecimal)",
        becomes="refused: no subject can be made of a hash",
        fits=_fits,
        bind=_bind,
        columns=("hash",),
    ),
)

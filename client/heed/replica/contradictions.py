"""What a cache that verifies keeps beside its index: the last checkpoint that it proved, and what
was told or signed against it.

    proved              the checkpoint, as it was signed; an index made anew is held to it too
    disproved-….txt     what did not fit, with the checkpoints and roots that say so

They are for their user alone (0600), and hold nothing about people. The second is never read here.
"""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

CONTRADICTIONS_MAX: Final = 16
"""So many are kept, the first ones; whoever repeats a lie adds none."""

_PROVED: Final = "proved"


def read_proved(folder: Path) -> str:
    """Return the last checkpoint that was proved; empty: none is kept.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return (folder / _PROVED).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def keep_proved(folder: Path, checkpoint: str) -> None:
    """Put a checkpoint in the place of the last. A crash leaves the one or the other.

    Raises:
        OSError: it cannot be written.
    """
    _write(folder / _PROVED, checkpoint)


def keep_contradiction(folder: Path, what: str, parts: Sequence[str]) -> None:
    """Keep what was told and does not fit; the same again is kept once.

    Raises:
        OSError: it cannot be written.
    """
    text = "\n".join((what, *(part for part in parts if part)))
    name = f"disproved-{sha256(text.encode()).hexdigest()[:16]}.txt"
    kept = {path.name for path in folder.glob("disproved-*.txt")}
    if name not in kept and len(kept) < CONTRADICTIONS_MAX:
        _write(folder / name, text)


def _write(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)

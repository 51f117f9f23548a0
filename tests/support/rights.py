"""Which rights the contract says that its methods need; descriptors carry no comments, protos do."""

import re
from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[2] / "protos" / "heed" / "v1"
_NEEDS = re.compile(r"Needs the right `(\w+)`")


def comments_of_methods() -> dict[str, str]:
    """The comment above each method, on one line."""
    said: dict[str, str] = {}
    for file in sorted(_FOLDER.glob("*_service.proto")):
        comment = ""
        for line in file.read_text(encoding="utf-8").splitlines():
            stripped = line.strip()
            if stripped.startswith("//"):
                comment += " " + stripped.removeprefix("//").strip()
                continue
            if stripped.startswith("rpc "):
                said[stripped.split()[1].partition("(")[0]] = comment
            comment = ""
    return said


def rights_of_methods() -> dict[str, str]:
    """The right that each comment names; "the same rights" are those of the method before."""
    rights: dict[str, str] = {}
    before = ""
    for name, comment in comments_of_methods().items():
        found = _NEEDS.search(comment)
        if found is not None:
            before = found[1]
        elif "same rights" not in comment:
            raise AssertionError(f"the comment of {name} names no right")
        rights[name] = before
    return rights

"""Generates generated/heed_proto/v1 from protos/heed/v1, or says what is out of step.

The contract's package is `heed.v1` and its files are `heed/v1/*.proto`, in every language.
In Python `heed` is the library, so the generated modules live in `heed_proto.v1`: their imports
of one another are rewritten, the names in the descriptors are not.

Runs in .venv-gen, whose grpcio-tools is old enough for every protobuf and grpcio that users have.
"""

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
GENERATED = ROOT / "generated" / "heed_proto" / "v1"
INIT = '''\
"""Generated from protos/heed/v1 by `make proto`: never edited."""
'''


def main() -> int:
    """Writes the generated code, or with --check compares it; 1 when it is out of step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, show what differs")
    check: bool = parser.parse_args().check

    fresh = _generate()
    present = {
        path.name: path.read_text()
        for path in GENERATED.glob("*")
        if path.suffix in {".py", ".pyi"}
    }
    if check:
        return _report(present, fresh)

    GENERATED.mkdir(parents=True, exist_ok=True)
    for name in present.keys() - fresh.keys():
        (GENERATED / name).unlink()
    for name, text in fresh.items():
        # An unchanged file keeps its time, so that nothing that watches it wakes.
        if present.get(name) != text:
            (GENERATED / name).write_text(text)
    return 0


def _generate() -> dict[str, str]:
    sources = sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.glob("heed/v1/*.proto"))
    if not sources:
        sys.exit("no contract in protos/heed/v1, nothing to generate from")

    with tempfile.TemporaryDirectory() as folder:
        outputs = ("python", "grpc_python", "mypy", "mypy_grpc")
        subprocess.run(
            [
                sys.executable,
                *("-m", "grpc_tools.protoc", f"--proto_path={PROTOS}"),
                *(f"--{output}_out={folder}" for output in outputs),
                *("--mypy_opt=quiet", "--mypy_grpc_opt=quiet"),
                *sources,
            ],
            check=True,
            # The plugins of mypy-protobuf are found beside the interpreter.
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            },
        )
        written = {
            path.name: _with_own_imports(path.read_text())
            for path in Path(folder, "heed", "v1").iterdir()
        }
    # protoc writes a stub module for every file, also for one without a service.
    empty = {
        name
        for name in written
        if name.removesuffix("i").endswith("_pb2_grpc.py")
        and "Servicer" not in written[name.removesuffix("i")]
    }
    kept = {name: text for name, text in sorted(written.items()) if name not in empty}
    return {"__init__.py": INIT, **kept}


def _with_own_imports(text: str) -> str:
    return re.sub(r"^(from|import) heed\.v1\b", r"\1 heed_proto.v1", text, flags=re.MULTILINE)


def _report(present: dict[str, str], fresh: dict[str, str]) -> int:
    differing = [
        name
        for name in sorted(present.keys() | fresh.keys())
        if present.get(name) != fresh.get(name)
    ]
    for name in differing:
        lines = difflib.unified_diff(
            present.get(name, "").splitlines(),
            fresh.get(name, "").splitlines(),
            f"generated/heed_proto/v1/{name}",
            "what protos/heed/v1 generates",
            lineterm="",
            n=1,
        )
        print("\n".join(list(lines)[:20]))
    if differing:
        print(f"{len(differing)} generated files are out of step with protos/: run make proto")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())

"""Builds examples/: generates Go, Java and TypeScript from the contract with plain protoc.

A language whose toolchain is absent, or too old, is skipped with the reason. Versions are pinned
where each language pins them: go.sum, pom.xml, package-lock.json. What is downloaded and compiled
stays in the tree's .cache; what is generated is never committed.

Runs in .venv-gen, whose grpcio-tools has a protoc. It knows no Java, so Maven brings the same
protoc for that.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CACHE: Final = ROOT / ".cache"
EXAMPLES: Final = ROOT / "examples"
GO: Final = EXAMPLES / "go"
JAVA: Final = EXAMPLES / "java"
TYPESCRIPT: Final = EXAMPLES / "typescript"
GO_BIN: Final = CACHE / "examples" / "bin"
SUMDB: Final = ROOT / "tests" / "languages" / "sumdb"
"""Not an example: it checks what heed signs by Go's own packages."""
SUMDB_VERIFY: Final = GO_BIN / "sumdb-verify"
SOURCES: Final = tuple(
    path.relative_to(ROOT / "protos").as_posix()
    for path in sorted((ROOT / "protos" / "heed" / "v1").glob("*.proto"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program that a toolchain must have."""

    name: str
    version_flag: str = "--version"
    at_least: int = 0
    """Its major version, or Go's minor one; 0: any."""
    version: str = r"(\d+)"
    """Finds that number in what it prints."""

    def lacking(self) -> str:
        """Why it cannot be used; empty when it can."""
        if shutil.which(self.name) is None:
            return f"{self.name} is not installed"
        done = subprocess.run(
            [self.name, self.version_flag], capture_output=True, text=True, check=False
        )
        found = re.search(self.version, done.stdout + done.stderr)
        if found is None or int(found[1]) < self.at_least:
            return f"{self.name} is older than {self.at_least}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language's example."""

    name: str
    tools: tuple[Tool, ...]
    build: Callable[[], None]
    command: tuple[str, ...]
    """What runs the program."""
    built: Path
    """What is there once it is built."""

    def lacking(self) -> str:
        """Why it cannot be built here; empty when it can."""
        return next(filter(None, (tool.lacking() for tool in self.tools)), "")


def _build_go() -> None:
    _run("go", "build", "-o", f"{GO_BIN}/", *_go_tools(), folder=GO)
    # The generated code becomes a package of the example's own module.
    own = [f"M{source}=heed.dev/examples/go/gen/heed/v1" for source in SOURCES]
    (GO / "gen").mkdir(exist_ok=True)
    _protoc(
        *(f"--plugin={GO_BIN / plugin}" for plugin in ("protoc-gen-go", "protoc-gen-go-grpc")),
        *(f"--{plugin}_out={GO / 'gen'}" for plugin in ("go", "go-grpc")),
        *(f"--{plugin}_opt=paths=source_relative" for plugin in ("go", "go-grpc")),
        *(f"--{plugin}_opt={option}" for plugin in ("go", "go-grpc") for option in own),
    )
    _run("go", "vet", ".", folder=GO)
    _run("go", "build", "-o", str(GO_BIN / "example"), ".", folder=GO)
    _run("go", "vet", ".", folder=SUMDB)
    _run("go", "build", "-o", str(SUMDB_VERIFY), ".", folder=SUMDB)


def _go_tools() -> list[str]:
    """The protoc plugins, as go.mod pins them."""
    block = re.search(r"^tool \((.*?)^\)", (GO / "go.mod").read_text(), re.MULTILINE | re.DOTALL)
    if block is None:
        sys.exit("examples/go/go.mod names no tools")
    return block[1].split()


def _build_java() -> None:
    repository = f"-Dmaven.repo.local={CACHE / 'maven'}"
    quiet = ("--quiet", "--batch-mode", "--no-transfer-progress", "-Dstyle.color=never")
    _run("mvn", *quiet, repository, "process-classes", folder=JAVA)


def _build_typescript() -> None:
    lock = TYPESCRIPT / "package-lock.json"
    # npm writes this one last.
    installed = TYPESCRIPT / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        _run("npm", "ci", "--silent", folder=TYPESCRIPT)
    options = (
        "outputServices=grpc-js,env=node,esModuleInterop=true,importSuffix=.js,"
        "oneof=unions-value,forceLong=bigint,useExactTypes=false"
    )
    tools = TYPESCRIPT / "node_modules" / ".bin"
    (TYPESCRIPT / "gen").mkdir(exist_ok=True)
    _protoc(
        f"--plugin={tools / 'protoc-gen-ts_proto'}",
        f"--ts_proto_out={TYPESCRIPT / 'gen'}",
        f"--ts_proto_opt={options}",
    )
    _run("npm", "run", "--silent", "build", folder=TYPESCRIPT)


LANGUAGES: Final = (
    Language(
        name="go",
        tools=(Tool(name="go", version_flag="version", at_least=26, version=r"go1\.(\d+)"),),
        build=_build_go,
        command=(str(GO_BIN / "example"),),
        built=GO_BIN / "example",
    ),
    Language(
        name="java",
        tools=(
            Tool(name="javac", at_least=17),
            Tool(name="java", at_least=17),
            Tool(name="mvn"),
        ),
        build=_build_java,
        command=(
            *("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
            *("-cp", f"{JAVA / 'target' / 'classes'}{os.pathsep}{JAVA / 'target' / 'lib' / '*'}"),
            "dev.heed.example.Main",
        ),
        built=JAVA / "target" / "classes" / "dev" / "heed" / "example" / "Main.class",
    ),
    Language(
        name="typescript",
        tools=(Tool(name="node", at_least=20), Tool(name="npm", at_least=9)),
        build=_build_typescript,
        command=("node", str(TYPESCRIPT / "dist" / "src" / "main.js")),
        built=TYPESCRIPT / "dist" / "src" / "main.js",
    ),
)


def main() -> int:
    """Builds each language that this machine has a toolchain for."""
    for language in LANGUAGES:
        reason = language.lacking()
        if reason:
            print(f"{language.name}: skipped, {reason}")
            continue
        try:
            language.build()
        except subprocess.CalledProcessError as error:
            print(f"{language.name}: {error.cmd[0]} failed with {error.returncode}")
            return 1
        print(f"{language.name}: built")
    return 0


def _protoc(*arguments: str) -> None:
    protoc = (sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={ROOT / 'protos'}")
    _run(*protoc, *arguments, *SOURCES, folder=ROOT)


def _run(*command: str, folder: Path) -> None:
    caches = {
        "GOCACHE": str(CACHE / "go-build"),
        "GOMODCACHE": str(CACHE / "go-mod"),
        # Files that `make clean` may remove, and no toolchain but the one that is here.
        "GOFLAGS": "-modcacherw -mod=readonly -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "npm_config_cache": str(CACHE / "npm"),
    }
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, **caches})


if __name__ == "__main__":
    sys.exit(main())

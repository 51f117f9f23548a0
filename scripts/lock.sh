#!/usr/bin/env bash
# Resolves requirements/*.txt: every version with its hashes, for every platform and
# Python >= 3.11, naming no host. Called by `make lock`; arguments go to `uv pip compile`.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
  .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
    --generate-hashes --no-emit-index-url --no-emit-find-links \
    --no-emit-package heed --no-emit-package heed-proto --no-emit-package heed-server \
    --custom-compile-command 'make lock' --constraint requirements/constraints.txt "$@"
}

compile "$@" --group lock --output-file requirements/lock.txt
compile "$@" --group gen --output-file requirements/gen.txt
compile "$@" generated/pyproject.toml client/pyproject.toml server/pyproject.toml \
  --all-extras --group dev --output-file requirements/dev.txt
# The image gets exactly what the tests ran with.
compile "$@" server/pyproject.toml --all-extras --constraint requirements/dev.txt \
  --output-file requirements/server.txt
compile "$@" --group build --constraint requirements/dev.txt --output-file requirements/build.txt

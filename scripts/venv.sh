#!/usr/bin/env bash
# Makes a virtual environment from a lock with hashes: venv.sh <python> <folder> <lock>
# An environment that is there is updated in place, unless its Python has gone.
set -euo pipefail
python=$1 folder=$2 lock=$3

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "heed needs Python 3.11 or newer, and $python is not: try make PYTHON=/path/to/python3" >&2
  exit 1
fi
if ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
  rm -rf "$folder"
  if ! "$python" -m venv "$folder"; then
    echo "$python cannot make a virtual environment: on Debian and Ubuntu install python3-venv" >&2
    exit 1
  fi
fi
echo "installing $lock into $folder; the first time takes a minute or two"
# The lock is the whole resolution. Without --no-deps pip 23.2 resolves a requirement with
# extras (coverage[toml]) again, takes the newest version, and then misses its hash.
"$folder/bin/python" -m pip install --quiet --require-hashes --no-deps --only-binary :all: \
  --requirement "$lock"
"$folder/bin/python" -m pip check --quiet || {
  echo "$lock does not hold all that its packages need: run make lock" >&2
  exit 1
}

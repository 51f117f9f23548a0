#!/usr/bin/env bash
# Says where Chromium is, and where CI has none, installs Debian's. The tests of pages need it.
set -euo pipefail
for name in "${HEED_TEST_CHROMIUM:-chromium}" chromium-browser google-chrome; do
  if command -v "$name"; then exit 0; fi
done
if [ -z "${CI:-}" ] || ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "no Chromium here: tests of pages are left out (apt-get install chromium)" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet --quiet
apt-get install --yes --quiet --quiet --no-install-recommends chromium fonts-dejavu-core >/dev/null
command -v chromium

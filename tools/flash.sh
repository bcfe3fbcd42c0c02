#!/bin/sh
# `fleet flash` of this checkout: tools/flash.sh [OPTIONS] PORT FIRMWARE, --help for all of it.
# Paths stay relative to where it is called.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
[ -x "$root/.venv/bin/fleet" ] || {
    echo "flash: $root/.venv is missing; run 'make setup' there" >&2
    exit 1
}
exec "$root/.venv/bin/fleet" flash "$@"

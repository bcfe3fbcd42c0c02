#!/bin/sh
# The door to `python -m twinslot.board flash`: tools/flash.sh [OPTIONS] PORT FIRMWARE, --help for all of it.
# Paths stay relative to where it is called.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
[ -x "$root/.venv/bin/python" ] || {
    echo "flash: $root/.venv is missing; run 'make setup' there" >&2
    exit 1
}
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "$root/.venv/bin/python" -m twinslot.board flash "$@"

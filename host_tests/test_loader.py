"""Under MicroPython, leaving a phase of the loader gives back the heap that its modules took."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess

import pytest
from test_phases import LENT, MODULES, OWN, RESIDENT, ROWS

from tools import natives
from tools.paths import ROOT

# The loader never unloads what an application loads.
UNWEIGHED = ("rest", "an application's own")
WEIGHED = {name: modules for name, modules in ROWS.items() if name not in UNWEIGHED}
# Bytes, on 64 bits: what lists and caches of the interpreter may differ by.
TOLERANCE = 512


@functools.cache
def weighed() -> tuple[dict[str, tuple[int, int, int]], dict[str, tuple[int, int]]]:
    """Return (before, with, after) of each row, and (before, after) of each module that is kept."""
    script = ROOT / "host_tests/on_board/loader_heap.py"
    try:
        argv = [*natives.command("micropython"), "-X", "heapsize=4m", str(script), str(ROOT)]
    except natives.NativeMissing as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    table = json.dumps(WEIGHED)
    done = subprocess.run(argv, input=table, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^row (.+): (\d+) (\d+) (\d+)$", done.stdout, re.MULTILINE)
    kept = re.findall(r"^kept (.+): (\d+) (\d+)$", done.stdout, re.MULTILINE)
    return (
        {name: (int(before), int(here), int(after)) for name, before, here, after in rows},
        {name: (int(before), int(after)) for name, before, after in kept},
    )


def test_every_row_and_every_module_is_weighed() -> None:
    rows, kept = weighed()
    assert set(rows) == set(WEIGHED)
    assert set(kept) == {*MODULES} - LENT - {*RESIDENT, *OWN}


def test_leaving_a_phase_gives_its_heap_back() -> None:
    for name, (before, here, after) in weighed()[0].items():
        assert here - before > 8 * TOLERANCE, f"{name} takes next to nothing: {here - before}"
        assert abs(after - before) <= TOLERANCE, f"{name} leaves {after - before} bytes behind"


def test_a_module_whose_name_is_kept_elsewhere_would_be_seen() -> None:
    for module, (before, after) in weighed()[1].items():
        assert after - before > TOLERANCE, f"{module} could be kept, and nobody would see it"

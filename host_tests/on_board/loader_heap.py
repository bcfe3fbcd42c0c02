"""Weighs rows of the loader's table: what each takes, and what is left of it at rest.

    micropython host_tests/on_board/loader_heap.py ROOT <ROWS

ROWS: a JSON object, name of a row -> its modules in the order of loading. Prints `row NAME: BEFORE
WITH AFTER` for each and, for every module that is not resident, `kept MODULE: BEFORE AFTER`: a
resident module keeps a name of that one, as a mistake would. Bytes of heap, after a collection.
"""

import gc
import json
import sys

sys.path.insert(0, sys.argv[1] + "/firmware")
sys.path.append(sys.argv[1] + "/sim/chip")

from ota import agent, loader

PHASES = list(loader.table().PHASES)
RESIDENT = loader.table().RESIDENT.split()


def taken():
    """Return the bytes in use."""
    gc.collect()
    gc.collect()
    return gc.mem_alloc()  # type: ignore[attr-defined]


def at_rest():
    """Return the bytes in use when nothing but the resident modules is loaded."""
    loader.enter_now("rest")
    return taken()


def load(name, modules):
    """Enter the phase `name`, or load `modules` where it is none."""
    if name in PHASES:
        loader.enter_now(name)
    else:
        loader.enter_now("rest", " ".join(modules))


def weigh(name, modules):
    """Return the bytes before, with and after the modules of a row."""
    before = at_rest()
    load(name, modules)
    here = taken()
    return before, here, at_rest()


def weigh_kept(module, name, modules):
    """Return the bytes before a row, and after it when a resident module has kept `module`."""
    before = at_rest()
    load(name, modules)
    agent.kept = loader.module(module)
    after = at_rest()
    agent.kept = None
    return before, after


def main():
    """Weigh each row twice: after the first time MicroPython knows all names, and keeps them."""
    agent.kept = None
    table = json.load(sys.stdin)
    for name in table:
        weigh(name, table[name])
    for name in table:
        before, here, after = weigh(name, table[name])
        print("row %s: %d %d %d" % (name, before, here, after))
    seen = RESIDENT[:]
    for name in table:
        for module in table[name]:
            if module not in seen:
                seen.append(module)
                before, after = weigh_kept(module, name, table[name])
                print("kept %s: %d %d" % (module, before, after))


main()

"""Weighs each row of the loader's table: what it takes, and what is left of it at rest.

    micropython host_tests/on_board/loader_heap.py ROOT

Prints `row NAME BEFORE WITH AFTER` for every row and, for every module that is not resident,
`kept MODULE BEFORE AFTER`: a resident module keeps a name of that one, as a mistake would. Bytes of
heap, after a collection.
"""

import gc
import sys

sys.path.insert(0, sys.argv[1] + "/firmware")
sys.path.append(sys.argv[1] + "/sim/chip")

from ota import agent, phases


def rows():
    """Return (name, phase, modules beside it) of every row."""
    found = [(name, name, "") for name in phases.PHASES if name != "rest"]
    found += [("hearing", "serve", phases.HEARING), ("calling", "serve", phases.CALLING)]
    for name in phases.PATHS:
        scheme = "http " if name == "source" else ""
        found.append(("path " + name, "transfer", scheme + phases.PATHS[name]))
    for name in phases.WRITERS:
        found.append(("writer " + name, "prepare", phases.WRITERS[name]))
    for name in phases.QUESTIONS:
        found.append(("question " + name, "rest", phases.QUESTIONS[name]))
    found.append(("raw image", "verify", "p256 rsa"))
    return found


def taken():
    """Return the bytes in use."""
    gc.collect()
    gc.collect()
    return gc.mem_alloc()


def at_rest():
    """Return the bytes in use when nothing but the resident modules is loaded."""
    phases.enter_now("rest")
    return taken()


def weigh(row):
    """Return the bytes before, with and after the modules of a row."""
    before = at_rest()
    phases.enter_now(row[1], row[2])
    here = taken()
    return before, here, at_rest()


def weigh_kept(module, row):
    """Return the bytes before a row, and after it when a resident module has kept `module`."""
    before = at_rest()
    phases.enter_now(row[1], row[2])
    agent.kept = phases.module(module)
    after = at_rest()
    agent.kept = None
    return before, after


def main():
    """Weigh each row twice: after the first time MicroPython knows all names, and keeps them."""
    agent.kept = None
    table = rows()
    for row in table:
        weigh(row)
    for row in table:
        before, here, after = weigh(row)
        print("row %s: %d %d %d" % (row[0], before, here, after))
    seen = phases.RESIDENT.split()
    for row in table:
        working = phases.WORKING if row[1] != "rest" else ""
        for module in (working + " " + phases.PHASES[row[1]] + " " + row[2]).split():
            if module not in seen:
                seen.append(module)
                before, after = weigh_kept(module, row)
                print("kept %s: %d %d" % (module, before, after))


main()

"""What the suites of both contracts share: running clauses, and where heap is counted."""

import gc
import sys

try:
    from micropython import heap_lock  # noqa: F401, MicroPython alone counts its heap

    COUNTS = sys.implementation.name == "micropython"
except ImportError:
    COUNTS = False


def broken(clauses, kit):
    """Run clauses (functions of a kit). Returns {name: error} of those that do not hold."""
    found = {}
    for name in clauses:
        try:
            clauses[name](kit)
        except Exception as error:  # noqa: BLE001, whatever comes, the clause does not hold
            found[name] = error
        finally:
            kit.close()
    return found


def check(clauses, kit):
    """Raise the first error of these clauses with a line for each that does not hold."""
    found = broken(clauses, kit)
    for name in found:
        print("%s: %r" % (name, found[name]))
        if hasattr(sys, "print_exception"):
            sys.print_exception(found[name], sys.stdout)
    assert not found, list(found)


def allocated(action):
    """Return what one call of `action` takes of the heap (bytes), garbage included."""
    gc.collect()
    gc.disable()
    try:
        before = gc.mem_alloc()
        action()
        return gc.mem_alloc() - before
    finally:
        gc.enable()

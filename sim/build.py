"""What a simulated board is made of: compiled chip modules, firmware images."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from mpremote.romfs import VfsRomWriter

from sim import image
from tools import natives
from tools.paths import CACHE
from twinslot.board.files import compile_module

CHIP = Path(__file__).resolve().parent / "chip"


def default_interpreter() -> str:
    """Return "micropython" where it can be had, else "cpython"."""
    try:
        natives.command("micropython")
    except natives.NativeMissing:
        return "cpython"
    return "micropython"


def command(interpreter: str, heapsize: str | None) -> list[str]:
    """Return the command line that starts a chip. heapsize: of MicroPython's `-X heapsize`."""
    if interpreter == "cpython":
        return [sys.executable, "-u", str(CHIP / "run.py")]
    heap = ["-X", f"heapsize={heapsize}"] if heapsize else []
    start = f"import sys; sys.path.insert(0, {str(compiled_chip())!r}); import start"
    return [*natives.command("micropython"), *heap, "-c", start]


def compiled_chip() -> Path:
    """Compile the chip's modules to .mpy, as they would be frozen. Returns their folder.

    One folder per state of the sources, filled once, so that boards can share it.
    """
    sources = sorted([*CHIP.glob("*.py"), *CHIP.glob("rom/*.py")])
    state = hashlib.sha256()
    for source in sources:
        state.update(str(source.relative_to(CHIP)).encode() + b"\0" + source.read_bytes())
    folder = CACHE / "chip" / state.hexdigest()[:16]
    if folder.is_dir():
        return folder
    part = folder.with_name(f"{folder.name}.{os.getpid()}")
    (part / "rom").mkdir(parents=True)
    for source in sources:
        name = source.relative_to(CHIP).with_suffix(".mpy")
        (part / name).write_bytes(compile_module(source, f"sim/{source.name}"))
    (part / "chip.romfs").write_bytes(_romfs(part))
    try:
        part.rename(folder)
    except OSError:  # another process was faster
        if not folder.is_dir():
            raise
    return folder


def _romfs(folder: Path) -> bytes:
    """Pack the .mpy files of a folder into MicroPython's ROM file system."""
    writer = VfsRomWriter()
    for file in sorted(folder.glob("*.mpy")):
        writer.mkfile(file.name, file.read_bytes())
    for below in sorted(folder.glob("*/")):
        writer.opendir(below.name)
        for file in sorted(below.glob("*.mpy")):
            writer.mkfile(file.name, file.read_bytes())
        writer.closedir()
    return bytes(writer.finalise())


def firmware(
    behaviour: str = "good",
    *,
    version: str,
    size: int | None = None,
    compiled: bool = True,
    modules: dict[str, bytes] | None = None,
) -> bytes:
    """Build an image for the board; umqtt.simple is frozen into it, as on a chip.

    compiled: False for a board under CPython, which cannot read .mpy. The other parameters are
    those of sim.image.firmware.
    """
    umqtt = CACHE / "umqtt" / "umqtt" / "simple.py"
    frozen = (
        {"umqtt/simple.mpy": compile_module(umqtt)}
        if compiled
        else {"umqtt/simple.py": umqtt.read_bytes()}
    )
    return image.firmware(
        behaviour, version=version, size=size, modules={**frozen, **(modules or {})}
    )

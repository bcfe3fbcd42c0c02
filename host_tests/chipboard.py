"""The simulated board in this process: power it, run boot.py and the agent, cut it, look at it."""

from __future__ import annotations

import _thread
import builtins
import contextlib
import functools
import importlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
for folder in (ROOT / "sim/chip", ROOT / "sim/chip/cpython", ROOT / "firmware"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

import shims  # noqa: E402

shims.install()

import bootloader  # noqa: E402
import hardware  # noqa: E402
import nor  # noqa: E402
from layout import FLASH_SIZE, SLOT_SIZE, SLOTS  # noqa: E402


class Memory(io.BytesIO):
    """A flash chip's cells."""


class ChipBoard:
    """One board. flash: its nor.Nor; folder: stands for its file system (`/`).

    entered: the directory in which boot.py left the application; stage: the file system that
    boot.py mounted for a trial, None without one; threads: (function, arguments) of those that
    boot.py started, for the test to run.
    """

    def __init__(self, folder: Path, *, rollback: bool = True) -> None:
        self.cells = Memory(b"\xff" * FLASH_SIZE)
        self.flash = nor.Nor(self.cells, FLASH_SIZE)
        self.folder = folder
        self.rollback = rollback
        (folder / "etc").mkdir(parents=True, exist_ok=True)
        hardware.board = None
        self.cause = hardware.PWRON
        self.entered = ""
        self.stage: Any = None
        self.threads: list[tuple[Any, Any]] = []

    def flash_slot(self, index: int, image: bytes, trailer: bytes | None = None) -> None:
        """Put an image into a slot by cable."""
        start = SLOTS[index][3]
        view = self.cells.getbuffer()
        view[start : start + SLOT_SIZE] = b"\xff" * SLOT_SIZE
        view[start : start + len(image)] = image
        if trailer:
            view[start + SLOT_SIZE - 4096 : start + SLOT_SIZE] = trailer

    def slot_bytes(self, index: int, length: int) -> bytes:
        start = SLOTS[index][3]
        return bytes(self.cells.getbuffer()[start : start + length])

    def damage(self, index: int, offset: int) -> None:
        """Clear a byte of a slot, as a failing flash chip would."""
        self.cells.getbuffer()[SLOTS[index][3] + offset] = 0

    def write_etc(self, name: str, data: bytes | dict[str, Any]) -> None:
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        (self.folder / "etc" / name).write_bytes(raw)

    def power_on(self) -> Any:
        """Run the bootloader with the cause the last reset left. Returns the hardware.Board."""
        running = hardware.board.running if self.cause == hardware.SOFT else None
        if self.cause != hardware.SOFT:
            shims.start()
        return hardware.power_on(self.flash, self.cause, self.rollback, running)

    def run(self, action: Callable[[], Any]) -> Any:
        """Run `action`; returns its result, or the Reset or PowerCut that ended it."""
        try:
            return action()
        except hardware.Reset as reset:
            self.cause = reset.cause
            return reset
        except nor.PowerCut as cut:
            self.cause = hardware.PWRON
            self.flash.cut_at = None
            return cut

    def boot_py(self, **replaced: Any) -> dict[str, Any]:
        """Execute boot.py as the chip does, its ROOT pointing at this board's folder."""
        source = (ROOT / "boot.py").read_text().replace('ROOT = "/"', f'ROOT = "{self.folder}/"')

        def opened(path: Any, *arguments: Any, **options: Any) -> Any:
            if str(path) == f"{self.folder}/boot.py":
                return io.StringIO(source)
            return open(path, *arguments, **options)  # noqa: PTH123  as the chip does

        chips = {**vars(builtins), "open": opened, "execfile": execfile}
        names: dict[str, Any] = {"__name__": "__main__", "__builtins__": chips, **replaced}
        self.stage = None
        self.threads = []
        with self._on_chip():
            exec(compiled(source), names)
            self.entered = str(Path.cwd())
        return names

    def main_py(self, names: dict[str, Any]) -> None:
        """Run main.py as MicroPython does after boot.py, which returned `names`, in a trial."""
        with self._on_chip():
            exec(self.stage.open("main.py", "r").read(), names)

    def time_passes(self, milliseconds: int) -> None:
        """Let the clock go on, and boot.py's threads look at it."""
        shims.advance(milliseconds)
        for function, arguments in self.threads:
            function(*arguments)

    @contextlib.contextmanager
    def _on_chip(self) -> Iterator[None]:
        """Give code that runs inside the modules of a chip, and a current directory of its own."""
        home, path = str(Path.cwd()), sys.path[:]
        modules = {"os": Os(self), "_thread": Threads(self), "micropython": Interpreter()}
        kept = {name: sys.modules.get(name) for name in modules}
        sys.path.insert(0, "")  # as on the chip: modules lie in the current directory
        sys.modules.update(modules)  # type: ignore[arg-type]
        try:
            yield
        finally:
            for name, module in kept.items():
                if module is None:
                    del sys.modules[name]
                else:
                    sys.modules[name] = module
            os.chdir(home)
            sys.path[:] = path

    @property
    def running(self) -> int:
        return int(hardware.board.running)

    def records(self) -> list[tuple[int, int] | None]:
        found: list[tuple[int, int] | None] = bootloader.records(self.flash)
        return found


class Os:
    """The chip's `os`, which can mount what boot.py makes."""

    def __init__(self, board: ChipBoard) -> None:
        self._board = board

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def mount(self, files: Any, _path: str) -> None:
        self._board.stage = files

    def umount(self, _path: str) -> None:
        self._board.stage = None

    def chdir(self, path: str) -> None:
        if path != "/.trial":
            os.chdir(path)


class Threads:
    """The chip's `_thread`. The test runs the threads."""

    def __init__(self, board: ChipBoard) -> None:
        self._board = board

    def __getattr__(self, name: str) -> Any:
        return getattr(_thread, name)  # CPython's own modules are imported on the board, too

    def stack_size(self, _size: int) -> None:
        pass

    def start_new_thread(self, function: Any, arguments: Any) -> None:
        self._board.threads.append((function, arguments))


class Interpreter:
    """The chip's `micropython`."""

    def heap_lock(self) -> None:
        pass

    def heap_unlock(self) -> None:
        pass


def execfile(name: str, names: dict[str, Any]) -> None:
    """Run a file, as MicroPython's builtin does."""
    exec(compile(Path(name).read_text(), name, "exec"), names)


@functools.lru_cache(8)
def compiled(source: str) -> Any:
    """Return the code of a boot.py."""
    return compile(source, "boot.py", "exec")


def fresh_ota(folder: Path) -> ModuleType:
    """Import the agent as after a reset, its ROOT pointing at `folder`."""
    for name in [name for name in sys.modules if name == "ota" or name.startswith("ota.")]:
        del sys.modules[name]
    ota = importlib.import_module("ota")
    settings: Any = importlib.import_module("ota.settings")
    settings.ROOT = f"{folder}/"
    importlib.import_module("ota.agent")
    return ota


def on_load(name: str, change: Callable[[Any], None]) -> None:
    """Change a module of the agent whenever it is loaded, until the next boot; now, if it is."""
    loader: Any = sys.modules["ota.loader"]
    load = loader._load

    def loading(loaded: str) -> None:
        load(loaded)
        if loaded == name:
            change(loader.module(name))

    loader._load = loading
    if loader.is_loaded(name):
        change(loader.module(name))

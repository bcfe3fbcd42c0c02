"""What a board needs of its interpreter, from MicroPython's unix port.

littlefs and FAT are the port's own, over the flash file. `/.rom` stands for what is frozen: the
modules of the image, then those every chip has (`rom/`), which are read from the host.
"""

import builtins
import gc
import io
import os
import sys
import time

import disk
import layout
import micropython  # noqa: F401 - only MicroPython has it, so CPython turns to chip_cpython
import vfs
from frozen import Modules
from start import host

_ROM = "/.rom"
_FILE = (0x8000, 0, 0, 0, 0, 0, 0, 0, 0, 0)
# Bytes of a heap that is to be small, and of no piece of the table of names but the last one that a
# chip has, for 1,280 names.
_SMALL = 1 << 20
_PIECE = 10000
_FOLDER = (0x4000, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def read_line():
    """Return the first line of standard input."""
    return sys.stdin.buffer.readline()


def read_console():
    """Return one byte of console input; b"" when the host has closed it."""
    return sys.stdin.buffer.read(1)


def wait_for_end():
    """Do nothing until the host kills this process: a chip that resets listens to nobody."""
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass


class Rom:
    """The frozen modules as files: read-only, flat names below `/.rom/`."""

    def __init__(self, modules):
        self._modules = modules

    def stat(self, path):
        if path in self._modules:
            return _FILE
        if self._modules.has_folder(path):
            return _FOLDER
        return host.stat("/rom/" + path)

    def open(self, path, mode):
        if path in self._modules:
            return io.BytesIO(self._modules.read(path))
        return host.open("/rom/" + path, mode)

    def load(self, name):
        """Import one of the simulation's own modules, which programs on the board do not see."""
        vfs.mount(host, "/.chip")
        sys.path.append("/.chip")
        module = __import__(name)
        sys.path.pop()
        vfs.umount("/.chip")
        del sys.modules[name]
        return module


class Files:
    """The file system at `/`, and the frozen modules below `/.rom`, which no listing shows."""

    def __init__(self, filesystem, rom):
        self._filesystem = filesystem
        self._rom = rom
        self._written = []

    def __getattr__(self, name):
        return getattr(self._filesystem, name)

    def __repr__(self):
        return "<%s>" % type(self._filesystem).__name__

    def mount(self, readonly, mkfs):
        pass

    def umount(self):
        pass

    def stat(self, path):
        if path.startswith(_ROM):
            return self._rom.stat(path[len(_ROM) + 1 :])
        return self._filesystem.stat(path)

    def open(self, path, mode):
        if path.startswith(_ROM):
            return self._rom.open(path[len(_ROM) + 1 :], mode)
        file = self._filesystem.open(path, mode)
        if "r" not in mode or "+" in mode:
            self._written = [file] + [other for other in self._written if _is_open(other)]
        return file

    def close_written(self):
        """Close what was opened for writing and never closed.

        Until then a reference keeps it from the garbage collector, which closes files too, but in
        the middle of a collection no Python code can run, and the flash is Python code here.
        """
        for file in self._written:
            file.close()


def _is_open(file):
    try:
        file.tell()
        return True
    except ValueError:
        return False


class System:
    """What programs on the board find.

    flash, slot: where its files and frozen modules are; interrupted: see disk.Disk; replaced: the
    interpreter's own modules that are others on the chip, by name.
    """

    def __init__(self, flash, slot, interrupted, replaced):
        self.modules = Modules(flash, slot)
        self._rom = Rom(self.modules)
        row = layout.of(flash).files
        if row[0] == disk.FAT_LABEL:
            filesystem = _mount(vfs.VfsFat, disk.FatDisk(flash, row, interrupted), {})
        else:
            options = {"progsize": 32, "readsize": 32, "lookahead": 32}
            filesystem = _mount(vfs.VfsLfs2, disk.Disk(flash, row, interrupted), options)
        vfs.umount("/.chip")
        vfs.umount("/")
        self._files = Files(filesystem, self._rom)
        vfs.mount(self._files, "/")
        os.chdir("/")
        sys.path[:] = ["", _ROM, ".frozen", "/lib"]
        if "main.py" in self.modules:
            builtins.__import__ = importing_frozen(self.modules)
        sys.modules.update(replaced)
        if gc.mem_alloc() + gc.mem_free() < _SMALL:
            _begin_table()

    def exists(self, name):
        """Say whether there is such a file in the current directory."""
        try:
            os.stat(name)
            return True
        except OSError:
            return False

    def run_file(self, name, names):
        """Execute a file of the board in the namespace `names`."""
        execfile(name, names)  # noqa: F821 - the port has it

    def run_text(self, source, name, names):
        """Execute a text (bytes) as the file `name`, in the namespace `names`."""
        exec(compile(str(source, "utf-8"), name, "exec"), names)

    def run_frozen(self, name):
        """Import a frozen module."""
        __import__(name)

    def names(self):
        """Return a new namespace for `__main__`."""
        return {"__name__": "__main__"}

    def load(self, name):
        """Import one of the simulation's own modules, when it is wanted: it takes heap."""
        return self._rom.load(name)

    def end(self):
        """Do what a soft reset does to files that are still open."""
        self._files.close_written()

    def heap_used(self):
        """Return the bytes of heap in use."""
        gc.collect()
        return gc.mem_alloc()


def _mount(kind, device, options):
    """Return a file system on a block device, which is formatted where there is none yet."""
    try:
        filesystem = kind(device, **options)
        filesystem.statvfs("/")  # FAT says only then that there is none
    except OSError:
        kind.mkfs(device, **options)
        filesystem = kind(device, **options)
    return filesystem


def _begin_table():
    """Let MicroPython's table of names grow, until the board's program begins with a fresh piece.

    A chip has the names of its own modules in ROM. Here they lie in the table, which doubles, in
    one piece of some 15 KB, when it is full: without this, that happens amid an update.
    """
    number, taken, before = 0, 0, 1 << 30
    while taken - before < _PIECE:
        before = taken or before
        for _ in range(16):
            hasattr(gc, "~%d" % number)
            number += 1
        gc.collect()
        taken = gc.mem_alloc()


def importing_frozen(modules):
    """Return `__import__` of an interpreter into which these modules are frozen.

    They lie in `.rom` here. Of `.frozen` alone only one thing is ever asked: whether a module is
    there, with the heap locked, so that it cannot be loaded.
    """
    ordinary = builtins.__import__

    def load(name, *arguments):
        if sys.path == [".frozen"]:
            raise MemoryError if name + ".py" in modules else ImportError
        return ordinary(name, *arguments)

    return load


def print_exception(error):
    """Show a traceback on the console, without the simulation's own lines."""
    text = io.StringIO()
    sys.print_exception(error, text)
    for line in text.getvalue().split("\n")[:-1]:
        if not line.startswith('  File "sim/'):
            sys.stdout.write(line + "\n")

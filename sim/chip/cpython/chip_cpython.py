"""What a board needs of its interpreter, from CPython, where no MicroPython can be had.

The same littlefs in the same flash, through littlefs-python. The board's programs get their own
`os`, `time`, `socket`, `tls`, `ssl` and `open`; CPython's library keeps the real ones.
"""

import _thread
import binascii
import builtins
import errno
import gc
import importlib.abc
import importlib.util
import os
import signal
import struct
import sys
import traceback
import types

import cpython_sockets
import layout
import littlefs
import shims
from disk import Disk
from frozen import Modules
from layout import SECTOR
from littlefs import LittleFS
from littlefs.context import UserContext
from littlefs.errors import LittleFSError

_HERE = os.path.dirname(os.path.dirname(__file__))  # sim/chip
_AGAIN_S = 0.002
_FOLDER = 0x4000
_FILE = 0x8000


def read_line():
    """Return the first line of standard input."""
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(0, 1)
    return line


def read_console():
    """Return one byte of console input; b"" when the host has closed it."""
    return os.read(0, 1)


def wait_for_end():
    """Do nothing until the host kills this process: a chip that resets listens to nobody."""
    while True:
        try:
            shims.sleep_ms(60000)
        except KeyboardInterrupt:
            pass


def print_exception(error):
    """Show a traceback on the console, without the simulation's own lines."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_HERE, "<frozen"))
    ]
    lines = traceback.format_exception_only(error)
    if isinstance(error, OSError) and len(error.args) == 2:
        # As MicroPython spells it, which tools look for.
        lines = ["OSError: [Errno %d] %s\n" % (error.errno, errno.errorcode.get(error.errno))]
    if frames:
        lines = ["Traceback (most recent call last):\n", *traceback.format_list(frames), *lines]
    sys.stdout.write("".join(lines))


class Region(UserContext):
    """The vfs partition as littlefs-python wants it."""

    def __init__(self, disk):
        self._disk = disk

    def read(self, cfg, block, off, size):
        buf = bytearray(size)
        self._disk.readblocks(block, buf, off)
        return buf

    def prog(self, cfg, block, off, data):
        self._disk.writeblocks(block, bytes(data), off)
        return 0

    def erase(self, cfg, block):
        self._disk.ioctl(6, block)
        return 0

    def sync(self, cfg):
        return 0


def _defer_interrupts():
    """Keep Ctrl-C out of flash and file system: where it comes in there, it comes again later.

    littlefs-python does not survive an exception in its midst, and a chip raises none there.
    """
    region = {vars(Region)[name].__code__ for name in ("read", "prog", "erase", "sync")}
    files = (_HERE + "/nor.py", _HERE + "/disk.py", os.path.dirname(littlefs.__file__))

    def interrupt(number, frame):
        while frame:
            if frame.f_code in region or frame.f_code.co_filename.startswith(files):
                signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
                return
            frame = frame.f_back
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGALRM, interrupt)


class Files:
    """littlefs, its errors as MicroPython raises them."""

    def __init__(self, fs):
        self._fs = fs
        self.count = fs.block_count
        self.free = lambda: fs.block_count - fs.used_block_count

    def __getattr__(self, name):
        action = getattr(self._fs, name)

        def call(*arguments):
            try:
                return action(*arguments)
            except LittleFSError as error:
                number = -error.code
            except FileNotFoundError:
                number = errno.ENOENT
            except IsADirectoryError:
                number = errno.EISDIR
            raise OSError(number, os.strerror(number))

        return call


class Os(types.ModuleType):
    """MicroPython's `os` over the board's littlefs."""

    sep = "/"
    urandom = staticmethod(os.urandom)

    def __init__(self, fs):
        super().__init__("os")
        self._fs = fs
        self._folder = "/"
        self._mounted = {}  # flat file systems of the board's programs, by path

    def mount(self, fs, path):
        self._mounted[path] = fs

    def umount(self, path):
        del self._mounted[path]

    def open(self, name, mode="r", *_, **__):
        if self._folder in self._mounted and "/" not in name:
            return self._mounted[self._folder].open(name, mode)
        return self._fs.open(self._path(name), mode)

    def ilistdir(self, name="."):
        for entry in self._fs.scandir(self._path(name)):
            yield entry.name, _FOLDER if entry.type == 2 else _FILE, 0, entry.size

    def listdir(self, name="."):
        return [entry[0] for entry in self.ilistdir(name)]

    def stat(self, name):
        if self._folder in self._mounted and "/" not in name:
            return self._mounted[self._folder].stat(name)
        found = self._fs.stat(self._path(name))
        return (_FOLDER if found.type == 2 else _FILE, 0, 0, 0, 0, 0, found.size, 0, 0, 0)

    def statvfs(self, name):
        count = self._fs.count
        free = self._fs.free()
        return (SECTOR, SECTOR, count, free, free, 0, 0, 0, 0, 255)

    def mkdir(self, name):
        self._fs.mkdir(self._path(name))

    def remove(self, name):
        self._fs.remove(self._path(name))

    unlink = rmdir = remove

    def rename(self, old, new):
        self._fs.rename(self._path(old), self._path(new))

    def chdir(self, name):
        path = self._path(name)
        if path not in self._mounted and self._fs.stat(path).type != 2:
            raise OSError(2)
        self._folder = path

    def getcwd(self):
        return self._folder

    def sync(self):
        pass

    def _path(self, name):
        parts = [] if name.startswith("/") else self._folder.split("/")
        for part in name.split("/"):
            if part == "..":
                parts = parts[:-1]
            elif part not in ("", "."):
                parts = [*parts, part]
        return "/" + "/".join(part for part in parts if part)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules as the chip does: in the current folder, in the image, in /lib."""

    def __init__(self, modules, board_os, board_builtins):
        self._modules = modules
        self._os = board_os
        self._builtins = board_builtins

    def find_spec(self, fullname, path=None, target=None):
        base = fullname.replace(".", "/")
        for prefix in ("", None, "/lib/"):
            for name, package in ((base + "/__init__.py", True), (base + ".py", False)):
                source = self._source(prefix, name)
                if source is not None:
                    return self._spec(fullname, package, name, source)
        if self._modules.has_folder(base):
            return self._spec(fullname, True, base, b"")
        return None

    def exec_module(self, module):
        name, source = module.__spec__.loader_state
        module.__builtins__ = self._builtins
        exec(compile(source, name, "exec"), module.__dict__)

    def _spec(self, fullname, package, name, source):
        spec = importlib.util.spec_from_loader(fullname, self, is_package=package)
        spec.loader_state = (name, source)
        return spec

    def _source(self, prefix, name):
        if prefix is None:
            return bytes(self._modules.read(name)) if name in self._modules else None
        try:
            with self._os.open(prefix + name, "rb") as file:
                return file.read()
        except OSError:
            return None


class System:
    """What programs on the board find: see chip_micropython.System."""

    def __init__(self, flash, slot, interrupted, replaced):
        shims.install()
        _defer_interrupts()
        self.modules = Modules(flash, slot)
        self._os = Os(_mount(Disk(flash, layout.of(flash).files, interrupted)))
        self._replaced = {
            "micropython": types.ModuleType("micropython"),
            "os": self._os,
            "socket": cpython_sockets.socket,
            "tls": cpython_sockets.tls,
            "vfs": types.ModuleType("vfs"),
            **replaced,
        }
        self._replaced["micropython"].const = lambda value: value
        self._replaced["micropython"].heap_lock = lambda: None
        self._replaced["micropython"].heap_unlock = lambda: None
        self._replaced["_thread"] = types.ModuleType("_thread")
        self._replaced["_thread"].stack_size = lambda size=0: 0
        self._replaced["_thread"].start_new_thread = _thread.start_new_thread
        self._replaced["_thread"].allocate_lock = _thread.allocate_lock
        self._replaced["_thread"].get_ident = _thread.get_ident
        self._replaced["vfs"].mount = lambda: [("<VfsLfs2>", "/")]
        # The names that PyPI's umqtt.simple 1.3.4 imports.
        self._replaced["usocket"] = cpython_sockets.socket
        self._replaced["ustruct"] = struct
        self._replaced["ubinascii"] = binascii
        self._builtins = {
            **vars(builtins),
            "open": self._os.open,
            "execfile": self.run_file,
            "__import__": self._import,
        }
        self._replaced["ssl"] = self._rom("ssl")
        sys.meta_path.insert(0, Finder(self.modules, self._os, self._builtins))
        sys.path[:] = [path for path in sys.path if not path.startswith(_HERE)]

    def exists(self, name):
        """Say whether there is such a file in the current directory."""
        try:
            self._os.stat(name)
            return True
        except OSError:
            return False

    def run_file(self, name, names):
        """Execute a file of the board in the namespace `names`."""
        with self._os.open(name, "rb") as file:
            source = file.read()
        self.run_text(source, name, names)

    def run_text(self, source, name, names):
        """Execute a text (bytes) as the file `name`, in the namespace `names`."""
        exec(compile(bytes(source), name, "exec"), names)

    def run_frozen(self, name):
        """Import a frozen module."""
        importlib.import_module(name)

    def names(self):
        """Return a new namespace for `__main__`."""
        return {"__name__": "__main__", "__builtins__": self._builtins}

    def load(self, name):
        """Import one of the simulation's own modules, when it is wanted."""
        spec = importlib.util.spec_from_file_location(name, "%s/%s.py" % (_HERE, name))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def end(self):
        """Do what a soft reset does to files that are still open: CPython closes unused ones."""

    def heap_used(self):
        """Return the bytes of heap in use: CPython cannot say."""
        gc.collect()
        return 0

    def _rom(self, name):
        """Return one of the modules that every chip has."""
        module = types.ModuleType(name)
        module.__builtins__ = self._builtins
        with open("%s/rom/%s.py" % (_HERE, name), "rb") as file:
            exec(compile(file.read(), name + ".py", "exec"), vars(module))
        return module

    def _import(self, name, names=None, local=None, fromlist=(), level=0):
        if level == 0 and name in self._replaced:
            return self._replaced[name]
        if sys.path == [".frozen"]:  # see chip_micropython.importing_frozen
            raise MemoryError if name + ".py" in self.modules else ImportError
        return builtins.__import__(name, names, local, fromlist, level)


def _mount(disk):
    fs = LittleFS(
        context=Region(disk),
        block_size=SECTOR,
        block_count=disk.ioctl(4, 0),
        prog_size=32,
        read_size=32,
        lookahead_size=32,
        mount=False,
    )
    try:
        fs.mount()
    except LittleFSError:
        fs.format()
        fs.mount()
    return Files(fs)

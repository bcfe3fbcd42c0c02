"""The parts of a board that CPython lends, where no MicroPython can be had.

The same littlefs in the same flash, through littlefs-python. The board's programs get their own
`os`, `socket`, `tls` and `open`; CPython's library keeps the real ones.
"""

import builtins
import importlib.abc
import importlib.util
import os
import socket
import ssl
import sys
import tempfile
import threading
import types

import shims
from layout import SECTOR, find
from littlefs import LittleFS
from littlefs.context import UserContext


def truncate(file, length):
    file.truncate(length)


def wait_for_end():
    while True:
        try:
            threading.Event().wait()
        except BaseException:
            pass  # a chip that resets listens to nobody


def read_console():
    """Return one byte of console input; b"" when the host has closed it."""
    return os.read(0, 1)


def load_repl():
    import repl

    return repl


class Disk(UserContext):
    """The vfs partition as littlefs-python wants it."""

    def __init__(self, flash):
        self._flash = flash
        self._start = find("vfs")[3]

    def read(self, cfg, block, off, size):
        buf = bytearray(size)
        self._flash.read(self._start + block * SECTOR + off, buf)
        return buf

    def prog(self, cfg, block, off, data):
        self._flash.program(self._start + block * SECTOR + off, bytes(data))
        return 0

    def erase(self, cfg, block):
        self._flash.erase(self._start // SECTOR + block)
        return 0

    def sync(self, cfg):
        return 0


class Os(types.ModuleType):
    """MicroPython's `os` over the board's littlefs."""

    sep = "/"
    urandom = staticmethod(os.urandom)

    def __init__(self, fs):
        super().__init__("os")
        self._fs = fs
        self._folder = "/"

    def path(self, name):
        return name if name.startswith("/") else self._folder.rstrip("/") + "/" + name

    def open(self, name, mode="r", *_, **__):
        return self._fs.open(self.path(name), mode)

    def listdir(self, name="."):
        return self._fs.listdir(self._folder if name in (".", "") else self.path(name))

    def ilistdir(self, name="."):
        folder = self._folder if name in (".", "") else self.path(name)
        for entry in self._fs.scandir(folder):
            yield entry.name, 0x4000 if entry.type == 2 else 0x8000, 0, entry.size

    def stat(self, name):
        found = self._fs.stat(self.path(name))
        return (0x4000 if found.type == 2 else 0x8000, 0, 0, 0, 0, 0, found.size, 0, 0, 0)

    def statvfs(self, name):
        used = self._fs.used_block_count
        count = find("vfs")[4] // SECTOR
        return (SECTOR, SECTOR, count, count - used, count - used, 0, 0, 0, 0, 255)

    def mkdir(self, name):
        self._fs.mkdir(self.path(name))

    def remove(self, name):
        self._fs.remove(self.path(name))

    unlink = rmdir = remove

    def rename(self, old, new):
        self._fs.rename(self.path(old), self.path(new))

    def chdir(self, name):
        if name != "/":
            self._fs.stat(self.path(name))
        self._folder = self.path(name)

    def getcwd(self):
        return self._folder

    def sync(self):
        pass


class Image(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules as the chip does: in the current folder, in the image, in /lib."""

    def __init__(self, flash, start, board_os, names):
        self._os = board_os
        self._names = names
        self._files = {}
        at = start + 24 + 8 + 256
        head = self._bytes(flash, at, 6)
        if head[:4] != b"MODS":
            return
        at += 6
        for _ in range(head[4] | head[5] << 8):
            length = self._bytes(flash, at, 1)[0]
            name = self._bytes(flash, at + 1, length).decode()
            at += 1 + length
            size = int.from_bytes(self._bytes(flash, at, 4), "little")
            self._files[name] = self._bytes(flash, at + 4, size)
            at += 4 + size

    def __contains__(self, module):
        return module + ".py" in self._files

    def find_spec(self, fullname, path=None, target=None):
        base = fullname.replace(".", "/")
        for name, package in ((base + "/__init__.py", True), (base + ".py", False)):
            source = self._source(name)
            if source is not None:
                spec = importlib.util.spec_from_loader(fullname, self, is_package=package)
                spec.loader_state = (name, source)
                return spec
        if any(name.startswith(base + "/") for name in self._files):
            spec = importlib.util.spec_from_loader(fullname, self, is_package=True)
            spec.loader_state = (base, b"")
            return spec
        return None

    def exec_module(self, module):
        name, source = module.__spec__.loader_state
        module.__builtins__ = self._names["__builtins__"]
        exec(compile(source, name, "exec"), module.__dict__)

    def _source(self, name):
        for path in (name, "/lib/" + name):
            try:
                with self._os.open(path, "rb") as file:
                    return file.read()
            except OSError:
                if path == name and name in self._files:
                    return self._files[name]
        return None

    @staticmethod
    def _bytes(flash, at, size):
        data = bytearray(size)
        flash.read(at, data)
        return bytes(data)


class Socket:
    """A socket with MicroPython's stream methods; None where it would block."""

    def __init__(self, real=None):
        self.real = real or socket.socket()

    def __getattr__(self, name):
        return getattr(self.real, name)

    def readinto(self, buf):
        return self._attempt(self.real.recv_into, buf)

    def read(self, size):
        buf = bytearray(size)
        count = self.readinto(buf)
        return None if count is None else bytes(buf[:count])

    def write(self, data, size=None):
        return self._attempt(self.real.send, bytes(data)[:size])

    @staticmethod
    def _attempt(action, data):
        try:
            return action(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None


class Context:
    """MicroPython's tls.SSLContext: certificates as bytes."""

    def __init__(self, protocol):
        self.real = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.verify_mode = ssl.CERT_REQUIRED

    def load_verify_locations(self, cadata):
        self.real.load_verify_locations(cadata=bytes(cadata).decode())

    def load_cert_chain(self, certificate, key):
        with tempfile.NamedTemporaryFile() as file:
            file.write(bytes(certificate) + b"\n" + bytes(key))
            file.flush()
            self.real.load_cert_chain(file.name)

    def wrap_socket(self, sock, server_hostname=None):
        try:
            return Socket(self.real.wrap_socket(sock.real, server_hostname=server_hostname))
        except ssl.SSLCertVerificationError as error:
            raise ValueError(error.verify_message) from None


def main_names():
    return {"__name__": "__main__", "__builtins__": dict(vars(builtins))}


def read_source(name):
    with sys.modules["os"].open(name, "r") as file:
        return file.read()


def mount(board, image_start, names):
    """Mount littlefs and the image's modules. Returns the Image."""
    shims.install()
    disk = Disk(board.flash)
    fs = LittleFS(
        context=disk,
        block_size=SECTOR,
        block_count=find("vfs")[4] // SECTOR,
        prog_size=32,
        read_size=32,
        lookahead_size=32,
        mount=False,
    )
    try:
        fs.mount()
    except OSError:
        fs.format()
        fs.mount()
    board_os = Os(fs)
    names["__builtins__"]["open"] = board_os.open
    image = Image(board.flash, image_start, board_os, names)
    sys.meta_path.insert(0, image)
    board_socket = types.ModuleType("socket")
    vars(board_socket).update(
        {name: value for name, value in vars(socket).items() if name.isupper()}
    )
    board_socket.socket = Socket
    board_socket.getaddrinfo = lambda host, port: socket.getaddrinfo(
        host, port, socket.AF_INET, socket.SOCK_STREAM
    )
    board_tls = types.ModuleType("tls")
    board_tls.SSLContext = Context
    board_tls.PROTOCOL_TLS_CLIENT = 0
    board_tls.CERT_REQUIRED = ssl.CERT_REQUIRED
    sys.modules.update({"os": board_os, "socket": board_socket, "tls": board_tls})
    # The names that PyPI's umqtt.simple 1.3.4 imports.
    for old, new in (("usocket", "socket"), ("ustruct", "struct"), ("ubinascii", "binascii")):
        sys.modules[old] = sys.modules.get(new) or __import__(new)
    return image

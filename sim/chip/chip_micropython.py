"""The parts of a board that MicroPython's unix port lends: littlefs, frozen modules, console."""

import io
import os
import sys
import time

import vfs  # only MicroPython has it, so CPython turns to chip_cpython
from layout import SECTOR, find

_IMAGE = "/.image"
_HOST = "/.host"


def truncate(file, length):
    """Files here cannot be cut; what is left over is blanked."""
    file.write(b"\x00" * (2048 - length))


def wait_for_end():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass  # a chip that resets listens to nobody


def main_names():
    return {"__name__": "__main__"}


def load_repl():
    """Import the console from the host only when it is wanted: on a chip it takes no heap."""
    vfs.mount(vfs.VfsPosix(sys.argv[0].rsplit("/", 1)[0]), _HOST)
    sys.path.append(_HOST)
    import repl

    sys.path.pop()
    vfs.umount(_HOST)
    return repl


def read_source(name):
    with open(name) as file:
        return file.read()


def read_console():
    """Return one byte of console input; b"" when the host has closed it."""
    return sys.stdin.buffer.read(1)


class Disk:
    """The vfs partition as a block device for littlefs."""

    def __init__(self, flash):
        self._flash = flash
        self._start = find("vfs")[3]

    def readblocks(self, block, buf, offset=0):
        self._flash.read(self._start + block * SECTOR + offset, buf)

    def writeblocks(self, block, buf, offset=0):
        self._flash.program(self._start + block * SECTOR + offset, buf)

    def ioctl(self, operation, argument):
        if operation == 4:
            return find("vfs")[4] // SECTOR
        if operation == 5:
            return SECTOR
        if operation == 6:
            self._flash.erase(self._start // SECTOR + argument)
        return 0


class Image:
    """The modules frozen into a firmware image, as a read-only file system. `in`: is it there?"""

    def __init__(self, flash, start):
        self._flash = flash
        self._files = {}
        at = start + 24 + 8 + 256
        head = bytearray(6)
        flash.read(at, head)
        if head[:4] != b"MODS":
            return
        at += 6
        for _ in range(head[4] | head[5] << 8):
            length = self._bytes(at, 1)[0]
            name = str(self._bytes(at + 1, length), "utf-8")
            at += 1 + length
            size = int.from_bytes(self._bytes(at, 4), "little")
            self._files[name] = (at + 4, size)
            at += 4 + size

    def __contains__(self, module):
        return self._path(module + ".py") is not None

    def mount(self, readonly, mkfs):
        pass

    def umount(self):
        pass

    def stat(self, path):
        path = path.lstrip("/")
        if self._path(path):
            return (0x8000, 0, 0, 0, 0, 0, self._path(path)[1], 0, 0, 0)
        for name in self._files:
            if name.startswith(path + "/"):
                return (0x4000, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        raise OSError(2)

    def open(self, path, mode):
        found = self._path(path.lstrip("/"))
        if found is None:
            raise OSError(2)
        return io.BytesIO(self._bytes(*found))

    def chdir(self, path):
        pass

    def _path(self, path):
        return self._files.get(path)

    def _bytes(self, at, size):
        data = bytearray(size)
        self._flash.read(at, data)
        return data


def mount(board, image_start, names):
    """Mount littlefs at / and the image's modules behind it. Returns the Image."""
    image = Image(board.flash, image_start)
    disk = Disk(board.flash)
    vfs.umount("/")
    try:
        filesystem = vfs.VfsLfs2(disk, progsize=32, readsize=32, lookahead=32)
    except OSError:
        vfs.VfsLfs2.mkfs(disk, progsize=32, readsize=32, lookahead=32)
        filesystem = vfs.VfsLfs2(disk, progsize=32, readsize=32, lookahead=32)
    vfs.mount(filesystem, "/")
    vfs.mount(image, _IMAGE)
    sys.path[:] = ["", ".frozen", _IMAGE, "/lib"]
    os.chdir("/")
    return image

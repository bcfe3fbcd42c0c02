"""The first module of a chip under MicroPython: puts the others into ROM, as on a chip.

`chip.romfs`, beside this file, is mapped into memory, where MicroPython executes modules in place:
they take a third less of the heap, which is the application's. Where the interpreter cannot do that
they are loaded from their files.
"""

import os
import sys

import vfs

_FOLDER = sys.path[0]
_READ, _PRIVATE = 1, 2


def _find_host():
    """Return the file system with the chip's modules."""
    try:
        import ffi
        import uctypes

        path = _FOLDER + "/chip.romfs"
        size = os.stat(path)[6]
        mmap = ffi.open(None).func("P", "mmap", "PPiiil")
        with open(path, "rb") as file:
            address = mmap(0, size, _READ, _PRIVATE, file.fileno(), 0)
        return vfs.VfsRom(uctypes.bytearray_at(address, size))
    except (ImportError, AttributeError):
        return vfs.VfsPosix(_FOLDER)


host = _find_host()
vfs.mount(host, "/.chip")
sys.path[0] = "/.chip"
import run  # noqa: E402, F401

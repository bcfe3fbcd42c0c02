"""The modules frozen into a firmware image: where they lie in the slot.

They follow the application descriptor in the first segment (sim/image.py): `MODS`, u16 count, then
for each u8 name length, file name, u32 size, bytes. Little-endian.
"""

import layout

_ARCHIVE = 24 + 8 + 256  # image header, segment header, application descriptor


class Modules:
    """The frozen modules of one slot (or layout.FACTORY), by file name: `a.py`, `a/b.mpy`."""

    def __init__(self, flash, slot):
        self._flash = flash
        self._files = {}
        at = layout.of(flash).app(slot)[3] + _ARCHIVE
        head = self._read(at, 6)
        if head[:4] != b"MODS":
            return
        at += 6
        for _ in range(head[4] | head[5] << 8):
            length = self._read(at, 1)[0]
            name = str(self._read(at + 1, length), "utf-8")
            at += 1 + length
            size = int.from_bytes(self._read(at, 4), "little")
            self._files[name] = (at + 4, size)
            at += 4 + size

    def __contains__(self, name):
        return name in self._files

    def read(self, name):
        """Return a file."""
        return self._read(*self._files[name])

    def has_folder(self, path):
        """Say whether there are files below `path`."""
        return any(name.startswith(path + "/") for name in self._files)

    def _read(self, address, length):
        buf = bytearray(length)
        self._flash.read(address, buf)
        return buf

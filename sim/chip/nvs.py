"""Key-value storage in the nvs partition, safe at a power cut.

The chip's promises, not its bytes: an append-only log of records in two halves. A record counts
once its CRC is whole, the newest one of a key wins. When a half is full, the live records are
copied into the other one together with the new record, and its header is written last.

half    "NV", generation (u16 little-endian), the same inverted (u16), then records
record  length (u16), CRC-32 of the rest (u32), namespace, 0, key, 0, kind (a byte), value;
        neither kind nor value: the key is erased

ESP-IDF does this outside of Python's heap, so nothing here takes as much heap as a value has.
"""

from binascii import crc32

import layout
from layout import SECTOR
from nor import PAGE

_HEADER = 6
_HEAD = 6
_NUMBER = 8  # bytes that ESP-IDF keeps in one entry; a blob has two beside its bytes
# Namespace and key have at most 15 characters, and a 0 each.
_NAMES = 32


class Store:
    """The storage of one flash, of whatever size its partition has.

    Raises OSError(-4357) when it is full, OSError(-4353) in a table without a partition `nvs`.
    """

    def __init__(self, flash):
        self._flash = flash
        row = layout.of(flash).find("nvs")
        if row is None:
            raise OSError(-4353, "ESP_ERR_NVS_NOT_INITIALIZED")
        self._start = row[3]
        self._half = row[4] // 2 // SECTOR * SECTOR
        self._page = memoryview(bytearray(PAGE))

    def get(self, namespace, key):
        """Return kind and value (bytearray), None without one."""
        at, length = self.find(namespace, key)
        if not length:
            return None
        stored = bytearray(length)
        self._flash.read(at, stored)
        return stored

    def find(self, namespace, key):
        """Return where in flash kind and value are (address, length); length 0 without one."""
        name = _name(namespace, key)
        at, length = self._newest(self._current()[0]).get(name, (0, len(name)))
        return at + len(name), length - len(name)

    def set(self, namespace, key, kind, value=b""):
        """Store a value. The same one again writes nothing.

        kind: one byte, which goes before the value; b"" erases the key.
        """
        name = _name(namespace, key)
        half, generation = self._current()
        newest = self._newest(half)
        at, old = newest.pop(name, (0, len(name)))
        head = name + kind
        length = len(head) + len(value)
        crc = crc32(value, crc32(head))
        if length == old and (length == len(name) or self._crc(at, length) == crc):
            return
        self._flash.committed(1 if len(value) <= _NUMBER else 2 + (len(value) + 31) // 32)
        end = self._end(half)
        if end is not None and end + _HEAD + length <= self._address(half) + self._half:
            self._append(end, length, crc, head, value)
            return
        live = [newest[one] for one in newest if newest[one][1] > len(one)]
        if _HEADER + sum(_HEAD + one for _, one in live) + _HEAD + length > self._half:
            raise OSError(-4357, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")
        # Until its header is there, the half that counted does so still.
        other = 1 if half == 0 else 0
        self._append(self._compact(other, live), length, crc, head, value)
        self._flash.program(self._address(other), _header(generation + 1))

    def _address(self, half):
        return self._start + half * self._half

    def _current(self):
        """Return (half, generation) of the half that counts, (None, 0) on blank flash."""
        best = None, 0
        header = bytearray(_HEADER)
        for half in (0, 1):
            self._flash.read(self._address(half), header)
            generation = header[2] | header[3] << 8
            if header == _header(generation) and generation > best[1]:
                best = half, generation
        return best

    def _compact(self, half, live):
        """Erase the half and copy these records into it. Returns the address behind them."""
        end = self._address(half)
        for sector in range(self._half // SECTOR):
            self._flash.erase(end // SECTOR + sector)
        end += _HEADER
        for at, length in live:
            self._copy(at - _HEAD, end, _HEAD + length)
            end += _HEAD + length
        return end

    def _copy(self, source, to, length):
        """Copy within the flash, by whole pages of where it goes."""
        end = source + length
        while source < end:
            piece = self._page[: min(PAGE - to % PAGE, end - source)]
            self._flash.read(source, piece)
            self._flash.program(to, piece)
            source += len(piece)
            to += len(piece)

    def _append(self, end, length, crc, head, value):
        """Write a record there. head: what goes before the value."""
        self._flash.program(end, length.to_bytes(2, "little") + crc.to_bytes(4, "little") + head)
        self._flash.program(end + _HEAD + len(head), value)

    def _walk(self, half):
        """Yield (address behind its head, length or None when torn) of each record in a half."""
        if half is None:
            return
        at = self._address(half) + _HEADER
        end = self._address(half) + self._half
        head = bytearray(_HEAD)
        while at + _HEAD <= end:
            self._flash.read(at, head)
            if head == b"\xff" * _HEAD:
                return
            at += _HEAD
            length = head[0] | head[1] << 8
            if at + length > end or self._crc(at, length) != int.from_bytes(head[2:], "little"):
                yield at, None
                return
            yield at, length
            at += length

    def _newest(self, half):
        """Return {name: (address, length)} of the newest record of each key, erased ones too."""
        newest = {}
        for at, length in self._walk(half):
            if length is not None:
                names = self._page[: min(_NAMES, length)]
                self._flash.read(at, names)
                space, key = bytes(names).split(b"\x00", 2)[:2]
                newest[space + b"\x00" + key + b"\x00"] = at, length
        return newest

    def _end(self, half):
        """Return the address of the next record; None after a torn one, which ends the half."""
        if half is None:
            return None
        end = self._address(half) + _HEADER
        for at, length in self._walk(half):
            if length is None:
                return None
            end = at + length
        return end

    def _crc(self, at, length):
        crc = 0
        while length:
            piece = self._page[: min(PAGE, length)]
            self._flash.read(at, piece)
            crc = crc32(piece, crc)
            at += len(piece)
            length -= len(piece)
        return crc


def _header(generation):
    return b"NV" + generation.to_bytes(2, "little") + (generation ^ 0xFFFF).to_bytes(2, "little")


def _name(namespace, key):
    return namespace.encode() + b"\x00" + key.encode() + b"\x00"

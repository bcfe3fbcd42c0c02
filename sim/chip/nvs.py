"""Key-value storage in the nvs partition, safe at a power cut.

The chip's promises, not its bytes: an append-only log of records in two halves. A record counts
once its CRC is whole, the newest one of a key wins. When a half is full, the live records are
copied into the other one together with the new record, and its header is written last.

half    "NV", generation (u16 little-endian), the same inverted (u16), then records
record  length (u16), CRC-32 of the rest (u32), namespace, 0, key, 0, value; empty value: erased
"""

from binascii import crc32

from layout import SECTOR, find

_HALF = 2 * SECTOR
_HEADER = 6
_HEAD = 6


class Store:
    """The storage of one flash. Raises OSError(-4357) when it is full."""

    def __init__(self, flash):
        self._flash = flash
        self._start = find("nvs")[3]

    def get(self, namespace, key):
        """Return the value (bytes), None without one."""
        name = _name(namespace, key)
        value = None
        for record in self._records(self._current()[0]):
            if record.startswith(name):
                value = record[len(name) :]
        return value

    def set(self, namespace, key, value):
        """Store a value; an empty one erases the key. The same value again writes nothing."""
        if self.get(namespace, key) == value:
            return
        name = _name(namespace, key)
        record = name + value
        half, generation = self._current()
        end = None if half is None else self._end(half)
        if end is not None and end + _HEAD + len(record) <= _HALF:
            self._append(half, end, record)
            return
        live = [old for old in self._live(half) if not old.startswith(name)] + [record]
        if _HEADER + sum(_HEAD + len(one) for one in live) > _HALF:
            raise OSError(-4357, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")
        self._begin(1 if half == 0 else 0, generation + 1, live)

    def _current(self):
        """Return (half, generation) of the half that counts, (None, 0) on blank flash."""
        best = None, 0
        header = bytearray(_HEADER)
        for half in (0, 1):
            self._flash.read(self._start + half * _HALF, header)
            generation = header[2] | header[3] << 8
            if header == _header(generation) and generation > best[1]:
                best = half, generation
        return best

    def _begin(self, half, generation, live):
        """Write the half anew. Until its header is there, the other one counts."""
        start = self._start + half * _HALF
        for sector in range(_HALF // SECTOR):
            self._flash.erase(start // SECTOR + sector)
        at = _HEADER
        for record in live:
            self._append(half, at, record)
            at += _HEAD + len(record)
        self._flash.program(start, _header(generation))

    def _append(self, half, at, record):
        head = len(record).to_bytes(2, "little") + crc32(record).to_bytes(4, "little")
        self._flash.program(self._start + half * _HALF + at, head + record)

    def _walk(self, half):
        """Yield (offset, record or None when torn) of each record in a half."""
        start = self._start + half * _HALF
        at = _HEADER
        head = bytearray(_HEAD)
        while at + _HEAD <= _HALF:
            self._flash.read(start + at, head)
            if head == b"\xff" * _HEAD:
                return
            length = head[0] | head[1] << 8
            if at + _HEAD + length > _HALF:
                yield at, None
                return
            record = bytearray(length)
            self._flash.read(start + at + _HEAD, record)
            if crc32(record) != int.from_bytes(head[2:], "little"):
                yield at, None
                return
            yield at, bytes(record)
            at += _HEAD + length

    def _records(self, half):
        if half is None:
            return
        for _, record in self._walk(half):
            if record is not None:
                yield record

    def _live(self, half):
        newest = {}
        for record in self._records(half):
            space, key, value = record.split(b"\x00", 2)
            newest[space + b"\x00" + key] = record if value else None
        return [newest[name] for name in newest if newest[name] is not None]

    def _end(self, half):
        """Return where the next record goes; None after a torn one, which ends the half."""
        end = _HEADER
        for at, record in self._walk(half):
            if record is None:
                return None
            end = at + _HEAD + len(record)
        return end


def _header(generation):
    return b"NV" + generation.to_bytes(2, "little") + (generation ^ 0xFFFF).to_bytes(2, "little")


def _name(namespace, key):
    return namespace.encode() + b"\x00" + key.encode() + b"\x00"

"""Key-value storage in the nvs partition, safe at a power cut.

The chip's promises, not its bytes: an append-only log of records in two halves. A record counts
once its CRC is whole, the newest one of a key wins. When a half is full, the live records are
copied into the other one, whose header is written last.

half    "NV", generation (u16 little-endian), then records
record  length (u16), CRC-32 of the rest (u32), namespace, 0, key, 0, value; empty value: erased
"""

from binascii import crc32

from layout import SECTOR, find

_HALF = 2 * SECTOR


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
        """Store a value; an empty one erases the key."""
        record = _name(namespace, key) + value
        half, generation = self._current()
        if half is None:
            half = self._begin(0, 1, [])
        end = self._end(half)
        if end is None or end + 6 + len(record) > _HALF:
            name = _name(namespace, key)
            live = [r for r in self._live(half) if not r.startswith(name)]
            if 4 + sum(6 + len(r) for r in live) + 6 + len(record) > _HALF:
                raise OSError(-4357, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")
            # The old value is copied along: until the new one is whole, it still counts.
            old = [r for r in self._live(half) if r.startswith(name)]
            if 4 + sum(6 + len(r) for r in live + old) + 6 + len(record) <= _HALF:
                live += old
            half = self._begin(1 - half, generation + 1, live)
            end = self._end(half)
        self._append(half, end, record)

    def _current(self):
        """Return (half, generation) of the half that counts, (None, 0) on blank flash."""
        best = None, 0
        header = bytearray(4)
        for half in (0, 1):
            self._flash.read(self._start + half * _HALF, header)
            generation = header[2] | header[3] << 8
            if header[:2] == b"NV" and generation != 0xFFFF and generation > best[1]:
                best = half, generation
        return best

    def _begin(self, half, generation, live):
        start = self._start + half * _HALF
        for sector in range(_HALF // SECTOR):
            self._flash.erase(start // SECTOR + sector)
        at = 4
        for record in live:
            self._append(half, at, record)
            at += 6 + len(record)
        self._flash.program(start, b"NV" + generation.to_bytes(2, "little"))
        return half

    def _append(self, half, at, record):
        head = len(record).to_bytes(2, "little") + crc32(record).to_bytes(4, "little")
        self._flash.program(self._start + half * _HALF + at, head + record)

    def _walk(self, half):
        """Yield (offset, record or None when torn) of each record in a half."""
        start = self._start + half * _HALF
        at = 4
        head = bytearray(6)
        while at + 6 <= _HALF:
            self._flash.read(start + at, head)
            if head == b"\xff" * 6:
                return
            length = head[0] | head[1] << 8
            if at + 6 + length > _HALF:
                yield at, None
                return
            record = bytearray(length)
            self._flash.read(start + at + 6, record)
            if crc32(record) != int.from_bytes(head[2:], "little"):
                yield at, None
                return
            yield at, bytes(record)
            at += 6 + length

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
        end = 4
        for at, record in self._walk(half):
            if record is None:
                return None
            end = at + 6 + len(record)
        return end


def _name(namespace, key):
    return namespace.encode() + b"\x00" + key.encode() + b"\x00"

"""ESP-IDF's second-stage bootloader, and the otadata rules it shares with the application.

At a reset: a record still PENDING_VERIFY becomes ABORTED; of the records with a good CRC that are
neither INVALID nor ABORTED the highest sequence wins; NEW becomes PENDING_VERIFY; a slot whose
image does not verify is passed over, which otadata never learns. Blank otadata boots the first
slot and records it VALID. A bootloader without rollback leaves every state alone.
"""

from binascii import crc32
from hashlib import sha256

from layout import SECTOR, SLOT_SIZE, SLOTS, find

NEW, PENDING, VALID, INVALID, ABORTED = range(5)
_UNDEFINED = 0xFFFFFFFF

_MAGIC = 0xE9
_CHIP_ESP32 = 0
_MAX_SEGMENTS = 16
# Where the bootloader itself lies in RAM; an image that loads there is refused at boot only.
_OWN_RAM = (0x40078000, 0x40080000)


class ImageError(Exception):
    """The bytes in a slot are no image that would boot."""


def records(flash):
    """Return both otadata records as (sequence, state); None for one that is blank or torn."""
    address = find("otadata")[3]
    found = []
    buf = bytearray(32)
    for sector in (0, 1):
        flash.read(address + sector * SECTOR, buf)
        sequence = int.from_bytes(buf[:4], "little")
        good = crc32(bytes(buf[:4]), 0xFFFFFFFF) == int.from_bytes(buf[28:], "little")
        state = int.from_bytes(buf[24:28], "little")
        found.append((sequence, state) if good and sequence != _UNDEFINED else None)
    return found


def write_record(flash, sector, sequence, state):
    """Erase and write one otadata record."""
    encoded = sequence.to_bytes(4, "little")
    buf = bytearray(b"\xff" * 32)
    buf[:4] = encoded
    buf[24:28] = state.to_bytes(4, "little")
    buf[28:] = crc32(encoded, 0xFFFFFFFF).to_bytes(4, "little")
    address = find("otadata")[3] + sector * SECTOR
    flash.erase(address // SECTOR)
    flash.program(address, buf)


def active(found):
    """Return the index (0 or 1) of the record that counts, None when neither does."""
    best = None
    for i in (0, 1):
        if found[i] and found[i][1] not in (INVALID, ABORTED):
            if best is None or found[i][0] > found[best][0]:
                best = i
    return best


def slot_of(record):
    """Return the slot index a record names."""
    return (record[0] - 1) % len(SLOTS)


def choose(flash, rollback=True):
    """Do what the bootloader does at a reset. Returns the slot index that runs, None for none."""
    found = records(flash)
    if rollback:
        for i in (0, 1):
            if found[i] and found[i][1] == PENDING:
                write_record(flash, i, found[i][0], ABORTED)
                found[i] = (found[i][0], ABORTED)
    first = active(found)
    wanted = 0 if first is None else slot_of(found[first])
    if rollback and first is not None and found[first][1] == NEW:
        write_record(flash, first, found[first][0], PENDING)
    if rollback and found == [None, None]:
        write_record(flash, 0, 1, VALID)
    for index in [wanted] + list(range(wanted - 1, -1, -1)) + list(range(wanted + 1, len(SLOTS))):
        try:
            verify(flash, index, booting=True)
            return index
        except ImageError:
            pass  # the bootloader goes on to the next slot
    return None


def set_boot(flash, index):
    """Record `index` as the slot to boot next, as esp_ota_set_boot_partition does."""
    found = records(flash)
    current = active(found)
    if current is None:
        write_record(flash, 0, index + 1, NEW)
        return
    sequence = found[current][0]
    target = sequence if slot_of(found[current]) == index else sequence + 1
    while (target - 1) % len(SLOTS) != index:
        target += 1
    write_record(flash, 1 - current, target, NEW)


def verify(flash, index, booting=False):
    """Check the image in a slot as ESP-IDF does; `booting` adds what only the bootloader checks.

    Raises ImageError. Magic, chip, segments, checksum, appended SHA-256, length.
    """
    start = SLOTS[index][3]
    header = bytearray(24)
    flash.read(start, header)
    if header[0] != _MAGIC:
        raise ImageError("no image: it begins with 0x%02x" % header[0])
    if header[12] | header[13] << 8 != _CHIP_ESP32:
        raise ImageError("the image is for another chip")
    if not 1 <= header[1] <= _MAX_SEGMENTS:
        raise ImageError("the image has %d segments" % header[1])
    digest = sha256(header)
    checksum = 0xEF
    at = 24
    buf = bytearray(SECTOR)
    for _ in range(header[1]):
        segment = bytearray(8)
        flash.read(start + at, segment)
        digest.update(segment)
        load = int.from_bytes(segment[:4], "little")
        length = int.from_bytes(segment[4:], "little")
        at += 8
        if length % 4 or at + length + 33 > SLOT_SIZE:
            raise ImageError("a segment has an impossible length")
        if booting and _OWN_RAM[0] <= load < _OWN_RAM[1]:
            raise ImageError("a segment overlaps the bootloader")
        end = at + length
        while at < end:
            view = memoryview(buf)[: min(SECTOR, end - at)]
            flash.read(start + at, view)
            digest.update(view)
            checksum ^= _xor(view)
            at += len(view)
    tail = bytearray(16 - at % 16)
    flash.read(start + at, tail)
    digest.update(tail)
    if tail[-1] != checksum:
        raise ImageError("the checksum is wrong")
    at += len(tail)
    if header[23]:
        stored = bytearray(32)
        flash.read(start + at, stored)
        if stored != digest.digest():
            raise ImageError("the SHA-256 is wrong")


def _xor(view):
    """XOR all bytes together, by halves; a view's length is a multiple of 4."""
    value = int.from_bytes(bytes(view), "little")
    bits = len(view) * 8
    while bits > 8:
        half = (bits // 8 + 1) // 2 * 8
        value = (value >> half) ^ (value & ((1 << half) - 1))
        bits = half
    return value

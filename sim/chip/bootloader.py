"""ESP-IDF's second-stage bootloader, and the otadata rules it shares with the application.

otadata is two sectors, one record at the start of each (esp_ota_select_entry_t): u32 sequence,
20 bytes label, u32 state, u32 CRC-32 over the sequence alone. Slot index = (sequence - 1) % slots.

At a reset: a record still PENDING_VERIFY becomes ABORTED; of the records with a good CRC that are
neither INVALID nor ABORTED the highest sequence wins; NEW becomes PENDING_VERIFY; a slot whose
image does not verify is passed over, which otadata never learns. Without a record that counts the
factory application boots; a table without one boots the first slot that verifies, and blank otadata
then records it VALID. A bootloader without rollback leaves every state alone.
(ESP-IDF 5.x: bootloader_utility.c, esp_ota_ops.c, esp_image_format.c, what they do.)
"""

import sys
from binascii import crc32
from hashlib import sha256

import layout
from layout import FACTORY, SECTOR

NEW, PENDING, VALID, INVALID, ABORTED = range(5)
_BLANK = 0xFFFFFFFF

_MAGIC = 0xE9
_CHIP_ESP32 = 0
_CHIP_REVISION = 301  # major * 100 + minor
_MAX_SEGMENTS = 16
_MAX_SEGMENT = 16 << 20
_MMU_PAGE = 0x10000
_CHUNK = 1024

# ESP32 address space: where flash is mapped, and where the bootloader itself lies in RAM.
_MAPPED = ((0x3F400000, 0x3F800000), (0x400D0000, 0x40400000))
_BOOTLOADER_RAM = ((0x3FFF0000, 0x3FFF6000), (0x40078000, 0x40080000))


class ImageError(Exception):
    """The bytes in a slot are no image that would boot."""


# -- otadata ----------------------------------------------------------------------------------


def records(flash):
    """Return both otadata records as (sequence, state); None for one that is blank or torn."""
    return [record[:2] if record[2] else None for record in _read_records(flash)]


def _read_records(flash):
    """Return both records as (sequence, state, CRC is good), as they lie there."""
    address = _otadata(flash)
    found = []
    buf = bytearray(32)
    for sector in (0, 1):
        flash.read(address + sector * SECTOR, buf)
        sequence = int.from_bytes(buf[:4], "little")
        state = int.from_bytes(buf[24:28], "little")
        crc = int.from_bytes(buf[28:], "little")
        good = sequence != _BLANK and crc == crc32(bytes(buf[:4]), 0xFFFFFFFF)
        found.append((sequence, state, good))
    return found


def _otadata(flash):
    return layout.of(flash).of(1, 0)[3]


def write_record(flash, sector, sequence, state):
    """Write a whole new otadata record."""
    encoded = sequence.to_bytes(4, "little")
    buf = bytearray(b"\xff" * 32)
    buf[:4] = encoded
    buf[28:] = crc32(encoded, 0xFFFFFFFF).to_bytes(4, "little")
    _rewrite(flash, sector, buf, state)


def _set_state(flash, sector, state):
    _rewrite(flash, sector, _read(flash, _otadata(flash) + sector * SECTOR, 32), state)


def _rewrite(flash, sector, record, state):
    """Erase the sector, program the record: a power cut can come between."""
    record[24:28] = state.to_bytes(4, "little")
    address = _otadata(flash) + sector * SECTOR
    flash.erase(address // SECTOR)
    flash.program(address, record)


def active(found):
    """Return the index (0 or 1) of the record that counts, None when neither does."""
    best = None
    for i in (0, 1):
        if found[i] and found[i][1] not in (INVALID, ABORTED):
            if best is None or found[i][0] > found[best][0]:
                best = i
    return best


def slot_of(record, count=2):
    """Return the slot index a record names. count: of the table's slots."""
    return (record[0] - 1) % count


def set_boot(flash, index):
    """Record `index` as the slot to boot next, as esp_ota_set_boot_partition does.

    For FACTORY it erases otadata. Set on the slot that is active already, it writes the same
    sequence into the other sector: the record of the other slot is lost.
    """
    if index == FACTORY:
        for sector in (0, 1):
            flash.erase(_otadata(flash) // SECTOR + sector)
        return
    count = len(layout.of(flash).slots)
    found = records(flash)
    current = active(found)
    if current is None:
        write_record(flash, 0, index + 1, NEW)
        return
    sequence = found[current][0]
    while (sequence - 1) % count != index:
        sequence += 1
    write_record(flash, 1 - current, sequence, NEW)


def mark_valid(flash):
    """Mark the active record VALID, whichever slot runs. Returns False without an active one."""
    found = records(flash)
    current = active(found)
    if current is None:
        return False
    if found[current][1] != VALID:
        _set_state(flash, current, VALID)
    return True


# -- at a reset -------------------------------------------------------------------------------


def choose(flash, rollback=True):
    """Do what the bootloader does at a reset.

    Returns the slot index that runs, FACTORY for the factory application, None for none.
    """
    table = layout.of(flash)
    if not table.of(1, 0):
        return _first_good(flash, [FACTORY] if table.app(FACTORY) else [])
    raw = _read_records(flash)
    if rollback:
        for i in (0, 1):
            if raw[i][1] == PENDING:
                _set_state(flash, i, ABORTED)
                raw[i] = (raw[i][0], ABORTED, raw[i][2])
    found = [record[:2] if record[2] else None for record in raw]
    blank = found == [None, None] and all(_never_written(record) for record in raw)
    current = active(found)
    if current is None:
        wanted = FACTORY if table.app(FACTORY) else 0
    else:
        wanted = slot_of(found[current], len(table.slots))
    if rollback and current is not None and found[current][1] == NEW:
        _set_state(flash, current, PENDING)
    index = _first_good(flash, _order(table, wanted))
    if blank and index is not None and not table.app(FACTORY):
        write_record(flash, 0, index + 1, VALID)
    return index


def _first_good(flash, indexes):
    """Return the first of these whose image verifies, None without one."""
    for index in indexes:
        try:
            verify(flash, index, booting=True)
        except ImageError as error:
            sys.stdout.write("E boot: OTA app partition slot %d: %s\n" % (index, error))
            continue
        return index
    sys.stdout.write("E boot: No bootable app partitions in the partition table\n")
    return None


def _never_written(record):
    """Say whether the bootloader takes a record without good CRC for a board's first boot."""
    return record[0] == _BLANK or record[1] in (INVALID, ABORTED)


def _order(table, wanted):
    """Yield slot indexes as they are tried: down from the wanted one, then up from it."""
    for index in range(wanted, FACTORY - 1, -1):
        if table.app(index):
            yield index
    for index in range(wanted + 1, len(table.slots)):
        yield index


# -- images -----------------------------------------------------------------------------------


def verify(flash, index, booting=False):
    """Check the image in a slot as ESP-IDF does; `booting` adds what only the bootloader checks.

    Raises ImageError. Header, chip and its revision, segments, checksum, appended SHA-256, length.
    """
    _, _, _, start, size = layout.of(flash).app(index)
    header = _read(flash, start, 24)
    if header[0] != _MAGIC:
        raise ImageError("image at 0x%x has invalid magic byte 0x%02x" % (start, header[0]))
    if header[12] | header[13] << 8 != _CHIP_ESP32:
        raise ImageError("image at 0x%x is for another chip" % start)
    if not _word(header, 15, 2) <= _CHIP_REVISION <= _word(header, 17, 2):
        raise ImageError("image at 0x%x is for other chip revisions" % start)
    if not 1 <= header[1] <= _MAX_SEGMENTS:
        raise ImageError("image at 0x%x has %d segments" % (start, header[1]))
    digest = sha256(header)
    checksum = 0
    at = 24
    buf = bytearray(_CHUNK)
    for _ in range(header[1]):
        segment = _read(flash, start + at, 8)
        digest.update(segment)
        at += 8
        load, length = _word(segment, 0, 4), _word(segment, 4, 4)
        _check_segment(load, length, at, size, booting)
        end = at + length
        while at < end:
            view = memoryview(buf)[: min(_CHUNK, end - at)]
            flash.read(start + at, view)
            digest.update(view)
            checksum ^= int.from_bytes(view, "little")
            at += len(view)
    tail = _read(flash, start + at, 16 - at % 16)
    if tail[-1] != 0xEF ^ _fold(checksum):
        raise ImageError("image at 0x%x: checksum failed" % start)
    digest.update(tail)
    at += len(tail)
    if header[23] and _read(flash, start + at, 32) != digest.digest():
        raise ImageError("image at 0x%x: hash mismatch" % start)


def _check_segment(load, length, at, room, booting):
    """Check one segment's load address and length. at: bytes from the start of the slot's room."""
    if length % 4 or length >= _MAX_SEGMENT:
        raise ImageError("segment at 0x%x has invalid length 0x%x" % (at, length))
    if at + length + 1 + 32 > room:
        raise ImageError("the image is longer than its partition")
    for first, last in _MAPPED:
        if first <= load < last and (load - at) % _MMU_PAGE:
            raise ImageError("segment at 0x%x does not fit its address 0x%x" % (at, load))
    if booting:
        for first, last in _BOOTLOADER_RAM:
            if load < last and load + length > first:
                raise ImageError("segment at 0x%x overlaps bootloader data/stack" % at)


def _fold(value):
    """XOR together the bytes of an int of at most _CHUNK bytes."""
    bits = _CHUNK * 8 // 2
    while bits >= 8:
        value = (value >> bits) ^ (value & ((1 << bits) - 1))
        bits //= 2
    return value


def _read(flash, address, length):
    buf = bytearray(length)
    flash.read(address, buf)
    return buf


def _word(buf, at, length):
    return int.from_bytes(buf[at : at + length], "little")

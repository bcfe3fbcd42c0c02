"""The chip's `esp32` module: Partition and NVS, with the chip's argument forms and errors."""

import sys

import bootloader
import hardware
import layout
import nvs
from layout import FACTORY, SECTOR
from nor import BLOCK

HEAP_DATA = 4
HEAP_EXEC = 1

_NAME_LENGTH = 15
_MAX_BLOB = 4000


def idf_heap_info(capabilities):
    """Return one region as (total, free, largest free block, minimum free), bytes.

    Constants, as measured on a chip with Wi-Fi and one TLS connection up.
    """
    return [(160000, 90112, 61440, 50000)]


class Partition:
    """A partition of the table. id: BOOT, RUNNING or a label; block_size: bytes, at most 4096.

    Raises ValueError for another number, OSError(2) for a label that is not there.
    """

    BOOT = 0
    RUNNING = 1
    TYPE_APP = 0
    TYPE_DATA = 1

    def __init__(self, id, block_size=SECTOR):
        table = layout.of(hardware.board.flash)
        if isinstance(id, str):
            row = table.find(id)
        elif id == self.RUNNING:
            row = table.app(hardware.board.running)
        elif id == self.BOOT:
            found = bootloader.records(hardware.board.flash)
            active = bootloader.active(found)
            if active is None:
                row = table.app(FACTORY) or table.app(0)
            else:
                row = table.app(bootloader.slot_of(found[active], len(table.slots)))
        else:
            raise ValueError("invalid partition id")
        if row is None:
            raise OSError(2)
        self._row = row
        self._block = block_size & 0xFFFF  # the chip keeps it in 16 bits

    @staticmethod
    def find(type=TYPE_APP, subtype=0xFF, label=None, block_size=SECTOR):
        """Return the partitions that match, as a list."""
        return [
            Partition(row[0], block_size)
            for row in layout.of(hardware.board.flash).rows
            if row[1] == type and subtype in (0xFF, row[2]) and label in (None, row[0])
        ]

    def info(self):
        """Return (type, subtype, address, size, label, encrypted)."""
        label, kind, subtype, address, size = self._row
        # With the eFuse, ESP-IDF encrypts applications and otadata (esp_partition.c).
        encrypted = hardware.board.encrypted and (kind == 0 or subtype == 0)
        return kind, subtype, address, size, label, encrypted

    def readblocks(self, block, buf, offset=0):
        """Fill `buf` from byte block * block_size + offset."""
        hardware.board.flash.read(self._at(block * self._block + offset, len(buf)), buf)

    def writeblocks(self, block, buf, offset=None):
        """Without an offset: erase, then write whole blocks. With one: program only."""
        start = block * self._block
        if offset is not None:
            hardware.board.flash.program(self._writable(start + offset, len(buf)), buf)
        elif self._block < SECTOR:
            self._rewrite(start, buf)
        else:
            self._erase(start, len(buf))
            hardware.board.flash.program(self._writable(start, len(buf)), buf)

    def ioctl(self, operation, argument):
        """Block device control: 4 count, 5 size, 6 erase. Other known ones return 0."""
        if operation in (1, 2, 3):
            return 0
        if operation == 4:
            if not self._block:
                hardware.panic("IntegerDivideByZero")
            return self._row[4] // self._block
        if operation == 5:
            return self._block
        if operation == 6:
            if self._block != SECTOR:
                return -22
            self._erase(argument * SECTOR, SECTOR)
            return 0
        return None

    def get_next_update(self):
        """Return the OTA slot after this one; after any other partition, the first."""
        slots = layout.of(hardware.board.flash).slots
        index = slots.index(self._row) + 1 if self._row in slots else 0
        return Partition(slots[index % len(slots)][0])

    def set_boot(self):
        """Verify the image, then record the slot as the next to boot (NEW)."""
        slots = layout.of(hardware.board.flash).slots
        if self._row[1:3] != (0, 0) and self._row not in slots:
            raise OSError(-5379, "ESP_ERR_OTA_VALIDATE_FAILED")
        index = slots.index(self._row) if self._row in slots else FACTORY
        try:
            bootloader.verify(hardware.board.flash, index)
        except bootloader.ImageError as error:
            sys.stdout.write("E esp_image: %s\n" % error)
            raise OSError(-5379, "ESP_ERR_OTA_VALIDATE_FAILED")
        bootloader.set_boot(hardware.board.flash, index)

    @classmethod
    def mark_app_valid_cancel_rollback(cls):
        """Mark the *active* otadata record VALID, whichever slot runs."""
        if not bootloader.mark_valid(hardware.board.flash):
            raise OSError(1, "ESP_FAIL")

    def _at(self, offset, length):
        """Return the flash address of a range within the partition."""
        if not 0 <= offset <= self._row[4]:
            raise OSError(-258, "ESP_ERR_INVALID_ARG")
        if offset + length > self._row[4]:
            raise OSError(-260, "ESP_ERR_INVALID_SIZE")
        return self._row[3] + offset

    def _writable(self, offset, length):
        """As `_at`. ESP-IDF aborts where the code that runs would be written over."""
        address = self._at(offset, length)
        if self._row is layout.of(hardware.board.flash).app(hardware.board.running):
            hardware.panic("abort: dangerous write to the running app")
        return address

    def _erase(self, offset, length):
        address = self._writable(offset, length)
        if length % SECTOR:
            raise OSError(-260, "ESP_ERR_INVALID_SIZE")
        end = address + length
        while address < end:
            # As esp_flash_erase_region: by blocks where they are aligned, by sectors elsewhere.
            if address % BLOCK == 0 and end - address >= BLOCK:
                hardware.board.flash.erase_block(address)
                address += BLOCK
            else:
                hardware.board.flash.erase(address // SECTOR)
                address += SECTOR

    def _rewrite(self, offset, buf):
        """Small blocks: keep what else is in each sector, erase it, write everything back."""
        address = self._writable(offset, len(buf))
        view = memoryview(buf)
        sector = bytearray(SECTOR)
        done = 0
        while done < len(view):
            start, skip = divmod(address + done, SECTOR)
            size = min(SECTOR - skip, len(view) - done)
            hardware.board.flash.read(start * SECTOR, sector)
            sector[skip : skip + size] = view[done : done + size]
            hardware.board.flash.erase(start)
            hardware.board.flash.program(start * SECTOR, sector)
            done += size


class NVS:
    """A namespace of the nvs partition (at most 15 characters)."""

    def __init__(self, namespace):
        self._space = _checked(namespace)
        self._store = nvs.Store(hardware.board.flash)

    def set_blob(self, key, value):
        """Store bytes. Written at once, as on the chip."""
        if len(value) > _MAX_BLOB:
            raise OSError(-4366, "ESP_ERR_NVS_VALUE_TOO_LONG")
        self._store.set(self._space, _checked(key), b"b", value)

    def get_blob(self, key, buf):
        """Copy the blob into `buf`. Returns its length."""
        at, length = self._find(key, b"b")
        if length > len(buf):
            raise OSError(-4364, "ESP_ERR_NVS_INVALID_LENGTH")
        hardware.board.flash.read(at, memoryview(buf)[:length])
        return length

    def set_i32(self, key, value):
        """Store a signed 32-bit integer."""
        if not -(1 << 31) <= value < 1 << 31:
            raise OverflowError("overflow converting long int to machine word")
        stored = (value & 0xFFFFFFFF).to_bytes(4, "little")
        self._store.set(self._space, _checked(key), b"i", stored)

    def get_i32(self, key):
        """Return the integer."""
        stored = bytearray(4)
        hardware.board.flash.read(self._find(key, b"i")[0], stored)
        value = int.from_bytes(stored, "little")
        return value - (1 << 32) if value >> 31 else value

    def erase_key(self, key):
        """Forget the key."""
        self._find(key, None)
        self._store.set(self._space, _checked(key), b"")

    def commit(self):
        """Everything is written by `set_*` already, as on the chip."""

    def _find(self, key, kind):
        """Return (address, length) of a value. kind: what it must be, None for any."""
        at, length = self._store.find(self._space, _checked(key))
        stored = bytearray(1)
        if length:
            hardware.board.flash.read(at, stored)
        if not length or kind not in (None, stored):
            raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
        return at + 1, length - 1


def _checked(name):
    if len(name) > _NAME_LENGTH:
        raise OSError(-4361, "ESP_ERR_NVS_KEY_TOO_LONG")
    return name

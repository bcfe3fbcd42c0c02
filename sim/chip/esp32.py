"""The chip's `esp32` module: Partition and NVS, with the chip's argument forms and errors."""

import bootloader
import hardware
import nvs
from layout import SECTOR, SLOTS, TABLE, find

HEAP_DATA = 4
HEAP_EXEC = 1


def idf_heap_info(capabilities):
    """Return one region as (total, free, largest free block, minimum free), bytes."""
    return [(160000, 90112, 61440, 50000)]


class Partition:
    """A partition of the table. id: BOOT, RUNNING or a label; block_size: bytes, at most 4096."""

    BOOT = 0
    RUNNING = 1
    TYPE_APP = 0
    TYPE_DATA = 1

    def __init__(self, id, block_size=4096):
        if id == self.RUNNING:
            row = SLOTS[hardware.board.running]
        elif id == self.BOOT:
            found = bootloader.records(hardware.board.flash)
            active = bootloader.active(found)
            row = SLOTS[0 if active is None else bootloader.slot_of(found[active])]
        elif isinstance(id, str):
            row = find(id)
        else:
            raise ValueError("invalid partition id")
        if row is None:
            raise OSError(2)
        self._row = row
        self._block = block_size & 0xFFFF  # the chip keeps it in 16 bits

    @staticmethod
    def find(type=0, subtype=0xFF, label=None, block_size=4096):
        """Return the partitions that match, as a list."""
        return [
            Partition(row[0], block_size)
            for row in TABLE
            if row[1] == type and subtype in (0xFF, row[2]) and label in (None, row[0])
        ]

    def info(self):
        """Return (type, subtype, address, size, label, encrypted)."""
        label, kind, subtype, address, size = self._row
        return kind, subtype, address, size, label, False

    def readblocks(self, block, buf, offset=0):
        at = self._at(block, offset, len(buf))
        hardware.board.flash.read(at, buf)

    def writeblocks(self, block, buf, offset=None):
        """Without an offset: erase, then write whole blocks. With one: program only."""
        at = self._at(block, offset or 0, len(buf))
        self._guard()
        flash = hardware.board.flash
        if offset is None:
            if self._block < SECTOR:
                self._rewrite(at, buf)
                return
            if len(buf) % SECTOR:
                raise OSError(-260, "ESP_ERR_INVALID_SIZE")
            for sector in range(at // SECTOR, (at + len(buf)) // SECTOR):
                flash.erase(sector)
        flash.program(at, buf)

    def ioctl(self, operation, argument):
        if operation in (1, 2, 3):
            return 0
        if operation == 4:
            return self._row[4] // self._block
        if operation == 5:
            return self._block
        if operation == 6:
            if self._block != SECTOR:
                return -22
            at = self._at(argument, 0, SECTOR)
            self._guard()
            hardware.board.flash.erase(at // SECTOR)
            return 0
        return None

    def get_next_update(self):
        """Return the OTA slot after this one."""
        for i in range(len(SLOTS)):
            if SLOTS[i] is self._row:
                return Partition(SLOTS[(i + 1) % len(SLOTS)][0])
        return Partition(SLOTS[0][0])

    def set_boot(self):
        """Verify the image, then record the slot as the next to boot (NEW)."""
        if self._row not in SLOTS:
            raise OSError(-258, "ESP_ERR_INVALID_ARG")
        index = SLOTS.index(self._row)
        try:
            bootloader.verify(hardware.board.flash, index)
        except bootloader.ImageError:
            raise OSError(-5379, "ESP_ERR_OTA_VALIDATE_FAILED")
        bootloader.set_boot(hardware.board.flash, index)

    @classmethod
    def mark_app_valid_cancel_rollback(cls):
        """Mark the *active* otadata record VALID, whichever slot runs."""
        flash = hardware.board.flash
        found = bootloader.records(flash)
        active = bootloader.active(found)
        if active is None:
            raise OSError(1, "ESP_FAIL")
        if found[active][1] != bootloader.VALID:
            bootloader.write_record(flash, active, found[active][0], bootloader.VALID)

    def _at(self, block, offset, length):
        offset += block * self._block
        if offset < 0 or offset > self._row[4]:
            raise OSError(-258, "ESP_ERR_INVALID_ARG")
        if offset + length > self._row[4]:
            raise OSError(-260, "ESP_ERR_INVALID_SIZE")
        return self._row[3] + offset

    def _guard(self):
        """Writing to the slot that runs makes ESP-IDF abort: panic and reset."""
        if self._row is SLOTS[hardware.board.running]:
            hardware.reset()

    def _rewrite(self, at, buf):
        """Small blocks: read the sectors around, erase, write everything back."""
        flash = hardware.board.flash
        start = at // SECTOR * SECTOR
        end = (at + len(buf) + SECTOR - 1) // SECTOR * SECTOR
        whole = bytearray(end - start)
        flash.read(start, whole)
        whole[at - start : at - start + len(buf)] = buf
        for sector in range(start // SECTOR, end // SECTOR):
            flash.erase(sector)
        flash.program(start, whole)


class NVS:
    """A namespace of the nvs partition (1 to 15 characters)."""

    def __init__(self, namespace):
        _check_name(namespace, -4361, "ESP_ERR_NVS_INVALID_NAME")
        self._space = namespace
        self._store = nvs.Store(hardware.board.flash)

    def set_blob(self, key, value):
        self._store.set(self._space, _key(key), b"b" + bytes(value))

    def get_blob(self, key, buf):
        """Copy the blob into `buf`. Returns its length."""
        value = self._value(key, b"b")
        if len(value) > len(buf):
            raise OSError(-4364, "ESP_ERR_NVS_INVALID_LENGTH")
        buf[: len(value)] = value
        return len(value)

    def set_i32(self, key, value):
        self._store.set(self._space, _key(key), b"i" + (value & 0xFFFFFFFF).to_bytes(4, "little"))

    def get_i32(self, key):
        value = int.from_bytes(self._value(key, b"i"), "little")
        return value - (1 << 32) if value >> 31 else value

    def erase_key(self, key):
        self._value(key, None)
        self._store.set(self._space, _key(key), b"")

    def commit(self):
        """Everything is written by `set_*` already, as on the chip."""

    def _value(self, key, kind):
        value = self._store.get(self._space, _key(key))
        if not value or kind not in (None, value[:1]):
            raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
        return value[1:]


def _key(key):
    _check_name(key, -4361, "ESP_ERR_NVS_KEY_TOO_LONG")
    return key


def _check_name(name, number, word):
    if not 1 <= len(name) <= 15:
        raise OSError(number, word)

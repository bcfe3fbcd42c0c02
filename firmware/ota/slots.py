"""The two OTA slots: writing, reading back, their trailers, and their records in otadata.

Rules (ESP-IDF; each broken one costs a board)
- The running slot is never opened for writing: the chip panics.
- mark valid marks the *active* record, so it is called only when that one names the running slot.
- set_boot is never called on the running slot: it would lose the other slot's record.
- A slot that is being filled has no trailer, so that a half-written image does not pass for a whole
  one. Its last sector begins with the record of the new package, and has no digest.
"""

from binascii import crc32
from hashlib import sha256

from esp32 import Partition

from . import errors
from .chip import IMAGE_MAGIC, SECTOR
from .compat import const

# States of an otadata record (esp_ota_img_states_t).
NEW = const(0)
PENDING = const(1)
VALID = const(2)
INVALID = const(3)
ABORTED = const(4)

_OTADATA = const(0)
_FIRST_OTA = const(0x10)
_LAST_OTA = const(0x1F)

_RECORDS = const(4056)
_DIRECTORY = const(4064)

_DESCRIPTOR = const(b"\x32\x54\xcd\xab")


class Slot:
    """One OTA slot. label (str), index (int), size and capacity (bytes) of it."""

    def __init__(self, partition):
        _, subtype, self.address, self.size, self.label, _ = partition.info()
        self.index = subtype - _FIRST_OTA
        self.capacity = self.size - SECTOR
        self._partition = partition

    def begin(self, record, buf):
        """Prepare for filling: from here on the slot has no trailer. Raises FlashError.

        record: bytes of the signed head; buf: scratch, 4096 bytes. Returns whether the slot was
        filled, or being filled, with the same package before, so that it may hold parts of it.
        """
        whole = self.read_trailer(buf) is not None
        same = memoryview(buf)[: len(record)] == record
        if whole or not same:
            self.erase(self.size // SECTOR - 1)
            self.program(self.capacity, record)
        return same

    def void(self, buf):
        """Take the trailer's word away, without erasing: from here on the slot has none.

        buf: scratch, 4096 bytes. Raises FlashError.
        """
        if self.read_trailer(buf) is not None:
            self.program(self.capacity + _DIRECTORY, bytes(SECTOR - _DIRECTORY))

    def read(self, offset, buf):
        """Fill `buf` with the bytes at `offset`. Raises FlashError."""
        try:
            self._partition.readblocks(offset // SECTOR, buf, offset % SECTOR)
        except OSError as error:
            raise errors.FlashError("%s cannot be read at %d: %s" % (self.label, offset, error))

    def chip_id(self):
        """Return the chip id in the image's header (int); None when there is no image."""
        header = bytearray(24)
        self.read(0, header)
        return header[12] | header[13] << 8 if header[0] == IMAGE_MAGIC else None

    def write_trailer(self, records, directory, buf):
        """Write the trailer, which describes the slot. directory: str, "" for none.

        records: of signed heads, one or two (bytes), newest first; buf: scratch, 4096 bytes. Read
        back and compared; raises FlashError.
        """
        for i in range(SECTOR):
            buf[i] = 0xFF
        at = 0
        for record in records:
            buf[at : at + len(record)] = record
            at += len(record)
        name = directory.encode()
        for i in range(_RECORDS, _DIRECTORY):
            buf[i] = name[i - _RECORDS] if i - _RECORDS < len(name) else 0
        view = memoryview(buf)
        buf[_DIRECTORY:] = sha256(view[:_DIRECTORY]).digest()
        self.erase(self.size // SECTOR - 1)
        self.program(self.capacity, view[:SECTOR])
        if self.read_trailer(buf) is None:
            raise errors.FlashError("the trailer of %s does not read back" % self.label)

    def read_trailer(self, buf):
        """Return (records, directory) of the slot: a view into `buf` and a str; None if none.

        buf: scratch, 4096 bytes. Records must be verified before they are believed.
        """
        self.read(self.capacity, buf)
        view = memoryview(buf)
        if sha256(view[:_DIRECTORY]).digest() != self.seal(buf):
            return None
        try:
            directory = bytes(view[_RECORDS:_DIRECTORY]).rstrip(b"\x00").decode()
        except UnicodeError:
            return None
        return view[:_RECORDS], directory

    @staticmethod
    def seal(buf):
        """Return the digest at the end of a trailer that was read into `buf` (32 bytes)."""
        return bytes(memoryview(buf)[_DIRECTORY:SECTOR])

    def set_boot(self):
        """Make the bootloader start this slot next. The only commit. Raises ActivateError."""
        try:
            self._partition.set_boot()
        except OSError as error:
            raise errors.ActivateError("the chip refuses to boot %s: %s" % (self.label, error))

    def program(self, offset, data):
        """Program `data` at `offset` (bytes), where flash is erased. Raises FlashError."""
        try:
            self._partition.writeblocks(offset // SECTOR, data, offset % SECTOR)
        except OSError as error:
            raise self._refused(offset, error)

    def replace(self, offset, data):
        """Erase and program whole sectors. 64 KB at a multiple of it are erased by one command.

        Raises FlashError.
        """
        try:
            self._partition.writeblocks(offset // SECTOR, data)
        except OSError as error:
            raise self._refused(offset, error)

    def erase(self, sector):
        """Erase one sector, by its number in the slot. Raises FlashError."""
        try:
            status = self._partition.ioctl(6, sector)
        except OSError as error:
            raise errors.FlashError(
                "%s would not erase sector %d: %s" % (self.label, sector, error)
            )
        if status:
            raise errors.FlashError(
                "%s would not erase sector %d: %d" % (self.label, sector, status)
            )

    def _refused(self, offset, error):
        return errors.FlashError("%s would not take bytes at %d: %s" % (self.label, offset, error))


class Slots:
    """Both slots as they are now: `running` and `other`.

    Raises SettingsError on a board whose partition table has no two OTA slots, or whose flash is
    encrypted: there a slot takes no writes of any other length than 16 bytes.
    """

    def __init__(self):
        here = Partition(Partition.RUNNING)
        if here.info()[5]:
            raise errors.SettingsError("this board's flash is encrypted")
        otadata = Partition.find(Partition.TYPE_DATA, subtype=_OTADATA)
        self._count = 0
        for partition in Partition.find(Partition.TYPE_APP):
            if _FIRST_OTA <= partition.info()[1] <= _LAST_OTA:
                self._count += 1
        if not otadata or self._count < 2:
            raise errors.SettingsError("this board's partition table has no two OTA slots")
        self._otadata = otadata[0]
        self.running = Slot(here)
        self.other = Slot(here.get_next_update())

    def state(self, slot):
        """Return the state in `slot`'s newest otadata record (NEW, PENDING, ...), None without."""
        newest = 0, None
        for sequence, state in self._records():
            if (sequence - 1) % self._count == slot.index and sequence > newest[0]:
                newest = sequence, state
        return newest[1]

    @property
    def active(self):
        """Return the index of the slot that the active record names, None without a record."""
        highest = 0
        for sequence, state in self._records():
            if state not in (INVALID, ABORTED):
                highest = max(highest, sequence)
        return (highest - 1) % self._count if highest else None

    @property
    def active_is_running(self):
        """Say whether the record that mark valid would mark names the running slot."""
        return self.active == self.running.index

    @property
    def proved(self):
        """Say whether the running image has proved itself."""
        return self.state(self.running) == VALID

    @property
    def pending(self):
        """Say whether the running image still has to prove itself."""
        return self.active_is_running and self.state(self.running) == PENDING

    def mark_valid(self):
        """Accept the running image: no rollback from here on. Raises StateError, ActivateError."""
        if not self.active_is_running:
            raise errors.StateError("otadata names another slot than the running one; reset first")
        try:
            Partition.mark_app_valid_cancel_rollback()
        except OSError as error:
            raise errors.ActivateError("the chip would not accept the image: %s" % error)

    def _records(self):
        """Return the (sequence, state) of every otadata record whose CRC holds."""
        records = []
        buf = bytearray(32)
        for sector in (0, 1):
            try:
                self._otadata.readblocks(sector, buf)
            except OSError as error:
                raise errors.FlashError("otadata cannot be read: %s" % error)
            sequence = int.from_bytes(buf[:4], "little")
            crc = int.from_bytes(buf[28:], "little")
            if sequence != 0xFFFFFFFF and crc32(buf[:4], 0xFFFFFFFF) == crc:
                records.append((sequence, int.from_bytes(buf[24:28], "little")))
        return records


def check_image(start, chip):
    """Check the first bytes, 36 of them at least, of an application image for `chip` (chip id).

    `set_boot` would also take a bootloader, which the bootloader then refuses to start; the
    application descriptor's magic at 32 tells them apart. Raises ImageError.
    """
    if len(start) < 36 or start[0] != IMAGE_MAGIC or bytes(start[32:36]) != _DESCRIPTOR:
        raise errors.ImageError("the firmware is not an ESP32 application image")
    if start[12] | start[13] << 8 != chip:
        raise errors.ImageError("the image's header names chip %d" % (start[12] | start[13] << 8))

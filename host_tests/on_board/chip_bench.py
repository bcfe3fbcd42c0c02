"""A simulated chip for tests: flash with images, boots, and power that fails on demand."""

from hashlib import sha256

import bootloader
import hardware
import nor
from layout import FLASH_SIZE, SLOTS

DROM = 0x3F400020


def image(name, load=DROM, **changes):
    """Return a small valid image that holds `name` (str or bytes).

    changes: magic, chip, segments, hashed: header fields to set.
    """
    header = bytearray(24)
    header[0] = changes.get("magic", 0xE9)
    header[1] = changes.get("segments", 1)
    header[12] = changes.get("chip", 0)
    header[17:19] = (399).to_bytes(2, "little")
    header[23] = changes.get("hashed", 1)
    name = name if isinstance(name, bytes) else name.encode()
    data = name + bytes(64 - len(name))
    body = load.to_bytes(4, "little") + len(data).to_bytes(4, "little") + data
    out = bytes(header) + body
    checksum = 0xEF
    for byte in data:
        checksum ^= byte
    out += bytes(15 - len(out) % 16) + bytes([checksum])
    return out + sha256(out).digest()


class Bench:
    """A board with "old" in slot 0 and "new" in slot 1, running slot 0 by a blank otadata."""

    def __init__(self, rollback=True):
        self.flash = nor.Nor(nor.Memory(), FLASH_SIZE)
        self.rollback = rollback
        hardware.board = None
        self.put(0, image("old"))
        self.put(1, image("new"))
        self.boot(hardware.PWRON)

    def put(self, slot, data):
        """Write an image by cable."""
        start = SLOTS[slot][3]
        for sector in range(start // nor.SECTOR, (start + len(data)) // nor.SECTOR + 1):
            self.flash.erase(sector)
        self.flash.program(start, data)

    def boot(self, cause=hardware.HARD):
        """Reset; returns the slot that runs."""
        return hardware.power_on(self.flash, cause, self.rollback).running

    def run(self, action):
        """Run `action` until it returns or resets; returns the reset's cause or None."""
        try:
            action()
        except hardware.Reset as reset:
            return reset.cause
        return None

    def cut(self, action, operation):
        """Run `action`, the power failing in its `operation`th (from 1). Says whether it did."""
        self.flash.cut_at = self.flash.operations + operation
        try:
            action()
            return False
        except nor.PowerCut:
            return True
        finally:
            self.flash.cut_at = None

    def records(self):
        return bootloader.records(self.flash)

    def bytes_at(self, address, length):
        buf = bytearray(length)
        self.flash.read(address, buf)
        return bytes(buf)


def error_of(action, *arguments, kind=OSError):
    """Return the exception of this kind that `action` raises."""
    try:
        action(*arguments)
    except kind as error:
        return error
    raise AssertionError("nothing was raised")

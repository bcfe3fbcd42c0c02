"""Where everything lies in the flash of a simulated board: its partition table.

The bootloader and the chip's modules read it from flash, as on a chip; a flash without a table has
the one that `fleet flash` lays out on 4 MB. (Format: ESP-IDF, partition-tables.rst)
"""

FLASH_SIZE = 0x400000
SLOT_SIZE = 0x1B0000
SECTOR = 4096
# The number of a factory application among the slots, as in ESP-IDF's bootloader_utility.c.
FACTORY = -1

_ADDRESS = 0x8000
_ROWS = 94
_MAGIC = b"\xaa\x50"

# label, type, subtype, offset, size (bytes)
TABLE = (
    ("nvs", 1, 0x02, 0x9000, 0x5000),
    ("otadata", 1, 0x00, 0xE000, 0x2000),
    ("ota_0", 0, 0x10, 0x10000, SLOT_SIZE),
    ("ota_1", 0, 0x11, 0x1C0000, SLOT_SIZE),
    ("vfs", 1, 0x81, 0x370000, 0x90000),
)


class Layout:
    """A partition table. rows: as TABLE; slots: its OTA slots, ota_0 first."""

    def __init__(self, rows):
        self.rows = tuple(rows)
        slots = [row for row in self.rows if row[1] == 0 and 0x10 <= row[2] < 0x20]
        self.slots = tuple(sorted(slots, key=lambda row: row[2]))

    def find(self, label):
        """Return the row with this label, None without one."""
        for row in self.rows:
            if row[0] == label:
                return row
        return None

    def of(self, kind, subtype):
        """Return the first row of a type and subtype, None without one."""
        for row in self.rows:
            if row[1:3] == (kind, subtype):
                return row
        return None

    def app(self, index):
        """Return the row of a slot, or of FACTORY; None for a factory that is not there."""
        return self.of(0, 0) if index == FACTORY else self.slots[index]

    @property
    def files(self):
        """Return the row of the file system, None without one.

        The labels are those that MicroPython looks for (ports/esp32, flashbdev.py).
        """
        return self.find("vfs") or self.find("ffat")


DEFAULT = Layout(TABLE)
SLOTS = DEFAULT.slots
NVS, OTADATA, OTA_0, OTA_1, VFS = TABLE
find = DEFAULT.find


def of(flash):
    """Return the Layout of a flash (nor.Nor), which keeps it."""
    if flash.layout is None:
        rows = _read(flash)
        flash.layout = Layout(_with_files(rows, flash.size)) if rows else DEFAULT
    return flash.layout


def _with_files(rows, size):
    """Add the file system that MicroPython makes behind the last partition from 1.26 on."""
    end = max([row[3] + row[4] for row in rows])
    if end < size and not [row for row in rows if row[0] in ("vfs", "ffat")]:
        rows.append(("vfs", 1, 0x81, end, size - end))
    return rows


def _read(flash):
    """Return the rows of the table in flash, as the bootloader finds them."""
    rows = []
    buf = bytearray(32)
    for number in range(_ROWS):
        flash.read(_ADDRESS + 32 * number, buf)
        if buf[:2] != _MAGIC:
            break
        label = str(bytes(buf[12:28]).rstrip(b"\x00"), "utf-8")
        offset, size = (int.from_bytes(buf[at : at + 4], "little") for at in (4, 8))
        rows.append((label, buf[2], buf[3], offset, size))
    return rows

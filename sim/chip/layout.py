"""The partition table of the simulated board: what tools/flash.sh lays out on 4 MB."""

FLASH_SIZE = 0x400000
SLOT_SIZE = 0x1B0000
SECTOR = 4096

# label, type, subtype, offset, size (bytes)
TABLE = (
    ("nvs", 1, 0x02, 0x9000, 0x5000),
    ("otadata", 1, 0x00, 0xE000, 0x2000),
    ("ota_0", 0, 0x10, 0x10000, SLOT_SIZE),
    ("ota_1", 0, 0x11, 0x1C0000, SLOT_SIZE),
    ("vfs", 1, 0x81, 0x370000, 0x90000),
)


def find(label: str) -> "tuple[str, int, int, int, int] | None":
    """Return the row of TABLE with this label, None without one."""
    for row in TABLE:
        if row[0] == label:
            return row
    return None


NVS, OTADATA, OTA_0, OTA_1, VFS = TABLE
SLOTS = (OTA_0, OTA_1)

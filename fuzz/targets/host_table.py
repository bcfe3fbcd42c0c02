"""The host's readers of partition tables and otadata."""

import hashlib

import _samples

from twinslot.formats import otadata, table

ALLOWED = (table.TableError,)
COVERS = (
    "src/twinslot/formats/table.py: parse find need slots has_otadata Partition",
    "src/twinslot/formats/otadata.py",
)
SEEDS = (_samples.partitions(), _samples.partitions()[:64], bytes.fromhex("01000000") + bytes(60))


def run(data: bytes) -> None:
    """Read a table as it is and with a right digest, and two records of otadata."""
    records = []
    for at in (0, 32):
        record = data[at : at + 32]
        records.append(otadata.parse(record))
        sealed = record[:28] + otadata.crc(record[:4]).to_bytes(4, "little")
        records.append(otadata.parse(sealed))
    if (found := otadata.active(records)) is not None:
        assert 0 <= found.slot(2) < 2
    length = len(data) // 32 * 32
    rows = data[:length]
    row = b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(rows, usedforsecurity=False).digest()
    for variant in (rows + row, data):
        parsed = table.parse(variant)
        assert table.find(parsed, "nvs") is None or table.need(parsed, "nvs")
        assert len(table.slots(parsed)) <= len(parsed)
        table.has_otadata(parsed)
        table.need(parsed, "ota_0")

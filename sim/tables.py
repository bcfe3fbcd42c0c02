"""Partition tables as people write them: the CSV of ESP-IDF's gen_esp32part.py, read.

`Name, Type, SubType, Offset, Size, Flags` in each line, `#` begins a comment. Without an offset a
partition follows the one before it, an application on the next 64 KB. Numbers may be hexadecimal,
or end in K or M. (ESP-IDF, partition-tables.rst)
"""

from __future__ import annotations

from pathlib import Path

from twinslot.formats.chips import MMU_PAGE, SECTOR
from twinslot.formats.table import ADDRESS, APP, Partition, Table, TableError

_TYPES = {"app": 0, "data": 1}
_SUBTYPES = {
    0: {"factory": 0x00, "test": 0x20, **{f"ota_{number}": 0x10 + number for number in range(16)}},
    1: {
        "ota": 0x00,
        "phy": 0x01,
        "nvs": 0x02,
        "coredump": 0x03,
        "nvs_keys": 0x04,
        "efuse": 0x05,
        "undefined": 0x06,
        "esphttpd": 0x80,
        "fat": 0x81,
        "spiffs": 0x82,
        "littlefs": 0x83,
    },
}
_FLAGS = {"": 0, "encrypted": 1, "readonly": 2}
_UNITS = {"K": 1 << 10, "M": 1 << 20}


def read(path: Path) -> Table:
    """Return the table in a CSV file. Raises TableError with the number of the line."""
    found: list[Partition] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        fields = [field.strip() for field in line.split("#")[0].split(",")]
        if fields == [""]:
            continue
        try:
            found.append(_row(fields, found[-1].end if found else ADDRESS + SECTOR))
        except (KeyError, ValueError, IndexError) as error:
            raise TableError(f"{path.name}, line {number}: {line.strip()!r}: {error!r}") from error
    return tuple(found)


def _row(fields: list[str], end: int) -> Partition:
    """Return one row. end: of the partition before it."""
    label, kind, subtype, offset, size, *rest = fields
    type_ = _TYPES[kind] if kind in _TYPES else int(kind, 0)
    known = _SUBTYPES.get(type_, {})
    unit = MMU_PAGE if type_ == APP else SECTOR
    return Partition(
        label,
        type_,
        known[subtype] if subtype in known else int(subtype, 0),
        _number(offset) if offset else -(-end // unit) * unit,
        _number(size),
        sum(_FLAGS[flag] for flag in "".join(rest).split(":")),
    )


def _number(text: str) -> int:
    unit = _UNITS.get(text[-1:].upper(), 1)
    return int(text[:-1] if unit > 1 else text, 0) * unit

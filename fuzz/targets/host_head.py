"""The host's reader of a package's signed head."""

import _samples

from twinslot.errors import PackageError
from twinslot.formats import head
from twinslot.formats.chips import SECTOR

ALLOWED = (PackageError,)
COVERS = ("src/twinslot/formats/head.py: read_head read_record _read_protected Head",)
_MANIFEST = _samples.manifest()
SEEDS = (
    _samples.record(_MANIFEST),
    _samples.package()[:SECTOR],
    head.write_record(head.protected_header(bytes(8)), _MANIFEST, bytes(63)),
    head.write_record(head.protected_header(bytes(7)), _MANIFEST, bytes(64)),
)


def run(data: bytes) -> None:
    """Read a head as it is, padded, and with the length of its record made right."""
    long = data[:4] + max(0, len(data) - 8).to_bytes(4, "big") + data[8:]
    for variant in (long.ljust(SECTOR, b"\xff"), data.ljust(SECTOR, b"\xff")):
        try:
            found = head.read_head(variant)
        except PackageError:
            continue
        assert len(found.identity) == 32 and found.signed_bytes
    try:
        head.read_record(data)
    except PackageError:
        pass
    head.read_head(data)

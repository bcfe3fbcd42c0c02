"""The host's reader of a slot's trailer."""

import hashlib

import _samples

from twinslot.errors import PackageError
from twinslot.formats import trailer

ALLOWED = (PackageError,)
COVERS = ("src/twinslot/formats/trailer.py: read_trailer",)
_RECORD = _samples.record(_samples.manifest())
SEEDS = (
    trailer.write_trailer([_RECORD], "app_0"),
    trailer.write_trailer([_RECORD, _RECORD]),
    _RECORD + b"\x00",
)


def run(data: bytes) -> None:
    """Read a trailer with a right digest, its directory at the input's end, and as it is."""
    body = data[:-8].ljust(4056, b"\xff")[:4056] + data[-8:].rjust(8, b"\0")
    for sealed in (data[:-32], body):
        try:
            trailer.read_trailer(sealed + hashlib.sha256(sealed).digest())
        except PackageError:
            continue
    trailer.read_trailer(data)

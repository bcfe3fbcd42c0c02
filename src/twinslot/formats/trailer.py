"""The slot trailer: what the last sector of an OTA slot says about the slot (package format 1).

Pure.
"""

import hashlib
from collections.abc import Sequence

from twinslot.errors import PackageError
from twinslot.formats.chips import SECTOR
from twinslot.formats.head import PACKAGE_MAGIC, Head, read_record

RECORDS_LENGTH = 4056  # bytes
DIRECTORY_LENGTH = 8  # bytes behind the records; then the SHA-256 of both


def write_trailer(records: Sequence[bytes], directory: str = "") -> bytes:
    """Return the last 4096 bytes of an OTA slot. Raises PackageError.

    `records`: one or two, newest first, each as Head.record or longer (a head, a package).
    `directory`: the application directory that goes with the slot, "" for none.
    """
    if not 1 <= len(records) <= 2:
        raise PackageError(f"a trailer holds one or two records, not {len(records)}")
    name = directory.encode("ascii", "replace")
    if len(name) > DIRECTORY_LENGTH or b"?" in name or b"\0" in name:
        raise PackageError(f"directory {directory!r}: at most {DIRECTORY_LENGTH} ASCII characters")
    body = b"".join(read_record(record).record for record in records)
    body = body.ljust(RECORDS_LENGTH, b"\xff") + name.ljust(DIRECTORY_LENGTH, b"\0")
    return body + hashlib.sha256(body).digest()


def read_trailer(data: bytes) -> tuple[tuple[Head, ...], str]:
    """The records and the directory of a slot trailer of 4096 bytes.

    Raises PackageError when it is none. Signatures are not checked: see trust.signing.
    """
    if len(data) != SECTOR:
        raise PackageError(f"a slot trailer has {SECTOR} bytes, these are {len(data)}")
    body, digest = data[:-32], data[-32:]
    if hashlib.sha256(body).digest() != digest:
        raise PackageError("no slot trailer: its SHA-256 does not match")
    heads, rest = [read_record(body[:RECORDS_LENGTH])], body[:RECORDS_LENGTH]
    rest = rest[len(heads[0].record) :]
    if rest[:4] == PACKAGE_MAGIC:
        heads.append(read_record(rest))
        rest = rest[len(heads[1].record) :]
    if rest.strip(b"\xff"):
        raise PackageError("the slot trailer is not padded with 0xFF")
    name = body[RECORDS_LENGTH:].rstrip(b"\0")
    if not name.isascii() or b"\0" in name:
        raise PackageError("the slot trailer names no directory: it is not ASCII")
    return tuple(heads), name.decode("ascii")

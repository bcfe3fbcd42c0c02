"""The host's reader of an application archive."""

import _samples

from twinslot.formats import archive

ALLOWED = (archive.ArchiveError,)
COVERS = (
    "src/twinslot/formats/archive.py: read contents _read_header _check_path _check_listing"
    " _order _parents",
)
_BROKEN = (
    _samples.entries("lib", "lib/", "main.py"),
    _samples.entries("boot.py", "main.py"),
    _samples.entries("a.mpy", "a.py", "main.py"),
)
SEEDS = (_samples.files(), _samples.files()[:1024], bytes(1024), *_BROKEN)


def run(data: bytes) -> None:
    """Read an archive with right headers, with what is missing at its end, and as it is.

    The archive of its files is the same one.
    """
    summed = bytearray(data)
    for at in range(0, len(data) - 511, 512):
        header = summed[at : at + 512]
        if header[257:262] == b"ustar":
            header[148:156] = b"        "
            summed[at + 148 : at + 156] = b"%06o\0 " % sum(header)
    full = bytes(summed) + bytes(-len(data) % 512)
    for variant in (full, full + bytes(1024)):
        try:
            archive.read(variant)
        except archive.ArchiveError:
            continue
    found = archive.contents(data)
    if not any(entry.is_directory for entry in archive.read(data)):
        assert archive.build(found) == data

"""The application archive: POSIX ustar, so strict that one set of files has exactly one archive.

A board computes the archive's SHA-256 again from the files that it unpacked, so nothing in it may
be left to whoever wrote it. Pure: files in, bytes out, or ArchiveError with entry and rule.

Rules
- Entries are regular files (typeflag 0) and directories (typeflag 5, path ends with "/"). Every
  directory is listed, before what lies in it. At most 1000 entries.
- A header is the path zero padded to 100 bytes; mode, uid, gid "0000000" NUL; size as 11 octal
  digits and NUL, 0 for directories; mtime of 11 zeros and NUL; the checksum as 6 octal digits, NUL,
  space; typeflag; magic "ustar" NUL, version "00"; zero bytes everywhere else.
- Entries stand in strictly ascending order of their lower-cased paths' bytes, a directory's with
  its slash: there are neither duplicates nor names that differ in case alone. Nor is one name a
  file and a directory at once.
- A path has 1 to 100 bytes with a directory's slash, all printable ASCII (0x20 to 0x7E) but
  backslash; it is relative, and no part of it is empty, "." or "..".
- At the top level there is main.py or main.mpy, and neither boot.py, boot.mpy, etc nor .files. No
  module is there as .py and as .mpy at once.
- Contents are zero padded to 512 bytes. Exactly two blocks of 512 zero bytes end the archive.
"""

import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from twinslot.errors import FleetError

BLOCK = 512  # bytes
MAX_ENTRIES = 1000
MAX_PATH = 100  # bytes
MAIN = ("main.py", "main.mpy")

_END = bytes(2 * BLOCK)
_OCTAL = frozenset(b"01234567")
_BOOT = "the first code of a board is never updated over the air: nothing could take it back"
_RESERVED = {
    "boot.py": _BOOT,
    "boot.mpy": _BOOT,
    "etc": "settings and keys lie in the board's own /etc and survive every update",
    ".files": "the board keeps its own listing there",
}
# Where the fields of a header are, for the sentence about the one that is wrong.
_FIELDS = {
    "name": (0, 100),
    "mode": (100, 108),
    "uid": (108, 116),
    "gid": (116, 124),
    "size": (124, 136),
    "mtime": (136, 148),
    "typeflag": (156, 157),
    "linkname": (157, 257),
    "magic and version": (257, 265),
    "uname": (265, 297),
    "gname": (297, 329),
    "devmajor": (329, 337),
    "devminor": (337, 345),
    "prefix": (345, 500),
    "rest": (500, 512),
    "checksum": (148, 156),  # last, as it differs whenever another one does
}
_OTHER_TYPES = {
    b"\0": "of an old tar's form",
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a FIFO",
    b"g": "a pax header",
    b"x": "a pax header",
    b"K": "a GNU extension",
    b"L": "a GNU extension",
    b"S": "a GNU extension",
}


class ArchiveError(FleetError):
    """The archive, or the files to put into one, break a rule; the sentence names entry and rule.

    `entry` is the path, "" where the archive as a whole is meant.
    """

    def __init__(self, rule: str, entry: str = "") -> None:
        super().__init__(f"application archive{', ' + repr(entry) if entry else ''}: {rule}")
        self.entry = entry


@dataclass(frozen=True)
class Entry:
    """A file or directory. `size` in bytes; `offset` of the contents in the archive.

    The `path` of a directory ends with "/".
    """

    path: str
    size: int
    offset: int

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory."""
        return self.path.endswith("/")


def build(files: Mapping[str, bytes]) -> bytes:
    """The archive of these files, path to contents; directories are made where paths need them.

    Raises ArchiveError.
    """
    paths = {*files, *(f"{parent}/" for path in files for parent in _parents(path))}
    for path in files:
        _check_path(path)
        if path.endswith("/"):  # so that directories are those that are made here
            raise ArchiveError("the path of a file does not end with a slash", path)
    ordered = sorted(paths, key=_order)
    _check_listing(ordered)
    parts = []
    for path in ordered:
        data = files.get(path, b"")
        parts += [_header(path, len(data)), data, bytes(-len(data) % BLOCK)]
    return b"".join([*parts, _END])


def read(data: bytes) -> tuple[Entry, ...]:
    """The entries of an archive, in its order. Raises ArchiveError unless it keeps every rule."""
    entries: list[Entry] = []
    at = 0
    while True:
        header = data[at : at + BLOCK]
        if len(header) < BLOCK:
            raise ArchiveError("cut short: two blocks of zero bytes end an archive")
        if not any(header):
            break
        if len(entries) == MAX_ENTRIES:
            raise ArchiveError(f"more than {MAX_ENTRIES} entries")
        path, size = _read_header(header, len(entries) + 1)
        entry = Entry(path, size, at + BLOCK)
        at = entry.offset + size + -size % BLOCK
        if at > len(data):
            raise ArchiveError(
                f"cut short: {size} bytes announced, {len(data) - entry.offset} there", path
            )
        if any(data[entry.offset + size : at]):
            raise ArchiveError("the contents are not padded with zero bytes", path)
        entries.append(entry)
    if data[at:] != _END:
        raise ArchiveError("exactly two blocks of zero bytes end an archive, and nothing follows")
    _check_listing([entry.path for entry in entries])
    return tuple(entries)


def contents(data: bytes) -> dict[str, bytes]:
    """The files of an archive, path to contents: what `build` made it of. Raises ArchiveError."""
    return {
        entry.path: data[entry.offset : entry.offset + entry.size]
        for entry in read(data)
        if not entry.is_directory
    }


def _header(path: str, size: int) -> bytes:
    info = tarfile.TarInfo(path)
    info.type = tarfile.DIRTYPE if path.endswith("/") else tarfile.REGTYPE
    info.mode = 0
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def _read_header(header: bytes, number: int) -> tuple[str, int]:
    """Path and size; `number` of the entry for a path that cannot be shown."""
    if header[257:265] != b"ustar\x0000":
        raise ArchiveError(f"entry {number} has no ustar header")
    path = header[:MAX_PATH].rstrip(b"\0").decode("latin-1")
    _check_path(path)
    type_flag = header[156:157]
    if type_flag not in (tarfile.REGTYPE, tarfile.DIRTYPE):
        what = _OTHER_TYPES.get(type_flag, f"of type {type_flag!r}")
        raise ArchiveError(f"neither a regular file nor a directory, but {what}", path)
    if path.endswith("/") != (type_flag == tarfile.DIRTYPE):
        raise ArchiveError("a directory's path ends with a slash, and no file's", path)
    digits = header[124:135]
    if not _OCTAL.issuperset(digits) or header[135]:
        raise ArchiveError("the header's size is not 11 octal digits and a zero byte", path)
    size = int(digits, 8)
    if size and path.endswith("/"):
        raise ArchiveError(f"a directory has size 0, not {size}", path)
    expected = _header(path, size)
    for name, (start, end) in _FIELDS.items():
        if header[start:end] != expected[start:end]:
            raise ArchiveError(
                f"the header's {name} is {header[start:end]!r} instead of {expected[start:end]!r}",
                path,
            )
    return path, size


def _check_path(path: str) -> None:
    if not 1 <= len(path) <= MAX_PATH:
        raise ArchiveError(f"a path has 1 to {MAX_PATH} bytes", path)
    if not all(" " <= character <= "~" for character in path) or "\\" in path:
        raise ArchiveError("a path is printable ASCII without backslash", path)
    if path.startswith("/"):
        raise ArchiveError("a path is relative", path)
    if any(part in ("", ".", "..") for part in path.removesuffix("/").split("/")):
        raise ArchiveError('no part of a path is empty, "." or ".."', path)


def _check_listing(paths: list[str]) -> None:
    """Check the rules that bind the paths together; each has been checked by itself."""
    if len(paths) > MAX_ENTRIES:
        raise ArchiveError(f"{len(paths)} entries, more than {MAX_ENTRIES}")
    seen: set[str] = set()
    names: dict[str, str] = {}
    last = b""
    for path in paths:
        order = _order(path)
        if order == last:
            raise ArchiveError("this name is there twice, if only in another case", path)
        if order < last:
            raise ArchiveError("not in ascending order of lower-cased paths", path)
        last = order
        name = path.lower().removesuffix("/")
        if name in names:
            raise ArchiveError(f"a file and a directory at once, as {names[name]!r}", path)
        if name in _RESERVED:
            raise ArchiveError(_RESERVED[name], path)
        for parent in _parents(path):
            if f"{parent}/" not in seen:
                raise ArchiveError(f"its directory {parent + '/'!r} is not listed before it", path)
        seen.add(path)
        names[name] = path
    for path in paths:
        compiled = names.get(path.lower()[:-2] + "mpy", "/")
        if path.lower().endswith(".py") and not compiled.endswith("/"):
            raise ArchiveError("the module is there as .py and as .mpy; one of them must go", path)
    if not seen.intersection(MAIN):
        raise ArchiveError("there is no main.py or main.mpy at the top level")


def _order(path: str) -> bytes:
    return path.lower().encode("ascii")


def _parents(path: str) -> Iterable[str]:
    """The directories above a path, the outermost first, without their slashes."""
    parts = path.removesuffix("/").split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))

"""The board's littlefs as bytes on the host, with the parameters that MicroPython mounts it with.

Written as littlefs 2.1, which MicroPython reads and writes since 1.22. A cache larger than
MicroPython's would make inline files that it cannot read whole.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath

from littlefs import LittleFS, LittleFSError
from littlefs.context import UserContext

from twinslot.errors import FleetError
from twinslot.formats.littlefs_blocks import BLOCK

_UNIT = 32  # bytes: read, program and lookahead size (VfsLfs2's defaults)
_CACHE = 4 * _UNIT  # bytes (extmod/vfs_lfsx.c)
_VERSION = 0x00020001


class FilesystemError(FleetError):
    """The files do not fit, or the bytes are no littlefs."""


class Region(UserContext):
    """A part of flash in memory, as littlefs-python wants it."""

    def __init__(self, data: bytearray) -> None:
        self.data = data

    def read(self, _cfg: object, block: int, off: int, size: int) -> bytearray:
        """Return bytes of a block."""
        at = block * BLOCK + off
        return self.data[at : at + size]

    def prog(self, _cfg: object, block: int, off: int, data: bytes) -> int:
        """Program bytes of a block."""
        at = block * BLOCK + off
        self.data[at : at + len(data)] = data
        return 0

    def erase(self, _cfg: object, block: int) -> int:
        """Erase a block."""
        at = block * BLOCK
        self.data[at : at + BLOCK] = b"\xff" * BLOCK
        return 0

    def sync(self, _cfg: object) -> int:
        """Nothing is kept back."""
        return 0


def mount(data: bytearray) -> LittleFS:
    """Mount a partition's bytes, which then change with the file system; a blank one is formatted.

    Raises FilesystemError for bytes that are no littlefs.
    """
    fs = LittleFS(
        context=Region(data),
        block_size=BLOCK,
        block_count=len(data) // BLOCK,
        prog_size=_UNIT,
        read_size=_UNIT,
        lookahead_size=_UNIT,
        cache_size=_CACHE,
        disk_version=_VERSION,
        mount=False,
    )
    try:
        if data.count(0xFF) == len(data):
            fs.format()
        fs.mount()
    except LittleFSError as error:
        raise FilesystemError(f"no littlefs that can be mounted: {error}") from error
    return fs


def write(fs: LittleFS, files: Mapping[str, bytes]) -> None:
    """Write files (absolute path to bytes) into a mounted file system; others stay.

    Raises FilesystemError, naming the file, when it is full.
    """
    for path, data in files.items():
        try:
            fs.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
            with fs.open(path, "wb") as file:
                file.write(data)
        except LittleFSError as error:
            raise FilesystemError(
                f"{path} ({len(data)} bytes) cannot be written into a file system of "
                f"{fs.block_count * BLOCK} bytes: {error}"
            ) from error


def build(files: Mapping[str, bytes], size: int) -> bytes:
    """Return a new littlefs of `size` bytes, a multiple of 4096, that holds these files.

    Raises FilesystemError when they do not fit.
    """
    data = bytearray(b"\xff" * size)
    fs = mount(data)
    write(fs, files)
    fs.unmount()
    return bytes(data)

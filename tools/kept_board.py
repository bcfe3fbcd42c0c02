"""The board of this version, as `fleet flash` makes it: kept, so that later agents update it.

boot.py stays for the life of a board, and a board may miss any number of releases. So each release
keeps the flash of one board in host_tests/boards/, and host_tests/test_earlier_releases.py takes
every one of them over the air to today's agent and back. A board that is kept never changes: a
version means the same bytes for ever, and what differs gets another version.
"""

import lzma
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from sim import image
from sim.board import firmware
from tools.paths import ROOT, VENV_BIN
from twinslot import __version__
from twinslot.board import filesystem
from twinslot.formats import table
from twinslot.formats.chips import CHIPS

FOLDER = ROOT / "host_tests/boards"
DEVELOPMENT = ".dev"
"""A part of the version of what is no release (PEP 440)."""
_SUFFIX = ".bin.xz"
_FIRMWARE_SIZE = 20_000
_VFS = "vfs"


class KeptError(Exception):
    """The board of this version is kept already, or none can be: the text says which."""


def path(version: str) -> Path:
    """Return where the board of a version is kept."""
    return FOLDER / f"{version}{_SUFFIX}"


def versions() -> list[str]:
    """Return the releases whose boards are kept."""
    return sorted(found.name.removesuffix(_SUFFIX) for found in FOLDER.glob(f"*{_SUFFIX}"))


def kept(version: str) -> bytes:
    """Return the flash of the board of a version, as it was kept. Raises FileNotFoundError."""
    return lzma.decompress(path(version).read_bytes())


def files(flash: bytes) -> dict[str, bytes]:
    """Return the files of a board by their path: boot.py, main.py, the agent."""
    place = table.need(table.parse(flash[table.ADDRESS : table.ADDRESS + table.LENGTH]), _VFS)
    mounted = filesystem.mount(bytearray(flash[place.offset : place.offset + place.size]))
    found = {}
    for folder, _, names in mounted.walk("/"):
        for name in names:
            where = f"{folder.rstrip('/')}/{name}"
            with mounted.open(where, "rb") as file:
                found[where] = file.read()
    return found


def differing(version: str) -> list[str]:
    """Return the files in which the board of a version differs from that of the sources."""
    before, now = files(kept(version)), files(make())
    return sorted(name for name in before | now if before.get(name) != now.get(name))


def make() -> bytes:
    """Return the flash of a simulated board without settings, from the sources as they are."""
    with tempfile.TemporaryDirectory(prefix="kept-board-") as scratch:
        folder = Path(scratch)
        download = image.merged(
            firmware(version="1.0.0", size=_FIRMWARE_SIZE, compiled=True),
            CHIPS["esp32"],
            image.PLAIN_TABLE,
        )
        (folder / "download.bin").write_bytes(download)
        for arguments in (
            ("init", "--broker", "127.0.0.1:1883"),
            ("flash", "download.bin", "--fleet", ".", "--image-only", "board.bin"),
        ):
            subprocess.run(
                [VENV_BIN / "fleet", *arguments], cwd=folder, capture_output=True, check=True
            )
        return (folder / "board.bin").read_bytes()


def keep(version: str, make: Callable[[], bytes] = make) -> Path:
    """Keep the board of a version. Returns its file. Raises KeptError, and changes nothing then."""
    if DEVELOPMENT in version:
        raise KeptError(f"{version} is no release: set the version of one, then keep its board")
    target = path(version)
    if target.exists():
        raise KeptError(f"the board of {version} is kept and stays: other bytes, other version")
    FOLDER.mkdir(exist_ok=True)
    target.write_bytes(lzma.compress(make(), preset=9))
    return target


def main() -> int:
    """Keep the board of this version. Returns the exit code."""
    try:
        target = keep(__version__)
    except KeptError as error:
        sys.stderr.write(f"kept_board: {error}\n")
        return 1
    sys.stdout.write(f"{target.stat().st_size:>9}  {target.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

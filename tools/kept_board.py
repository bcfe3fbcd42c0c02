"""The board of this version, as `fleet flash` makes it: kept, so that later agents update it.

boot.py stays for the life of a board, and a board may miss any number of releases. So each release
keeps the flash of one board in host_tests/boards/, and host_tests/test_earlier_releases.py takes
every one of them over the air to today's agent and back.
"""

import lzma
import subprocess
import sys
import tempfile
from pathlib import Path

from sim import image
from sim.board import firmware
from tools.paths import ROOT, VENV_BIN
from twinslot import __version__
from twinslot.formats.chips import CHIPS

FOLDER = ROOT / "host_tests/boards"
_SUFFIX = ".bin.xz"
_FIRMWARE_SIZE = 20_000


def path(version: str) -> Path:
    """Return where the board of a version is kept."""
    return FOLDER / f"{version}{_SUFFIX}"


def versions() -> list[str]:
    """Return the releases whose boards are kept."""
    return sorted(found.name.removesuffix(_SUFFIX) for found in FOLDER.glob(f"*{_SUFFIX}"))


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


def main() -> int:
    """Keep the board of this version. Returns the exit code."""
    FOLDER.mkdir(exist_ok=True)
    target = path(__version__)
    target.write_bytes(lzma.compress(make(), preset=9))
    sys.stdout.write(f"{target.stat().st_size:>9}  {target.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

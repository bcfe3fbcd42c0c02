"""`python -m board_tests.restore PORT FILE`: put a board back after a run that was killed.

FILE: what that run kept, in build/board-test-before/. It is removed once the board has it all.
"""

import sys
import tempfile
from pathlib import Path

from board_tests import kept
from board_tests.device import opened
from twinslot.errors import FleetError


def main(port: str, file: Path) -> None:
    """Put a board back. Raises FleetError."""
    before = kept.Kept.read(file)
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(port, Path(folder, "console.log")) as board,
    ):
        kept.restore(board, before)
    file.unlink()


if __name__ == "__main__":
    try:
        _port, _file = sys.argv[1:]
    except ValueError:
        sys.exit(__doc__)
    try:
        main(_port, Path(_file))
    except FleetError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write("The board is as it was before the run.\n")

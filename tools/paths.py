"""Where things are in the work tree. Standard library only."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
VENV = ROOT / ".venv"
VENV_BIN = VENV / "bin"
VENV_PYTHON = VENV_BIN / "python"


def say(text: str) -> None:
    """Show one line of progress on standard error, so that standard output stays a tool's own."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()

"""Where the sources lie that run on boards.

An installed package has them in `on_board/` beside this module, put there when the wheel is built
(setup.py). In a checkout, and in an editable install of one, they are the top level's `boot.py` and
`firmware/`.
"""

import ast
from pathlib import Path

_INSTALLED = Path(__file__).parent / "on_board"
_CHECKOUT = Path(__file__).parents[3]

FIRMWARE = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT / "firmware"
"""The folder of main.py, link.py, reserve.py and ota/."""
BOOT = FIRMWARE / "boot.py" if _INSTALLED.is_dir() else _CHECKOUT / "boot.py"
"""The file boot.py."""


def boot_py() -> bytes:
    """Return boot.py as a board gets it: without docstrings, blank lines and lines of comment.

    They are a third of the file, which takes whole blocks of flash, and memory at each start. The
    line that ends the part of a trial stays: boot.py looks for it.
    """
    text = BOOT.read_text(encoding="utf-8")
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                docstrings.update(range(first.lineno, (first.end_lineno or 0) + 1))
    kept = [
        line
        for number, line in enumerate(text.splitlines(keepends=True), start=1)
        if number not in docstrings and (line.startswith("# == ") or _is_code(line))
    ]
    return "".join(["# boot.py of twinslot, without the comments of its source\n", *kept]).encode()


def _is_code(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")

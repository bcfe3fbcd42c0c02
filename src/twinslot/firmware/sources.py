"""Where the sources lie that run on boards.

An installed package has them in `on_board/` beside this module, put there when the wheel is built
(setup.py). In a checkout, and in an editable install of one, they are the top level's `boot.py` and
`firmware/`.
"""

import ast
import io
import tokenize
from pathlib import Path

_INSTALLED = Path(__file__).parent / "on_board"
_CHECKOUT = Path(__file__).parents[3]

FIRMWARE = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT / "firmware"
"""The folder of main.py, link.py and ota/."""
BOOT = FIRMWARE / "boot.py" if _INSTALLED.is_dir() else _CHECKOUT / "boot.py"
"""The file boot.py."""


def boot_py() -> bytes:
    """Return boot.py as a board gets it: without docstrings, comments and wide indentation.

    They are two fifths of the file, which takes whole blocks of flash, and memory at each start.
    The line that ends the part of a trial stays: boot.py looks for it.
    """
    text = BOOT.read_text(encoding="utf-8")
    dropped = _docstrings(text)
    comments = {
        token.start[0]: token.start[1]
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    }
    kept = ["# boot.py of twinslot, without the comments of its source"]
    for number, line in enumerate(text.splitlines(), start=1):
        code = line if line.startswith("# == ") else line[: comments.get(number)].rstrip()
        if code and number not in dropped:
            inner = code.lstrip()
            kept.append(" " * ((len(code) - len(inner)) // 4) + inner)
    return ("\n".join(kept) + "\n").encode()


def _docstrings(text: str) -> set[int]:
    """Return the numbers of the lines that docstrings take."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                lines.update(range(first.lineno, (first.end_lineno or 0) + 1))
    return lines

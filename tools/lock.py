"""`make lock`: work out requirements.lock and tools/stubs.lock again, with uv, for every platform.

uv itself is not pinned: what it writes is reviewed and committed, and only that is ever installed.
"""

import subprocess
import sys
import venv
from pathlib import Path

from tools.paths import CACHE, ROOT

OLDEST_PYTHON = "3.11"
# The second: the oldest standard library that mypy takes for one.
STUBS = ("micropython-esp32-stubs==1.22.0.post1", "micropython-stdlib-stubs==1.24.1.post2")


def compile_lock(uv: Path, sources: list[str], target: Path, text: str | None = None) -> None:
    """Let `uv` pin all that `sources` (or `text`, as "-") name, with hashes, into `target`."""
    options = [
        "--universal",
        "--python-version",
        OLDEST_PYTHON,
        "--generate-hashes",
        "--no-emit-index-url",
    ]
    argv = [str(uv), "pip", "compile", "--quiet", "--upgrade", "--no-header", *options]
    subprocess.run(
        [*argv, "-o", str(target), *sources], cwd=ROOT, input=text, text=True, check=True
    )


def main() -> int:
    """Write both lock files."""
    folder = CACHE / "lock"
    venv.create(folder, clear=True, with_pip=False)
    python = str(folder / "bin/python")
    pip = [sys.executable, "-m", "pip", "--python", python]
    subprocess.run([*pip, "install", "--quiet", "uv"], check=True)
    uv = folder / "bin/uv"
    compile_lock(uv, ["pyproject.toml", "--group", "dev"], ROOT / "requirements.lock")
    compile_lock(uv, ["-"], ROOT / "tools/stubs.lock", "\n".join(STUBS))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make mip`: the agent as mip packages, source and compiled; docs/mip.md.

package.json at the top level names the sources as they lie in this tree, so that a checkout and
`github:OWNER/NAME` are packages. build/mip/ is the same as .mpy, for a web server or a folder.
"""

import json
import shutil
import sys
from pathlib import Path

from board.files import application
from tools.paths import ROOT

SOURCES = ROOT / "package.json"
COMPILED = ROOT / "build/mip"
# Somebody's own project has its main.py; boot.py belongs into `/`, where mip installs nothing.
_LEFT_OUT = ("boot.py", "main.py")


def version() -> str:
    """Return the agent's version."""
    text = (ROOT / "firmware/ota/__init__.py").read_text(encoding="utf-8")
    (line,) = (line for line in text.splitlines() if line.startswith("__version__ = "))
    return line.split('"')[1]


def modules(*, compiled: bool) -> dict[str, bytes]:
    """Return what is installed: path below /lib to bytes. Raises NativeMissing, FilesError."""
    found = application(compiled=compiled)
    return {path[1:]: data for path, data in found.items() if path[1:] not in _LEFT_OUT}


def manifest(urls: dict[str, str]) -> str:
    """Return a package.json. urls: path below /lib to where it is fetched, from the manifest on."""
    rows = ",\n".join(f"    {json.dumps([path, url])}" for path, url in sorted(urls.items()))
    return f'{{\n  "version": "{version()}",\n  "deps": [],\n  "urls": [\n{rows}\n  ]\n}}\n'


def sources() -> str:
    """Return the top level's package.json, as it has to be."""
    return manifest({path: f"firmware/{path}" for path in modules(compiled=False)})


def write_compiled(folder: Path) -> None:
    """Write the compiled package into `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    found = modules(compiled=True)
    for path, data in found.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    (folder / "package.json").write_text(manifest({path: path for path in found}), encoding="utf-8")


def main() -> int:
    """Write both packages. Returns the exit code."""
    SOURCES.write_text(sources(), encoding="utf-8")
    write_compiled(COMPILED)
    for path in (SOURCES, COMPILED / "package.json"):
        sys.stdout.write(f"{path.relative_to(ROOT)}: version {version()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

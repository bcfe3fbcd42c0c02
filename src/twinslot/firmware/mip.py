"""The agent alone, compiled, as a package for mip: for somebody's own project on a board.

boot.py is not in it: mip installs below /lib, and what starts a board is replaced on purpose, not
along with a library (docs/mip.md).
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twinslot import __version__, disk
from twinslot.firmware import agent

NAME = "package.json"


def listing(paths: Iterable[str], folder: str = "") -> dict[str, Any]:
    """Return a package.json. (micropython.org, Package management)

    paths: of the modules, below /lib on the board and below `folder` beside the package.json.
    """
    return {
        "urls": [[path, folder + path] for path in paths],
        "deps": [],
        "version": __version__,
    }


def text(package: dict[str, Any]) -> str:
    """Return a package.json as it is kept: a line per file."""
    urls = ",\n".join(f"    {json.dumps(pair)}" for pair in package["urls"])
    rest = json.dumps({key: package[key] for key in ("deps", "version")})[1:-1]
    return f'{{\n  "urls": [\n{urls}\n  ],\n  {rest}\n}}\n'


def build(folder: Path, chosen: Iterable[str]) -> list[str]:
    """Write the compiled package, with these extensions, into a folder. Returns its paths.

    Raises ExtensionError, MpyError, FileError.
    """
    found = {**agent.link(compiled=True), **agent.compiled(chosen)}
    for path, data in found.items():
        disk.replace(folder / path, data)
    disk.replace(folder / NAME, text(listing(found)).encode())
    return list(found)

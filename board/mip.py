"""The agent alone, as a package for mip: for somebody's own project on a board.

The top level's `package.json` lists its sources as they lie here, for a checkout and for `mpremote
mip install github:OWNER/REPO`; `python -m board mip` builds the same as .mpy. boot.py is not in it:
mip installs below /lib, and what starts a board is replaced on purpose, not along with a library
(docs/mip.md).
"""

import json
import tomllib
from pathlib import Path
from typing import Any

import click

from board.files import compile_module
from tools.paths import ROOT

FIRMWARE = ROOT / "firmware"
NAME = "package.json"
SOURCES = ROOT / NAME


def modules() -> list[str]:
    """Return the agent's modules, link and reserve: paths below firmware/, all but main.py."""
    agent = sorted(f"ota/{source.name}" for source in (FIRMWARE / "ota").glob("*.py"))
    return ["link.py", "reserve.py", *agent]


def listing(paths: list[str], folder: str = "") -> dict[str, Any]:
    """Return a package.json. (micropython.org, Package management)

    paths: of the modules, below /lib on the board and below `folder` beside the package.json.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {
        "urls": [[path, folder + path] for path in paths],
        "deps": [],
        "version": project["version"],
    }


def sources() -> dict[str, Any]:
    """Return the top level's package.json, as it has to be."""
    return listing(modules(), "firmware/")


def text(package: dict[str, Any]) -> str:
    """Return a package.json as it is kept: a line per file."""
    urls = ",\n".join(f"    {json.dumps(pair)}" for pair in package["urls"])
    rest = json.dumps({key: package[key] for key in ("deps", "version")})[1:-1]
    return f'{{\n  "urls": [\n{urls}\n  ],\n  {rest}\n}}\n'


def build(folder: Path) -> list[str]:
    """Write the compiled package into a folder. Returns its paths."""
    paths = []
    for source in modules():
        path = source[:-3] + ".mpy"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(compile_module(FIRMWARE / source, smallest=True))
        paths.append(path)
    (folder / NAME).write_text(text(listing(paths)), encoding="utf-8")
    return paths


@click.command("mip")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def command(folder: Path) -> None:
    """Build the agent's mip package: compiled into FOLDER, and the list of its sources anew."""
    SOURCES.write_text(text(sources()), encoding="utf-8")
    paths = build(folder)
    click.echo(f"{folder}: {len(paths)} modules as .mpy, {NAME}. Install it on a board:")
    click.echo(f"  mpremote connect PORT resume mip install {folder / NAME}")

"""The agent alone, as a package for mip: for somebody's own project on a board.

The top level's `package.json` lists its sources as they lie here, for a checkout and for `mpremote
mip install github:OWNER/REPO`; `python -m board mip` builds the same compiled, as one bundle.
boot.py is not in it: mip installs below /lib, and what starts a board is replaced on purpose, not
along with a library (docs/mip.md).
"""

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from fleet import agent, extensions
from tools.paths import ROOT

NAME = "package.json"
SOURCES = ROOT / NAME


def modules() -> list[str]:
    """Return the agent's modules, link and reserve: paths below firmware/, all but main.py."""
    return [*agent.LINK, *agent.sources(extensions.everything())]


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


def build(folder: Path, chosen: Iterable[str]) -> list[str]:
    """Write the compiled package, with these extensions, into a folder. Returns its paths."""
    found = {**agent.link(compiled=True), **agent.compiled(chosen)}
    for path, data in found.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    (folder / NAME).write_text(text(listing(list(found))), encoding="utf-8")
    return list(found)


@click.command("mip")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--extensions",
    "names",
    metavar="NAMES",
    default=",".join(extensions.asked_for({})),
    show_default=True,
    help="Of the compiled agent: none, all, or names with commas.",
)
def command(folder: Path, names: str) -> None:
    """Build the agent's mip package: compiled into FOLDER, and the list of its sources anew."""
    chosen = extensions.parse(names)
    SOURCES.write_text(text(sources()), encoding="utf-8")
    paths = build(folder, chosen)
    click.echo(
        f"{folder}: {len(paths)} files, {NAME}; extensions: {', '.join(chosen) or 'none'}. "
        "Install it on a board:"
    )
    click.echo(f"  mpremote connect PORT resume mip install {folder / NAME}")

"""The agent as the files that a board gets: the package `ota`, and beside it the module `link`.

Compiled, `ota` is two files: `__init__.mpy` and the bundle of all its other modules. As source it
is a file per module.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from twinslot.firmware import compiler, extensions
from twinslot.firmware.sources import FIRMWARE
from twinslot.formats import bundle

PACKAGE = "ota"
BUNDLE = f"{PACKAGE}/{bundle.NAME}"
LINK = "link.py"


def modules(chosen: Iterable[str]) -> list[Path]:
    """Return the sources of `ota` with these extensions, sorted, `__init__` among them.

    Raises ExtensionError.
    """
    missing = extensions.left_out(chosen)
    found = sorted((FIRMWARE / PACKAGE).glob("*.py"))
    return [source for source in found if source.stem not in missing]


def sources(chosen: Iterable[str]) -> dict[str, bytes]:
    """Return `ota` as source: path to bytes. Raises ExtensionError."""
    return {f"{PACKAGE}/{source.name}": source.read_bytes() for source in modules(chosen)}


def compiled(chosen: Iterable[str]) -> dict[str, bytes]:
    """Return `ota` compiled: path to bytes. Raises ExtensionError, MpyError."""
    chosen = tuple(chosen)
    found = modules(chosen)
    with ThreadPoolExecutor() as pool:
        made = dict(zip((source.stem for source in found), pool.map(_compiled, found), strict=True))
    first = made.pop("__init__")
    return {f"{PACKAGE}/__init__.mpy": first, BUNDLE: bundle.build(made, chosen)}


def link(*, compiled: bool) -> dict[str, bytes]:
    """Return `link`: path to bytes. Raises MpyError if compiled."""
    source = FIRMWARE / LINK
    if compiled:
        return {LINK.replace(".py", ".mpy"): _compiled(source)}
    return {LINK: source.read_bytes()}


def _compiled(source: Path) -> bytes:
    return compiler.compile_module(source, smallest=True)

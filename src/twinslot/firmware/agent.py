"""The agent as the files that a board gets: the package `ota`, and beside it the module `link`.

Compiled, `ota` is two files: `__init__.mpy` and the bundle of all its other modules. As source it
is a file per module.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from twinslot.firmware import compiler, extensions
from twinslot.firmware.sources import FIRMWARE
from twinslot.formats import bundle

PACKAGE = "ota"
BUNDLE = f"{PACKAGE}/{bundle.NAME}"
LINK = "link.py"
_ALWAYS = ("__init__", "agent", "phases")


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


def is_agent(files: Mapping[str, bytes], folder: str = PACKAGE) -> bool:
    """Whether a folder of these files, path to bytes, is this agent, compiled or as source.

    By the bundle, or by the modules that every version of it has. Another library's `ota` is not.
    """
    bundled = files.get(f"{folder}/{bundle.NAME}")
    if bundled is not None:
        return bundle.is_bundle(bundled)
    return all(
        any(f"{folder}/{module}{end}" in files for end in (".py", ".mpy")) for module in _ALWAYS
    )


def _compiled(source: Path) -> bytes:
    return compiler.compile_module(source, smallest=True)

"""A running board brought under a fleet: all of `fleet adopt`."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from twinslot import disk
from twinslot.board import adoption, deploy, flash, running, writer
from twinslot.board.adoption import AdoptionError, Found
from twinslot.board.cable import Cable, NoAnswer
from twinslot.board.port import PortError

_AWAITED_S = 60  # a board that was flashed starts, and makes its file system
_POLL_S = 0.2

_WHO = """
import os, sys
try:
    from machine import unique_id
    from binascii import hexlify
    _number = hexlify(unique_id()).decode()
except (ImportError, AttributeError):
    _number = ""
print((getattr(sys.implementation, "_machine", sys.platform), _number))
"""
_WALK = """
import os
def _walk(folder):
    for name, kind, *rest in os.ilistdir(folder or "/"):
        path = folder + "/" + name
        if kind != 0x4000:
            print(repr(path), ":", os.stat(path)[6], ",")
        elif not folder and os.statvfs(path) != _root:
            print(repr(path), ": None,")
        else:
            _walk(path)
print("{")
try:
    _root = os.statvfs("/")
except OSError:
    _root = None
if _root:
    _walk("")
print("}")
"""


def look(cable: Cable) -> tuple[Found, dict[str, bytes]]:
    """Ask a board what runs there, and read its files. Changes nothing on it.

    Its program is stopped, as `Cable.execute` does. Returns the board and its files, by absolute
    path. Raises AdoptionError without a MicroPython that answers, UnfitError, CableError.
    """
    try:
        board = running.look(cable)
    except NoAnswer as error:
        raise AdoptionError(
            f"{error} A board that runs something else, such as ESPHome or a program in C, has no "
            "files to keep: `fleet flash` puts MicroPython onto it"
        ) from error
    machine, number = cable.evaluate_output(_WHO)
    sizes: dict[str, int | None] = cable.evaluate_output(_WALK, 60)
    there = {path: size for path, size in sizes.items() if size is not None}
    # The agent mounts its own bundle.
    mounts = tuple(path for path, size in sizes.items() if size is None and path != "/.ota")
    return (
        Found(board, str(machine), str(number), there, mounts),
        {path: cable.get(path) for path in there},
    )


def save(found: Mapping[str, bytes], folder: Path) -> Path:
    """Write a board's files below a folder, or below a new one beside it; returns which.

    A folder that holds the same files already stays as it is. Raises AdoptionError for a name that
    leads out of it, FileError.
    """
    names = {_inside(path): data for path, data in found.items()}
    for number in range(1, 1000):
        place = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        if not place.exists():
            disk.folder(place)
            disk.create({place / name: (data, disk.SECRET) for name, data in names.items()})
            return place
        if _held(place) == names:
            return place
    raise AdoptionError(f"{folder} and {number - 1} folders beside it are taken")


def wanted(
    found: Found,
    settings: Path | None,
    app: Mapping[str, bytes] | None,
    chosen: str | None,
) -> dict[str, bytes]:
    """The files that are to come. With an application all of it, else what goes beside the old one.

    app: as of `deploy.wanted`. Raises FilesError, ExtensionError.
    """
    ours = deploy.wanted(settings, app, chosen)
    return ours if app else adoption.beside(found, ours)


def by_files(
    cable: Cable, coming: Mapping[str, bytes], say: Callable[[str], None], *, application: bool
) -> deploy.Changes:
    """Bring files onto a board whose table fits already. Raises as `deploy`."""
    return deploy.deploy(cable, lambda *_: coming, say, application=application)


def by_flash(
    port: str,
    job: flash.Job,
    coming: Mapping[str, bytes],
    old: Mapping[str, bytes],
    say: Callable[[str], None],
) -> None:
    """Write all of a board's flash, then bring its files back, and those that are to come.

    old: the board's files, which are saved. Raises as `flash.write` and `deploy`.
    """
    content = flash.prepare(job, "")
    flash.write(job, content, writer.Port(port), say)
    with _started(port) as cable:
        back = adoption.back(old, coming)
        changes = deploy.deploy(cable, lambda *_: {**back, **coming}, say, application=False)
        if changes:
            cable.reset()


def _started(port: str) -> Cable:
    """Open the port of a board that has just been flashed, as soon as MicroPython answers."""
    ends = time.monotonic() + _AWAITED_S
    while True:
        try:
            cable = Cable(port)
        except PortError:  # a chip's own USB goes and comes with its reset
            if time.monotonic() > ends:
                raise
            time.sleep(_POLL_S)
            continue
        try:
            cable.interrupt(max(1.0, ends - time.monotonic()))
        except BaseException:
            cable.close()
            raise
        return cable


def _inside(path: str) -> str:
    name = PurePosixPath(path.lstrip("/"))
    if not name.parts or ".." in name.parts or "\0" in path:
        raise AdoptionError(f"a file on the board is called {path!r}, which has no place here")
    return str(name)


def _held(folder: Path) -> dict[str, Any]:
    """The files in a folder, by their path in it."""
    return {
        file.relative_to(folder).as_posix(): disk.read(file, "the saved file")
        for file in folder.rglob("*")
        if file.is_file()
    }

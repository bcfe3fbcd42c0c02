"""The files that flashing puts on a board, onto a running one: all of `fleet deploy`."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from twinslot.board import files, own_key, running
from twinslot.board.cable import TEMPORARY, Cable, NoAnswer
from twinslot.board.port import PortError
from twinslot.errors import FleetError
from twinslot.firmware import agent, extensions
from twinslot.formats import bundle
from twinslot.formats.littlefs_blocks import BLOCK, file_blocks

_PACKAGE = f"/{agent.PACKAGE}/"
# Of the board's settings only these leave it: the rest holds passwords.
_SETTINGS = """
import json
try:
    with open("/etc/settings.json") as _file:
        _all = json.load(_file)
    print({_key: _all[_key] for _key in %r if _key in _all})
except (OSError, ValueError, TypeError):
    print({})
"""
# The first line of a bundle, empty without one.
_HEAD = """
try:
    with open(%r, "rb") as _file:
        print(_file.readline())
except OSError:
    print(b"")
"""


class DeployError(FleetError):
    """The files cannot be brought onto this board."""


@dataclass(frozen=True)
class Changes:
    """The changes that a board needs. `write`: path to bytes; `remove`: files that must go.

    `same`: files that stay; `new`: those of `write` that were not there before.
    """

    write: dict[str, bytes]
    new: frozenset[str]
    remove: list[str]
    same: int

    @property
    def room(self) -> int:
        """Bytes of the file system that are needed while old and new files lie there."""
        return sum(file_blocks(len(data)) for data in self.write.values()) * BLOCK

    def __bool__(self) -> bool:
        return bool(self.write or self.remove)


def wanted(
    settings: Path | None,
    app: Mapping[str, bytes] | None,
    chosen: str | None = None,
    asked: Iterable[str] = (),
    installed: Iterable[str] = (),
) -> dict[str, bytes]:
    """Return what belongs on the board: absolute path to bytes. Raises FilesError, ExtensionError.

    settings: the board's settings folder, for /etc; app: an application, path below `/` to bytes,
    that takes the place of the project's own, module by module, an agent of its own as a whole.
    Without settings /etc is left alone. chosen: the agent's extensions, as `extensions.parse` reads
    them, None for what the settings ask for; asked: those that the settings on the board ask for,
    which count without others; installed: those on the board, which `+` keeps.
    """
    etc = files.settings(settings, running=True) if settings else {}
    usual = files.extensions_for(etc) if settings else asked or extensions.asked_for({})
    if chosen is not None:
        usual = extensions.parse(chosen, {*usual, *installed})
    found = files.application(chosen=usual)
    if app:
        own = {f"/{path}": data for path, data in app.items()}
        if any(path.startswith(_PACKAGE) for path in own):
            found = {path: data for path, data in found.items() if not path.startswith(_PACKAGE)}
        for path in own:
            found.pop(other_form(path) or "", None)
        found |= own
    return found | etc


def other_form(path: str) -> str | None:
    """Return the path of the same module compiled, or as source; None for what is no module.

    Of two in one folder MicroPython imports foo.py, never foo.mpy.
    """
    stem, dot, end = path.rpartition(".")
    if end not in ("py", "mpy"):
        return None
    return stem + dot + ("mpy" if end == "py" else "py")


def compare(
    wanted: Mapping[str, bytes], there: Mapping[str, bytes | None], older: Collection[str] = ()
) -> Changes:
    """Return what has to be done. Pure.

    there: SHA-256 by path, None for what is missing; older: modules on the board that must go.
    """
    write = {
        path: data
        for path, data in wanted.items()
        if there.get(path) != hashlib.sha256(data).digest()
    }
    gone = [*others(wanted), *(path for path in older if path not in wanted)]
    remove = [path for path in dict.fromkeys(gone) if there.get(path) is not None]
    new = frozenset(path for path in write if there.get(path) is None)
    return Changes(write, new, remove, len(wanted) - len(write))


def others(wanted: Collection[str]) -> list[str]:
    """Return the other form of each wanted module, which must not lie on the board beside it."""
    return [other for path in wanted if (other := other_form(path)) and other not in wanted]


def leftovers(wanted: Collection[str]) -> list[str]:
    """Return what a deployment that broke off may have left. It takes the room of the next one."""
    return [name for path in wanted if (name := path + TEMPORARY) not in wanted]


def _older_modules(cable: Cable, wanted: Collection[str]) -> list[str]:
    """Return the modules that lie in the folder of a wanted agent.

    Beside a bundle nobody imports them, and they take its room; beside an agent's own modules an
    older bundle would be imported in their place.
    """
    found = []
    for path in wanted:
        folder, _, name = path.rpartition("/")
        if folder.endswith(f"/{agent.PACKAGE}") and name.startswith("__init__."):
            there = [name for name in cable.names(folder) if name.endswith((".py", ".mpy"))]
            found += [f"{folder}/{name}" for name in there]
    return found


def placed(board: running.Running, wanted: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the wanted files where this board looks for them. Pure.

    Of an application that a package brought nothing is changed.
    """
    if not board.unpacked:
        return files.in_directory(wanted, board.directory)
    used = ("/boot.py", "/etc/", *files.AGENT_IN_LIB)
    return {path: data for path, data in wanted.items() if path.startswith(used)}


def _agent_is_in_lib(cable: Cable, directory: str) -> bool:
    """Say whether the agent lies in /lib alone, as `fleet flash --agent-in-lib` puts it there."""
    forms = [f"/ota/__init__.{form}" for form in ("mpy", "py")]
    beside = f"/{directory}" if directory else ""
    there = cable.hashes([base + path for base in (beside, "/lib") for path in forms])
    found = {path.startswith("/lib/") for path in there if there[path]}
    return found == {True}


def _asked_for(cable: Cable) -> tuple[str, ...]:
    """Return the extensions that the settings on the board ask for."""
    names = [setting for setting, _ in extensions.ASKED_BY.values()]
    return extensions.asked_for(cable.evaluate_output(_SETTINGS % names))


def _installed(cable: Cable, folder: str) -> tuple[str, ...]:
    """Return the extensions of the agent in a folder of the board, as its bundle names them."""
    head = cable.evaluate_output(_HEAD % f"{folder}/{agent.BUNDLE}")
    return tuple(name for name in bundle.extensions_of(head) if name in extensions.everything())


def deploy(
    cable: Cable,
    wanted: Callable[[tuple[str, ...], tuple[str, ...]], Mapping[str, bytes]],
    say: Callable[[str], None],
    *,
    application: bool = False,
) -> Changes:
    """Bring a board up to date: everything is sent and verified before the first file is replaced.

    wanted: returns the files, for the extensions that the board's own settings ask for, and those
    that it has; say: is told what is done, line by line; application: whether one was asked for by
    name, which a board cannot take whose application came over the air. Returns the changes; after
    any the program is stopped, and with nothing to do it runs again, if it ran. Raises UnfitError,
    PendingError, OwnKeyError, DeployError or CableError; then, too, it runs again, and no file is
    changed, unless the connection was lost while they were being replaced.
    """
    with cable.paused() as pause:
        board = running.look(cable)
        running.check(board)
        if board.fat:
            say(f"Note: {running.FAT}.")
        in_lib = _agent_is_in_lib(cable, board.directory)
        place = "/lib" if in_lib else f"/{board.directory}".rstrip("/")
        found = wanted(_asked_for(cable), _installed(cable, place))
        found = placed(board, files.agent_in_lib(found) if in_lib else found)
        if board.unpacked:
            signed = (
                f"the application runs from /{board.directory}, which a signed package brought; "
                "`fleet push`, or `fleet send` without a network, brings another"
            )
            if application:
                raise DeployError(signed)
            also = "boot.py, the agent in /lib and settings" if in_lib else "boot.py and settings"
            say(f"Only {also}: {signed}.")
        older = _older_modules(cable, found)
        there = cable.hashes([*found, *others(found), *leftovers(found), *older])
        left = [path for path in leftovers(found) if there[path] is not None]
        if left:
            cable.replace([], left)
            board = running.look(cable)
        own_key.check(cable, found)
        changes = compare(found, there, older)
        free = board.free or 0
        if changes.room > free:
            raise DeployError(
                f"{changes.room >> 10} KB are needed beside the files on the board, "
                f"{free >> 10} KB are free; remove some"
            )
        for path, data in changes.write.items():
            say(f"  {'new    ' if path in changes.new else 'changed'}  {path}  {len(data)} bytes")
        for path in changes.remove:
            say(f"  removed  {path}")
        if changes:
            _stage(cable, changes.write)
            cable.replace(changes.write, changes.remove)
            pause.starts_again = False
    return changes


def _stage(cable: Cable, files: Mapping[str, bytes]) -> None:
    try:
        cable.stage(files)
    except (NoAnswer, PortError) as error:
        raise DeployError(
            f"{error}, while files were sent; none is changed. Where the application starts a "
            "watchdog (machine.WDT), it resets the chip while the application is stopped: remove "
            "main.py in `fleet board repl`, `fleet board reset`, and deploy again"
        ) from error

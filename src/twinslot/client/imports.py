"""The modules that an application imports, and whether a board would find them. Pure.

MicroPython looks for a module in the application's own directory, among the frozen ones, in the
application's lib/, in the board's /lib, and at last among those in C. The first folder or file that
has the name of the whole package decides about everything in it (py/builtinimport.c).
"""

import ast
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from twinslot.formats import frozen

MAIN = "main.py"
_STARTED = (MAIN, "selftest.py")
"""The modules that boot.py runs."""

# What every ESP32 build has (docs.micropython.org, "MicroPython libraries"), also by old names.
_NAMES = """
    _asyncio _espnow _onewire _thread _webrepl array asyncio binascii bluetooth btree builtins cmath
    collections cryptolib deflate errno esp esp32 framebuf gc hashlib heapq io json machine marshal
    math micropython network os platform random re select socket ssl struct sys time tls uctypes vfs
    websocket
    """.split()
BUILT_IN = frozenset([*_NAMES, *(f"u{name}" for name in _NAMES), "__main__"])
"""The modules in C."""
# Of ports/esp32/boards/manifest.py and the bundle of micropython-lib that it includes.
USUALLY_FROZEN = """
    _boot.py aioespnow.py apa106.py asyncio/__init__.py asyncio/core.py asyncio/event.py
    asyncio/funcs.py asyncio/lock.py asyncio/stream.py dht.py ds18x20.py espnow.py flashbdev.py
    inisetup.py mip/__init__.py neopixel.py ntptime.py onewire.py requests/__init__.py ssl.py
    uasyncio.py umqtt/robust.py umqtt/simple.py upysh.py urequests.py webrepl.py webrepl_setup.py
    """.split()
"""The frozen modules of MicroPython's own builds, for a firmware that is not at hand."""

_EXCUSES = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


class Firmware:
    """The properties of a firmware image that matter to an application."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.files = frozen.names(data)
        self.frozen = frozen.modules(self.files)

    def may_have(self, module: str) -> bool:
        """False when the image surely lacks the module.

        A module in C has its name in the image, where it may be part of a longer text.
        """
        return module in self.frozen or module.encode() + b"\0" in self._data


@dataclass(frozen=True)
class Missing:
    """An import that nothing satisfies: dotted `module`, in the file `path`, line `line`.

    `at_once`: it is carried out as soon as the application starts.
    """

    module: str
    path: str
    line: int
    at_once: bool


class Import(NamedTuple):
    """One import of a module: the dotted `name`, with the `level` of a relative one, in `line`.

    `at_once`: it is carried out when the module starts; `optional`: the module goes on without it.
    """

    name: str
    level: int
    line: int
    at_once: bool
    optional: bool = False


def missing(
    files: Mapping[str, bytes], firmware: Firmware | None, elsewhere: Collection[str] = ()
) -> list[Missing]:
    """The imports that fail on a board, of all modules that main.py and selftest.py lead to.

    files: path to bytes; firmware: None where it is not at hand, and MicroPython's own builds stand
    for it; elsewhere: modules that the board has in its /lib or otherwise. Imports that a `try`
    excuses, and those under an `if`, are not looked at. Nothing is known about an application that
    changes sys.path, nor about compiled modules.
    """
    places = _Places(files, firmware)
    known = {*elsewhere}
    todo = [path for path in _STARTED if path in files]
    done = {*todo}
    found = []
    while todo:
        path = todo.pop(0)
        source = files[path]
        if b"sys.path" in source:
            return []  # it looks where nobody else does
        for one in imported(source):
            module = _absolute(path, one.name, one.level)
            if not module or module.split(".")[0] in known:
                continue
            hits = places.find(module)
            if hits is None:
                if not one.optional:
                    found.append(Missing(module, path, one.line, one.at_once))
                continue
            fresh = [hit for hit in hits if hit.endswith(".py") and hit not in done]
            todo += fresh
            done.update(fresh)
    return sorted(found, key=lambda one: (not one.at_once, one.path, one.line))


def imported(source: bytes) -> Iterator[Import]:
    """The imports of a module; none where the source is no Python."""
    tree = parsed(source)
    return iter(()) if tree is None else _imports(tree.body, at_once=True, optional=False)


def parsed(source: bytes) -> ast.Module | None:
    """The syntax tree of a module, None where CPython does not read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes and the like, which are not ours to judge
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _imports(body: Sequence[ast.stmt], *, at_once: bool, optional: bool) -> Iterator[Import]:
    for statement in body:
        match statement:
            case ast.Import():
                for alias in statement.names:
                    yield Import(alias.name, 0, statement.lineno, at_once, optional)
            case ast.ImportFrom():
                name, level = statement.module or "", statement.level
                if name:
                    yield Import(name, level, statement.lineno, at_once, optional)
                for alias in statement.names:  # a module of the package, or a name in it
                    inner = f"{name}.{alias.name}".lstrip(".")
                    yield Import(inner, level, statement.lineno, at_once, optional=True)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _imports(statement.body, at_once=False, optional=optional)
            case ast.Try():
                excused = optional or any(map(_excuses, statement.handlers))
                yield from _imports(statement.body, at_once=at_once, optional=excused)
                for handler in statement.handlers:
                    yield from _imports(handler.body, at_once=at_once, optional=True)
                rest = [*statement.orelse, *statement.finalbody]
                yield from _imports(rest, at_once=at_once, optional=optional)
            case ast.If():
                branches = [*statement.body, *statement.orelse]
                yield from _imports(branches, at_once=at_once, optional=True)
            case ast.With() | ast.AsyncWith() | ast.ClassDef() | ast.While() | ast.For():
                yield from _imports(statement.body, at_once=at_once, optional=optional)


def _excuses(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(name, ast.Name) and name.id in _EXCUSES for name in names)


def _absolute(path: str, name: str, level: int) -> str | None:
    """The dotted name that an import in a file means; None for the package that it lies in."""
    if level == 0:
        return name
    if path.startswith("lib/"):
        path = path.removeprefix("lib/")
    parents = path.split("/")[:-level]
    if not parents:
        return None  # main.py is in no package; MicroPython says so itself
    return ".".join([*parents, name])


class _Places:
    """Where a board looks for modules, in its order."""

    def __init__(self, files: Mapping[str, bytes], firmware: Firmware | None) -> None:
        self._firmware = firmware
        in_lib = {path: path.removeprefix("lib/") for path in files if path.startswith("lib/")}
        froze = USUALLY_FROZEN if firmware is None else firmware.files or USUALLY_FROZEN
        self._places = [
            {path: path for path in files},
            dict.fromkeys(froze, ""),
            {inner: path for path, inner in in_lib.items()},
        ]

    def find(self, module: str) -> list[str] | None:
        """The application's own files that an import of `module` runs, None if nothing has it."""
        parts = module.split(".")
        for place in self._places:
            hits = _walk(place, parts)
            if hits is not None:
                return None if hits == _BROKEN else hits
        top = parts[0]
        if top in BUILT_IN or (self._firmware is not None and self._firmware.may_have(top)):
            return []
        return None


_BROKEN = ["?"]


def _walk(place: Mapping[str, str], parts: list[str]) -> list[str] | None:
    """The files of a place that an import runs; None if it lacks the top, _BROKEN if the rest."""
    hits: list[str] = []
    at = ""
    for depth, part in enumerate(parts):
        folder = f"{at}{part}/"
        if any(path.startswith(folder) for path in place):
            first = next((f"{folder}__init__{e}" for e in (".py", ".mpy")
                          if f"{folder}__init__{e}" in place), None)  # fmt: skip
            hits += [place[first]] if first else []
            at = folder
            continue
        file = next((f"{at}{part}{e}" for e in (".py", ".mpy") if f"{at}{part}{e}" in place), None)
        if file is None:
            return _BROKEN if depth else None
        hits.append(place[file])
        return hits if depth == len(parts) - 1 else _BROKEN
    return hits

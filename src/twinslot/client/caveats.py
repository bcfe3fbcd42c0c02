"""Warnings about an application, a sentence each. Pure: files in, sentences out.

Nothing here is refused; what is surely wrong is refused in `fleet.application`. Only what can be
known from the files, and from the firmware's image where that is at hand, is said.
"""

import ast
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from twinslot.formats import frozen

MAIN = "main.py"

_SECRETS = (
    *("*secret*", "*password*", "*passwd*", "*credential*", "*.env", "wpa_supplicant.conf"),
    *("wifi.json", "wifi.txt", "wifi.ini", "wifi.dat", "wifi*conf*", "wifi*cfg*", "wifi_keys*"),
)
# What every ESP32 build has (docs.micropython.org, "MicroPython libraries"), also by old names.
_NAMES = """
    _asyncio _espnow _onewire _thread _webrepl array asyncio binascii bluetooth btree builtins cmath
    collections cryptolib deflate errno esp esp32 framebuf gc hashlib heapq io json machine marshal
    math micropython network os platform random re select socket ssl struct sys time tls uctypes vfs
    websocket
    """.split()
BUILT_IN = frozenset([*_NAMES, *(f"u{name}" for name in _NAMES)])


class Firmware:
    """The properties of a firmware image that matter to an application."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.frozen = frozen.modules(frozen.names(data))

    def may_have(self, module: str) -> bool:
        """False when the image surely lacks the module.

        A module in C has its name in the image, where it may be part of a longer text.
        """
        return module in self.frozen or module.encode() + b"\0" in self._data


def of(
    files: Mapping[str, bytes], firmware: Firmware | None, added: Collection[str] = ()
) -> list[str]:
    """Sentences about an application, path to bytes; None: the firmware is not known.

    `added` are paths that are not the application's own, about which nothing is said.
    """
    own = {path: data for path, data in files.items() if path not in added}
    found = [*_secrets(own), *_sources(own), *_hidden(own), *_imports(files, firmware)]
    if firmware is not None:
        found += _shadows(own, firmware)
    return found


def _secrets(files: Mapping[str, bytes]) -> Iterator[str]:
    for path in sorted(files):
        name = path.rpartition("/")[2].lower()
        if any(fnmatchcase(name, pattern) for pattern in _SECRETS):
            yield (
                f"{path} looks like a secret, and a package is signed, not encrypted: passwords "
                "belong into the board's /etc, which updates leave alone"
            )


def _sources(files: Mapping[str, bytes]) -> Iterator[str]:
    for path in sorted(files):
        if path.endswith(".py"):
            try:
                _parse(files[path])
            except (SyntaxError, ValueError) as error:
                line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
                yield f"{path}{line} is no Python: {getattr(error, 'msg', error)}"


def _hidden(files: Mapping[str, bytes]) -> Iterator[str]:
    """MicroPython takes a folder for a package before it looks for a module of the same name."""
    folders = {path[:at] for path in files for at, letter in enumerate(path) if letter == "/"}
    for path in sorted(files):
        stem, _, end = path.rpartition(".")
        if end in ("py", "mpy") and stem in folders and path != MAIN:  # which is not imported
            yield f"{path} is never imported, because the folder {stem}/ comes first"


def _shadows(files: Mapping[str, bytes], firmware: Firmware) -> Iterator[str]:
    for module, where in sorted(_modules(files).items()):
        if module in firmware.frozen:
            yield f"{where} takes the place of the module {module} that the firmware brings"


def _imports(files: Mapping[str, bytes], firmware: Firmware | None) -> Iterator[str]:
    """The modules that main.py needs at once, and would not find.

    boot.py puts the application's own lib/ on the path.
    """
    source = files.get(MAIN, b"")
    if firmware is None or b"sys.path" in source:
        return  # it looks where nobody else does
    in_lib = _modules(path.removeprefix("lib/") for path in files if path.startswith("lib/"))
    for module in sorted(_plain_imports(source) - {*_modules(files), *in_lib} - BUILT_IN):
        if not firmware.may_have(module):
            yield (
                f"{MAIN} imports {module}, which neither the application nor the firmware has; "
                "without it in the board's /lib the update is taken back"
            )


def _modules(paths: Iterable[str]) -> dict[str, str]:
    """The modules and folders at the top level, and what each lies there as."""
    tops = {f"{path.split('/')[0]}/" if "/" in path else path for path in paths}
    return {
        top.rstrip("/") if top.endswith("/") else top.rpartition(".")[0]: top
        for top in sorted(tops)
        if top.endswith(("/", ".py", ".mpy"))
    }


def _plain_imports(source: bytes) -> set[str]:
    """The top-level modules of a module's unconditional imports."""
    try:
        body = _parse(source).body
    except (SyntaxError, ValueError):
        return set()
    found: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.Import):
            found.update(alias.name.split(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            found.add(statement.module.split(".")[0])
    return found


def _parse(source: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes and the like, which are not ours to judge
        return ast.parse(source)

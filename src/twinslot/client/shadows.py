"""Files of an application that take the place of a module of the firmware or of the agent. Pure.

A file that does so on purpose has the names for which the module is known, or imports the original
under its other name ("from utime import *"). One without them hides the module by accident: all
that imports it, the agent among it, then gets something else.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from twinslot.client.imports import USUALLY_FROZEN, Firmware, imported, parsed
from twinslot.firmware import agent
from twinslot.formats.frozen import modules

LINK, RESERVE = "link", "reserve"

# Of modules that boot.py, the agent, its link or nearly every application imports: names that a
# replacement has as well. MicroPython looks for a file before it takes these from the firmware.
_KNOWN_BY = {
    "asyncio": "run create_task",
    "binascii": "a2b_base64",
    "collections": "namedtuple",
    "errno": "ENOENT",
    "hashlib": "sha256",
    "io": "BytesIO",
    "json": "loads",
    "machine": "Pin reset",
    "network": "WLAN",
    "os": "listdir",
    "platform": "platform",
    "random": "getrandbits",
    "re": "compile",
    "select": "poll",
    "socket": "socket",
    "ssl": "SSLContext wrap_socket",
    "struct": "unpack",
    "time": "ticks_ms sleep_ms",
    "tls": "SSLContext",
    "umqtt": "MQTTClient",
}


@dataclass(frozen=True)
class Shadow:
    """A sentence about a file; `accident`: it surely breaks what it hides."""

    text: str
    accident: bool


def own_agent(files: Mapping[str, bytes]) -> str | None:
    """The folder in which the application brings this project's agent: "ota", "lib/ota" or None."""
    folders = (agent.PACKAGE, f"lib/{agent.PACKAGE}")
    return next((folder for folder in folders if agent.is_agent(files, folder)), None)


def of(files: Mapping[str, bytes], firmware: Firmware | None) -> list[Shadow]:
    """All that can be known from the files, path to bytes, and from the firmware if it is there."""
    return [*_agent(files), *_link(files), *_reserve(files), *_firmware(files, firmware)]


def _agent(files: Mapping[str, bytes]) -> Iterator[Shadow]:
    name, own = agent.PACKAGE, own_agent(files)
    for prefix in ("", "lib/"):
        place = find(files, prefix + name)
        if place and place.rstrip("/") != own:
            yield Shadow(
                f"{place} is not this project's agent, whose modules are called {name}, too: only "
                f"one of them would be found; rename {place}",
                accident=True,
            )


def _link(files: Mapping[str, bytes]) -> Iterator[Shadow]:
    place = find(files, LINK) or find(files, f"lib/{LINK}")
    if place and not _has(files, place, {"Link"}):
        wanted = any(
            path.endswith(".py") and one.name in (LINK, f"{LINK}.Link")
            for path, data in files.items()
            if not path.startswith(place)
            for one in imported(data)
            if one.name == f"{LINK}.Link" or b"link.Link" in data
        )
        rest = (
            f"{LINK}.Link would not be found; rename {place}"
            if wanted
            else "which is not added beside it"
        )
        yield Shadow(f"{place} is not this project's MQTT link: {rest}", accident=wanted)


def _reserve(files: Mapping[str, bytes]) -> Iterator[Shadow]:
    place = find(files, RESERVE) or find(files, f"lib/{RESERVE}")
    if place:
        yield Shadow(
            f"{place} has the name of a module that this project's agent once had, and is taken "
            "for a file of yours",
            accident=False,
        )


def _firmware(files: Mapping[str, bytes], firmware: Firmware | None) -> Iterator[Shadow]:
    frozen = set() if firmware is None else firmware.frozen
    before_lib = frozen or modules(USUALLY_FROZEN)
    for module in sorted({*frozen, *_KNOWN_BY}):
        for prefix in ("", "lib/"):
            place = find(files, prefix + module)
            if place is None or (prefix and module in before_lib):
                continue  # what is frozen is found before lib/
            known_by = {*_KNOWN_BY.get(module, "").split()}
            hides = f"{place} takes the place of the module {module} that the firmware brings"
            if known_by and not _on_purpose(files, place, module, known_by):
                yield Shadow(
                    f"{hides}, and has no {' or '.join(sorted(known_by))}: all that imports "
                    f"{module} would get it; rename {place}",
                    accident=True,
                )
            elif module in frozen:
                yield Shadow(hides, accident=False)


def _on_purpose(files: Mapping[str, bytes], place: str, module: str, known_by: set[str]) -> bool:
    if _has(files, place, known_by):
        return True
    others = {f"u{module}", f"_{module}"}
    return any(one.name in others for path in _at(files, place) for one in imported(files[path]))


def _has(files: Mapping[str, bytes], place: str, names: set[str]) -> bool:
    """Whether a module, or one of a package, makes one of these names."""
    return any(
        _makes(files[path], names)
        if path.endswith(".py")
        else any(re.search(rb"\b%s\b" % name.encode(), files[path]) for name in names)
        for path in _at(files, place)
    )


def _makes(source: bytes, names: set[str]) -> bool:
    tree = parsed(source)
    if tree is None:
        return False
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                made = {name}
            case ast.Name(id=name, ctx=ast.Store()):
                made = {name}
            case ast.ImportFrom():
                made = {alias.asname or alias.name for alias in node.names}
            case ast.Constant(value=str() as text):  # asyncio finds its names in a table
                made = {text}
            case _:
                continue
        if made & names:
            return True
    return False


def _at(files: Mapping[str, bytes], place: str) -> list[str]:
    """The modules at a place: one, or all of a folder whose name ends with a slash."""
    return [
        path
        for path in sorted(files)
        if (path == place or (place.endswith("/") and path.startswith(place)))
        and path.endswith((".py", ".mpy"))
    ]


def find(files: Mapping[str, bytes], module: str) -> str | None:
    """The form in which a module is there: a folder with modules, which comes first, or a file."""
    if _at(files, f"{module}/"):
        return f"{module}/"
    return next((f"{module}{end}" for end in (".py", ".mpy") if f"{module}{end}" in files), None)

"""The files of a board: the application, and the settings of one thing."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twinslot.addresses import parse_host
from twinslot.errors import FleetError
from twinslot.firmware import agent, compiler, extensions
from twinslot.firmware.sources import FIRMWARE, boot_py
from twinslot.formats import mpy
from twinslot.formats.littlefs_blocks import BLOCK, SPARE, tree_blocks
from twinslot.text import decoded
from twinslot.trust import pem, secrets

_OWN_KEY = "client.key"  # the one private key that belongs on a board: its own
_TLS_FILES = ("ca.pem", "client.pem", _OWN_KEY)
_PEM_FILES: dict[str, Callable[[bytes, str], Sequence[object]]] = {
    "trusted_keys.pem": pem.public_keys,
    "ca.pem": pem.certificates,
    "http_ca.pem": pem.certificates,
    "client.pem": pem.certificates,
    _OWN_KEY: pem.blocks,
}
AGENT = (f"/{agent.PACKAGE}/", f"/{agent.LINK.removesuffix('py')}")
"""How the paths of the agent begin."""
STAYS = ("/boot.py", "/etc/", "/lib/")
"""How the paths begin of what no application's directory holds."""
FIRST_DIRECTORY = "app_0"
"""Where the application lies on a board whose first slot has a trailer, which can name it."""
AGENT_IN_LIB = tuple(f"/lib{path}" for path in AGENT)
"""How the paths begin of an agent in /lib, which an application over the air need not bring."""


class FilesError(FleetError):
    """A file that belongs on the board is missing or wrong, or must not go there."""


def compile_module(source: Path, name: str | None = None, *, smallest: bool = False) -> bytes:
    """Return a module's .mpy bytes. name: what tracebacks call it; smallest: see `compiler`.

    Raises FilesError with the compiler's complaint.
    """
    try:
        return compiler.compile_module(source, name, smallest=smallest)
    except mpy.MpyError as error:
        raise FilesError(str(error)) from error


def application(*, compiled: bool = True, chosen: Iterable[str] | None = None) -> dict[str, bytes]:
    """Return the project's own application as the board's files: boot.py, main.py, link, ota/.

    Absolute path on the board to bytes. compiled: as it is shipped, `ota` as one bundle; boot.py
    and main.py stay source, as on every chip. chosen: the agent's extensions, None for all. Raises
    ExtensionError, FilesError.
    """
    chosen = extensions.everything() if chosen is None else tuple(chosen)
    try:
        ota = agent.compiled(chosen) if compiled else agent.sources(chosen)
        own = {**ota, **agent.link(compiled=compiled)}
    except mpy.MpyError as error:
        raise FilesError(str(error)) from error
    return {
        "/boot.py": boot_py(),
        "/main.py": (FIRMWARE / "main.py").read_bytes(),
        **{f"/{path}": own[path] for path in sorted(own)},
    }


def extensions_for(settings: Mapping[str, bytes]) -> tuple[str, ...]:
    """Return the extensions that a board gets when nobody names any: as its settings ask for.

    settings: its files below /etc, as `settings` returns them; empty where they are not known.
    """
    read = settings_of(settings.get("/etc/settings.json", b"{}"), Path("/etc"))
    return extensions.asked_for(read)


def extensions_of_fleet(boards: Path) -> tuple[str, ...]:
    """Return the extensions that an application for a whole fleet gets when nobody names any.

    boards: the folder with a settings folder per board. What one of them asks for comes to all.
    Raises FilesError.
    """
    chosen = set(extensions.asked_for({}))
    for path in sorted(boards.glob("*/settings.json")):
        chosen.update(extensions.asked_for(settings_of(path.read_bytes(), path.parent)))
    return tuple(sorted(chosen))


def agent_in_lib(found: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the same files with the agent in /lib, where updates leave it.

    MicroPython looks there last: an application that brings an agent of its own has that.
    """
    return {f"/lib{path}" if path.startswith(AGENT) else path: data for path, data in found.items()}


def in_directory(found: Mapping[str, bytes], directory: str) -> dict[str, bytes]:
    """Return the same files with the application in a directory; "" leaves it in `/`."""
    base = f"/{directory}" if directory else ""
    return {
        path if path.startswith(STAYS) else f"{base}{path}": data for path, data in found.items()
    }


def room(found: Mapping[str, bytes], size: int) -> tuple[int, int]:
    """Return how large an application over the air may be in a file system with these files.

    size: bytes of the file system. Returns (bytes of blocks that an application may take, those of
    them that an agent of its own takes). The first one comes beside what is flashed, which then
    goes; afterwards there are two at a time.
    """
    blocks = size // BLOCK - SPARE
    stays = _blocks({path: found[path] for path in found if path.startswith(STAYS)})
    most = min((blocks - stays) // 2, blocks - _blocks(found))
    own = {path.removeprefix(f"/{FIRST_DIRECTORY}"): data for path, data in found.items()}
    agent_files = {path: data for path, data in own.items() if path.startswith(AGENT)}
    return most * BLOCK, (_blocks(agent_files) - _blocks({})) * BLOCK


def _blocks(found: Mapping[str, bytes]) -> int:
    return tree_blocks({path: len(data) for path, data in found.items()})


def settings(folder: Path, *, running: bool = False) -> dict[str, bytes]:
    """Return a board's settings folder as the files below /etc (docs/settings.md).

    Absolute path on the board to bytes; hidden files and what editors keep of older ones (`~` at
    the end) stay at home. running: they go beside what a running board has, where the private key
    may lie that was made there, and that a new file system would lack. Raises FilesError when
    settings.json, the keys it trusts or a file that TLS needs is missing, and for a private key
    that is not the board's own; PemError for keys and certificates that no board can use.
    """
    if not folder.is_dir():
        raise FilesError(f"{folder}: no such folder; it holds settings.json and the board's keys")
    found = {
        f"/etc/{file.relative_to(folder).as_posix()}": file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not _stays(file.relative_to(folder))
    }
    needed = ["settings.json", "trusted_keys.pem"]
    if "/etc/settings.json" in found:  # boards read UTF-8 alone
        written = decoded(found["/etc/settings.json"], folder / "settings.json")
        found["/etc/settings.json"] = written.encode()
    if _uses_tls(folder, found.get("/etc/settings.json")):
        needed += _TLS_FILES
    for name in needed:
        if f"/etc/{name}" in found:
            continue
        if name == _OWN_KEY and "/etc/client.pem" in found:
            if running:
                continue
            raise FilesError(
                f"{folder}: {_OWN_KEY} is missing. If the board made its key itself (`fleet board "
                "csr`), flashing would erase it: flash without --settings, then `fleet board csr`, "
                "`fleet provision --renew --csr`, and `fleet deploy --settings`; or leave the "
                "files on the board alone, with --keep-files"
            )
        raise FilesError(f"{folder}: {name} is missing; the board needs it in /etc")
    for path, data in found.items():
        if path != f"/etc/{_OWN_KEY}" and secrets.private_key(path, data):
            raise FilesError(
                f"{folder}: {path[5:]} holds a private key; only the board's own, {_OWN_KEY}, "
                "belongs on a board"
            )
    for name, check in _PEM_FILES.items():
        path = f"/etc/{name}"
        if path in found:
            found[path] = pem.clean(found[path], str(folder / name), check)
    return found


def _stays(below: Path) -> bool:
    return any(part[0] == "." or part[-1] == "~" for part in below.parts)


def settings_of(data: bytes, folder: Path) -> dict[str, Any]:
    """The object in a settings.json that lies in `folder`. Raises FilesError, TextError."""
    path = folder / "settings.json"
    try:
        read: Any = json.loads(decoded(data, path))
    except (ValueError, RecursionError) as error:
        raise FilesError(f"{folder}: settings.json is no JSON: {error}") from error
    if not isinstance(read, dict):
        raise FilesError(f"{folder}: settings.json is no JSON object")
    broker = read.get("broker")
    if isinstance(broker, dict) and isinstance(host := broker.get("host"), str) and host:
        try:
            parse_host(host)
        except ValueError as error:
            raise FilesError(f"{path}: broker.host: {error} (broker.port)") from error
    return read


def _uses_tls(folder: Path, data: bytes | None) -> bool:
    if data is None:
        return False
    broker = settings_of(data, folder).get("broker")
    return isinstance(broker, dict) and broker.get("tls") is True

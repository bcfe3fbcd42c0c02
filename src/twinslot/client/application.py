"""From a folder to the files of an application archive.

What stays at home: hidden files, `__pycache__`, *.pyc, packages, and what the patterns say. What is
refused: private keys and a board's settings, because a package is signed but not encrypted and goes
to every board alike; links that leave the folder; a folder without main.py, because MicroPython
starts `main.py` and nothing else. Everything else that the archive forbids is refused there.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from twinslot import disk
from twinslot.client import caveats
from twinslot.errors import FleetError
from twinslot.firmware import agent, compiler, extensions
from twinslot.formats import archive, bundle, image, mpy
from twinslot.formats.littlefs_blocks import tree_blocks

LARGEST = 3
"""How many files a board names when an application is too large for it."""

AT_HOME = (".*", "__pycache__", "*.pyc", "*.ota")
"""Patterns of what never goes along."""

_PRIVATE_KEY = b"PRIVATE KEY-----"
_KEYS = ("*.key",)
_SETTINGS = ("settings.json", "trusted_keys.pem")  # docs/settings.md


class ApplicationError(FleetError):
    """The folder holds something that must not travel, or lacks what a board needs."""


@dataclass(frozen=True)
class Options:
    """How a folder becomes an application.

    `include` and `exclude` are shell patterns: one without "/" names files and folders by their
    name, at any depth, another one by their path; a folder stands for everything in it; * matches
    slashes, too. `compiled`: modules as .mpy, except main.py. `agent`: add the project's own
    agent where the folder has none, compiled, with these `extensions`; None: what boards get when
    nobody names any.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    compiled: bool = False
    agent: bool = True
    extensions: Sequence[str] | None = None


@dataclass(frozen=True)
class Application:
    """The files of an archive, path to bytes, with what there is to say about them.

    `notes`: what was done unasked; `warnings`: what may go wrong. A sentence each.
    """

    files: dict[str, bytes]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def archive(self) -> bytes:
        """The archive. Raises ArchiveError."""
        return archive.build(self.files)

    @property
    def blocks(self) -> int:
        """How many blocks of littlefs a board's directory of these files takes. Raises as archive.

        With the list that the board keeps in it.
        """
        entries = archive.read(self.archive)
        listing = sum(len(f"{entry.size} {entry.path}\n") for entry in entries)
        return tree_blocks({**{entry.path: entry.size for entry in entries}, ".files": listing})

    @property
    def largest(self) -> list[str | int]:
        """Path and bytes of each of the three largest files, one after the other."""
        found = sorted(self.files, key=lambda path: -len(self.files[path]))[:LARGEST]
        return [said for path in found for said in (path, len(self.files[path]))]


def collect(
    folder: Path, options: Options, *, chip: str, firmware: image.Application | None = None
) -> Application:
    """Make a folder an application.

    `chip` by esptool's name; `firmware`: what the boards run or will run, None when it is not at
    hand. Raises ApplicationError, ArchiveError or MpyError, and FileError for what cannot be read.
    """
    if not folder.is_dir():
        raise ApplicationError(f"{folder} is no folder")
    walk = _Walk(folder, options)
    sources = dict(walk.files())
    _check_main(folder, sources)
    found = {path: disk.read(source, "the file") for path, source in sources.items()}
    for path, data in found.items():
        _check_secrets(folder, path, data)
    known = None if firmware is None else caveats.Firmware(firmware.data)
    added, notes, warnings = _agent(found, known, options)
    found |= added
    warnings += [f"the pattern {pattern} matches nothing" for pattern in sorted(walk.unused)]
    warnings += caveats.of(found, known, added)
    _check_paths(folder, found)
    found = _compiled(found, sources, options, chip, firmware)
    return Application(dict(sorted(found.items())), tuple(notes), tuple(warnings))


class _Walk:
    """The files of a folder that are to go along; `unused` are patterns that have met nothing."""

    def __init__(self, folder: Path, options: Options) -> None:
        self._folder = folder
        self._root = folder.resolve()
        self._include, self._exclude = options.include, options.exclude
        self.unused = {*options.include, *options.exclude}

    def files(self) -> Iterator[tuple[str, Path]]:
        """Path in the archive and file. Raises ApplicationError."""
        return self._below(self._folder, "", taken=not self._include)

    def _below(self, folder: Path, prefix: str, *, taken: bool) -> Iterator[tuple[str, Path]]:
        try:
            here = sorted(folder.iterdir())
        except OSError as error:
            raise ApplicationError(f"cannot read the folder {folder}: {error.strerror}") from error
        for file in here:
            path = prefix + file.name
            if _named(path, AT_HOME) or self._meets(path, self._exclude):
                continue
            wanted = self._meets(path, self._include) or taken
            if file.is_dir() and not file.is_symlink():
                yield from self._below(file, f"{path}/", taken=wanted)
            elif wanted:
                self._check(path, file)
                yield path, file

    def _meets(self, path: str, patterns: Sequence[str]) -> bool:
        met = _named(path, patterns)
        self.unused.difference_update(met)
        return bool(met)

    def _check(self, path: str, file: Path) -> None:
        if file.is_symlink():
            try:
                target = file.resolve()
            except (OSError, RuntimeError) as error:  # RuntimeError before Python 3.13
                raise ApplicationError(
                    f"{self._folder}: {path} is a link to itself; remove it"
                ) from error
            if not target.is_relative_to(self._root):
                raise ApplicationError(
                    f"{self._folder}: {path} is a link that leaves the folder; put a copy in its "
                    "place"
                )
            if target.is_dir():
                raise ApplicationError(
                    f"{self._folder}: {path} is a link to a folder; put a copy in its place"
                )
        if not file.is_file():
            raise ApplicationError(f"{self._folder}: {path} is neither a file nor a folder")


def _named(path: str, patterns: Sequence[str]) -> list[str]:
    """The patterns that match a path, or its last part where they have no slash."""
    name = path.rpartition("/")[2]
    return [
        pattern
        for pattern in patterns
        if fnmatchcase(path if "/" in pattern.rstrip("/") else name, pattern.rstrip("/"))
    ]


def _check_main(folder: Path, sources: dict[str, Path]) -> None:
    if caveats.MAIN in sources:
        return
    if "main.mpy" in sources:
        raise ApplicationError(
            f"{folder} has main.mpy, but MicroPython starts {caveats.MAIN} by name and nothing "
            f"else; a {caveats.MAIN} of one line may import the compiled rest"
        )
    raise ApplicationError(f"{folder} has no {caveats.MAIN}, which MicroPython starts")


def _check_paths(folder: Path, found: dict[str, bytes]) -> None:
    try:
        archive.build(found)
    except archive.ArchiveError as error:
        remedy = f"; leave it at home with --exclude '{error.entry}'" if error.entry else ""
        raise ApplicationError(f"{folder}: {error}{remedy}") from error


def _check_secrets(folder: Path, path: str, data: bytes) -> None:
    name = path.rpartition("/")[2].lower()
    stays = f"leave it at home with --exclude {path}"
    if _PRIVATE_KEY in data:
        raise ApplicationError(
            f"{folder}: {path} holds a private key, and a package is signed, not encrypted; {stays}"
        )
    if _named(name, _KEYS):
        raise ApplicationError(f"{folder}: {path} is a private key by its name; {stays}")
    if name in _SETTINGS:
        raise ApplicationError(
            f"{folder}: {path} is one board's own, from its /etc, and updates leave that alone; "
            f"{stays}"
        )


def _agent(
    found: dict[str, bytes], firmware: caveats.Firmware | None, options: Options
) -> tuple[dict[str, bytes], list[str], list[str]]:
    """The project's agent as far as it is to be added, with notes and warnings about it.

    It is compiled in any case: as source two of it would not fit the file system of a board with
    4 MB of flash.
    """
    frozen = set() if firmware is None else firmware.frozen
    lacking = [
        module
        for module in (agent.PACKAGE, "link")
        if not any(path.startswith((f"{module}/", f"{module}.")) for path in found)
    ]
    if not options.agent:
        if agent.PACKAGE not in lacking or agent.PACKAGE in frozen:
            return {}, [], []
        alone = (
            "without ota/ the board can be updated again only if it has the agent in /lib, or its "
            "firmware freezes it"
        )
        return {}, [], [alone]
    notes = [f"{module} is frozen into the firmware" for module in lacking if module in frozen]
    added: dict[str, bytes] = {}
    if agent.PACKAGE in lacking and agent.PACKAGE not in frozen:
        if not agent.modules(()):
            raise ApplicationError(
                "the project's own agent is not here; put ota/ into the folder, or --no-agent"
            )
        chosen = extensions.asked_for({}) if options.extensions is None else options.extensions
        added |= agent.compiled(chosen)
        notes.append(
            "the project's own agent was added, ota/agent and all that it needs; extensions: "
            + (", ".join(chosen) or "none")
        )
    if "link" in lacking and "link" not in frozen:
        link = agent.link(compiled=True)
        own = {path.rpartition(".")[0] for path in found}
        added |= {path: data for path, data in link.items() if path.rpartition(".")[0] not in own}
        notes.append("the project's own MQTT link was added, link.py")
    return added, notes, []


def _compiled(
    found: dict[str, bytes],
    sources: dict[str, Path],
    options: Options,
    chip: str,
    firmware: image.Application | None,
) -> dict[str, bytes]:
    """The same files, modules as .mpy if that is asked for; every .mpy is one the board loads.

    `sources`: of the application's own files.
    """
    chosen = [path for path in sources if path.endswith(".py") and path != caveats.MAIN]
    if not options.compiled:
        chosen = []
    target = None
    if options.compiled or any(path.endswith(".mpy") for path in sources):
        target = mpy.Target(chip) if firmware is None else mpy.target(chip, firmware.micropython)
    with ThreadPoolExecutor() as pool:
        made = list(
            pool.map(lambda path: compiler.compile_module(sources[path], path, target), chosen)
        )
    kept = {path: data for path, data in found.items() if path not in chosen}
    kept |= {f"{path[:-3]}.mpy": data for path, data in zip(chosen, made, strict=True)}
    if target is not None:
        for path, data in kept.items():
            if path == agent.BUNDLE:
                for name, module in bundle.read(data).modules.items():
                    mpy.check(f"{path}, module {name}", module, target)
            elif path.endswith(".mpy"):
                mpy.check(path, data, target)
    return kept

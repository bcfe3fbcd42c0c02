"""From a folder to the files of an application archive.

What is refused: an application that could not run (source that does not compile, an import that
nothing satisfies, a file that hides a module of the firmware or the agent by accident, unless all
of that is wanted); private keys, passwords and a board's settings, because a package is signed but
not encrypted and goes to every board alike; links that leave the folder; a folder without main.py,
because MicroPython starts `main.py` and nothing else. Everything else that the archive forbids is
refused there.
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from twinslot import disk
from twinslot.client import caveats, imports, shadows
from twinslot.client.folder import Walk, named
from twinslot.errors import FleetError
from twinslot.firmware import agent, compiler, extensions
from twinslot.formats import archive, bundle, image, mpy
from twinslot.formats.littlefs_blocks import tree_blocks
from twinslot.trust import secrets

LARGEST = 3
"""How many files a board names when an application is too large for it."""

_KEYS = ("*.key",)
_SETTINGS = ("settings.json", "trusted_keys.pem")  # docs/settings.md
_LINE = re.compile(r"line (\d+)")
_ANYWAY = "--exclude leaves a file at home; --force packs it all the same"


class ApplicationError(FleetError):
    """The folder holds something that must not travel, or lacks what a board needs."""


@dataclass(frozen=True)
class Options:
    """How a folder becomes an application.

    `include` and `exclude` are shell patterns: one without "/" names files and folders by their
    name, at any depth, another one by their path; a folder stands for everything in it; * matches
    slashes, too. `compiled`: modules as .mpy, except main.py. `agent`: add the project's own
    agent where the folder has none, compiled, with these `extensions`; None: what boards get when
    nobody names any. `secrets`: patterns of files that may travel though they hold a key or a
    password. `elsewhere`: modules that the boards have in their /lib or otherwise. `force`: pack
    also what could not run; a warning takes the place of the refusal. `by_cable`: it goes onto a
    board by cable, over the project's own application, whose agent, link and main.py come beside
    it.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    compiled: bool = False
    agent: bool = True
    extensions: Sequence[str] | None = None
    secrets: Sequence[str] = ()
    elsewhere: Sequence[str] = ()
    force: bool = False
    by_cable: bool = False


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
    folder: Path,
    options: Options,
    *,
    chip: str | None,
    firmware: image.Application | None = None,
) -> Application:
    """Make a folder an application.

    `chip` by esptool's name, None when it is not known; `firmware`: what the boards run or will
    run, None when it is not at hand. Raises FolderError for what cannot go along, ApplicationError
    for what must not or could not run, ArchiveError or MpyError, and FileError for what cannot be
    read.
    """
    if not folder.is_dir():
        raise ApplicationError(f"{folder} is no folder")
    walk = Walk(folder, options.include, options.exclude)
    sources = dict(walk.files())
    if not options.by_cable:
        _check_main(folder, sources)
    found = {path: disk.read(source, "the file") for path, source in sources.items()}
    unused = walk.unused | _check_secrets(folder, found, options.secrets)
    known = None if firmware is None else imports.Firmware(firmware.data)
    shadowed = shadows.of(found, known)
    wrong = [shadow.text for shadow in shadowed if shadow.accident]
    wrong += _broken(found, sources, None if chip is None else mpy.Target(chip))
    added, notes, warnings = _agent(found, known, options)
    missing = imports.missing({**found, **added}, known, _elsewhere({**found, **added}, options))
    wrong += [
        f"{one.path}, line {one.line}: no module {one.module} is in the application or "
        f"{'the firmware' if known else 'MicroPython'}; name it with --board-has if the boards "
        "have it in /lib or their firmware"
        for one in missing
        if one.at_once
    ]
    if wrong and not options.force:
        raise ApplicationError("\n".join([f"{folder}: {wrong[0]}", *wrong[1:], _ANYWAY]))
    warnings += wrong
    warnings += [f"the pattern {pattern} matches nothing" for pattern in sorted(unused)]
    warnings += [shadow.text for shadow in shadowed if not shadow.accident]
    warnings += caveats.of(found, missing)
    warnings += [
        f"the folder {path} is empty and does not come along, because a package holds files alone: "
        "make it in the application, or put a file into it"
        for path in walk.empty
    ]
    found |= added
    _check_paths(folder, found, [imports.MAIN] if options.by_cable else [])
    found = _compiled(found, sources, options, chip, firmware)
    notes = [*walk.left_out, *notes]
    return Application(dict(sorted(found.items())), tuple(notes), tuple(warnings))


def _check_main(folder: Path, sources: dict[str, Path]) -> None:
    if imports.MAIN in sources:
        return
    if "main.mpy" in sources:
        raise ApplicationError(
            f"{folder} has main.mpy, but MicroPython starts {imports.MAIN} by name and nothing "
            f"else; a {imports.MAIN} of one line may import the compiled rest"
        )
    raise ApplicationError(f"{folder} has no {imports.MAIN}, which MicroPython starts")


def _check_paths(folder: Path, found: dict[str, bytes], beside: Sequence[str]) -> None:
    """Refuse what an archive cannot hold. beside: paths of files that lie there already."""
    try:
        archive.build({**dict.fromkeys(beside, b""), **found})
    except archive.ArchiveError as error:
        remedy = f"; leave it at home with --exclude '{error.entry}'" if error.entry else ""
        raise ApplicationError(f"{folder}: {error}{remedy}") from error


def _check_secrets(folder: Path, found: dict[str, bytes], allowed: Sequence[str]) -> set[str]:
    """Refuse keys, passwords and settings; returns the patterns of `allowed` that meet nothing."""
    unused = {*allowed}
    for path, data in found.items():
        if let := named(path, allowed):
            unused.difference_update(let)
            continue
        why = _secret(path, data)
        if why:
            raise ApplicationError(
                f"{folder}: {path} {why}; leave it at home with --exclude {path}, or let it pass "
                f"with --allow-secret {path}"
            )
    return unused


def _secret(path: str, data: bytes) -> str | None:
    """The reason for which a file must not travel, None for all others."""
    name = path.rpartition("/")[2].lower()
    if kind := secrets.private_key(path, data):
        return f"holds {kind}, and a package is signed, not encrypted"
    if named(name, _KEYS):
        return "is a private key by its name"
    if name in _SETTINGS:
        return "is one board's own, from its /etc, and updates leave that alone"
    if setting := secrets.password(path, data):
        return (
            f"holds a password ({setting}), and a package is signed, not encrypted: passwords "
            "belong into the board's /etc, which updates leave alone"
        )
    return None


def _elsewhere(files: dict[str, bytes], options: Options) -> list[str]:
    """The modules that boards have though no file has their name; `ota` for its bundle."""
    if options.by_cable or not options.agent:
        return [*options.elsewhere, agent.PACKAGE, shadows.LINK]
    own = [agent.PACKAGE] if shadows.own_agent(files) else []
    return [*options.elsewhere, *own]


def _broken(
    found: dict[str, bytes], sources: dict[str, Path], target: mpy.Target | None
) -> list[str]:
    """A sentence for each source that MicroPython does not compile: file, line, text."""

    def complaint(path: str) -> str:
        try:
            compiler.compile_module(sources[path], path, target)
        except mpy.MpyError as error:
            return _complaint(path, found[path], str(error))
        return ""

    with ThreadPoolExecutor() as pool:
        said = list(pool.map(complaint, [path for path in sources if path.endswith(".py")]))
    return [sentence for sentence in said if sentence]


def _complaint(path: str, source: bytes, said: str) -> str:
    """The compiler's complaint about a source, with the text of the line."""
    why = said.splitlines()[-1]
    number = _LINE.search(said)
    if number is None:
        return f"{path} does not compile: {why}"
    lines = source.decode("utf-8", "replace").splitlines()[: int(number[1])]
    # At the end of a file the compiler misses what an earlier line began.
    text = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"{path}, line {number[1]} does not compile: {why}: {text}"


def _agent(
    found: dict[str, bytes], firmware: imports.Firmware | None, options: Options
) -> tuple[dict[str, bytes], list[str], list[str]]:
    """The project's agent as far as it is to be added, with notes and warnings about it.

    It is compiled in any case: as source two of it would not fit the file system of a board with
    4 MB of flash. Beside another library of that name it is not added: neither would be whole.
    """
    frozen = set() if firmware is None else firmware.frozen
    own = shadows.own_agent(found)
    if options.by_cable:
        return {}, [], []
    if not options.agent:
        if own or agent.PACKAGE in frozen:
            return {}, [], []
        alone = (
            "without ota/ the board can be updated again only if it has the agent in /lib, or its "
            "firmware freezes it"
        )
        return {}, [], [alone]
    taken = {module: shadows.find(found, module) for module in (agent.PACKAGE, shadows.LINK)}
    lacking = [module for module, place in taken.items() if not place]
    if own is not None and agent.PACKAGE in lacking:  # it lies in lib/
        lacking.remove(agent.PACKAGE)
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
    if shadows.LINK in lacking and shadows.LINK not in frozen:
        in_lib = shadows.find(found, f"lib/{shadows.LINK}")
        if in_lib is None:
            added |= agent.link(compiled=True)
            notes.append("the project's own MQTT link was added, link.py")
    return added, notes, []


def _compiled(
    found: dict[str, bytes],
    sources: dict[str, Path],
    options: Options,
    chip: str | None,
    firmware: image.Application | None,
) -> dict[str, bytes]:
    """The same files, modules as .mpy if that is asked for; every .mpy is one the board loads.

    `sources`: of the application's own files.
    """
    chosen = [path for path in sources if path.endswith(".py") and path != imports.MAIN]
    if not options.compiled:
        chosen = []
    target = None
    if chip is not None and (options.compiled or any(path.endswith(".mpy") for path in sources)):
        target = mpy.Target(chip) if firmware is None else mpy.target(chip, firmware.micropython)
    with ThreadPoolExecutor() as pool:
        made = list(
            pool.map(lambda path: compiler.compile_module(sources[path], path, target), chosen)
        )
    kept = {path: data for path, data in found.items() if path not in chosen}
    kept |= {f"{path[:-3]}.mpy": data for path, data in zip(chosen, made, strict=True)}
    if target is not None:
        for path, data in kept.items():
            if path.endswith(agent.BUNDLE) and bundle.is_bundle(data):
                for name, module in bundle.read(data).modules.items():
                    mpy.check(f"{path}, module {name}", module, target)
            elif path.endswith(".mpy"):
                mpy.check(path, data, target)
    return kept

"""The judgement of a board that runs something already: how it comes under a fleet. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from twinslot.board import running
from twinslot.errors import FleetError
from twinslot.firmware import agent
from twinslot.formats import releases, table
from twinslot.formats.littlefs_blocks import BLOCK, file_blocks

MAIN, BOOT = "/main.py", "/boot.py"
_AGENT = f"/{agent.PACKAGE}/"
_OURS = (f"/{agent.BUNDLE}", f"{_AGENT}agent.py", f"{_AGENT}agent.mpy")
_USES = re.compile(rb"^\s*(?:import|from)\s+ota\b", re.MULTILINE)


class AdoptionError(FleetError):
    """The board cannot be brought under the fleet as it is."""


@dataclass(frozen=True)
class Found:
    """A board as it was found.

    `running`: what MicroPython says of itself; `machine`: the name of its hardware; `number`: the
    chip's own, hexadecimal; `sizes`: bytes of each file, by absolute path; `mounts`: other file
    systems, which are not looked into.
    """

    running: running.Running
    machine: str
    number: str
    sizes: Mapping[str, int]
    mounts: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """Describe the board for people."""
        board = self.running
        yield f"MicroPython {releases.text(board.version)} on {self.machine}"
        if board.table:
            rows = ", ".join(f"{row.label} {row.size >> 10} KB" for row in board.table)
            yield f"  table: {rows}; {board.slot} runs"
        free = "no file system at /" if board.free is None else f"{board.free >> 10} KB free"
        yield f"  files: {len(self.sizes)} of {sum(self.sizes.values())} bytes; {free}"
        if self.mounts:
            yield f"  also mounted, and left alone: {', '.join(self.mounts)}"

    @property
    def has_agent(self) -> bool:
        """Say whether the agent of this project lies there already."""
        return any(path in self.sizes for path in _OURS)


@dataclass(frozen=True)
class Needs:
    """The steps of an adoption, a sentence each.

    `flash`: why the whole flash must be written, empty where files are enough; `changes`: what
    changes on the board; `left`: what a person has to do afterwards.
    """

    flash: tuple[str, ...]
    changes: tuple[str, ...]
    left: tuple[str, ...]


def needs(found: Found, files: Mapping[str, bytes], wanted: Mapping[str, bytes]) -> Needs:
    """Judge a board. files: those on it; wanted: those that are to come, by absolute path.

    Raises PendingError while an image is under test, UnfitError for flash encryption, and
    AdoptionError for a library of another project where the agent belongs.
    """
    board = found.running
    flash = []
    if board.version < releases.OLDEST:
        oldest = releases.text(releases.OLDEST)
        flash.append(f"MicroPython {releases.text(board.version)} is older than {oldest}")
    if board.encrypted or board.pending:
        running.check(board)
    flash += [f"its table has {lack}" for lack in running.lacks(board)]
    if board.free is None:
        flash.append("it has no file system at /")
    if board.fat:
        flash.append(running.FAT)
    _check_names(found)
    changes = []
    room = sum(file_blocks(len(data)) for data in wanted.values()) * BLOCK
    if not flash and board.free is not None and room > board.free:
        raise AdoptionError(
            f"boot.py, the agent and settings take {room >> 10} KB, and {board.free >> 10} KB are "
            "free on the board: remove files that it does not need, or give --firmware, which "
            "makes a new file system"
        )
    if flash:
        changes.append("all of its flash is written: MicroPython, a table with two slots, files")
        if kept := [row.label for row in table.strangers(board.table)]:
            changes.append(
                f"its partitions {', '.join(kept)} stay where they are; --drop LABEL gives one up"
            )
        changes.append("the files that were saved come back to their places")
    changes.append(f"boot.py, the agent and settings come onto it, {room >> 10} KB")
    old = files.get(BOOT)
    if old is not None and old != wanted.get(BOOT):
        changes.append("its boot.py is replaced: what that did belongs at the top of main.py")
    return Needs(tuple(flash), tuple(changes), tuple(_left(files, wanted)))


def _left(files: Mapping[str, bytes], wanted: Mapping[str, bytes]) -> Iterator[str]:
    merged = {**files, **wanted}
    modules = (data for path, data in merged.items() if not path.startswith((_AGENT, BOOT)))
    if not any(_USES.search(data) for data in modules):
        yield (
            "nothing on it uses the agent: until main.py makes one, no update comes over the air "
            "(docs/your-application.md); --app DIR brings an application that does"
        )


def _check_names(found: Found) -> None:
    """Refuse to put the agent over what is another's."""
    foreign = [path for path in found.sizes if path.startswith(_AGENT)]
    foreign += [path for path in ("/ota.py", "/ota.mpy") if path in found.sizes]
    if foreign and not found.has_agent:
        raise AdoptionError(
            f"{min(foreign)} on the board is another library's, and the agent has that name: "
            "rename or remove it there first (docs/moving-in.md); its files are saved"
        )


def beside(found: Found, ours: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of this project that go beside an application that stays as it is.

    ours: all of them, with the demo's main.py, which comes only where none is; a link of the
    application's own stays, too.
    """
    link = any(path in found.sizes for path in ("/link.py", "/link.mpy")) and not found.has_agent
    return {
        path: data
        for path, data in ours.items()
        if not (path == MAIN and path in found.sizes) and not (path.startswith("/link.") and link)
    }


def back(files: Mapping[str, bytes], written: Mapping[str, bytes]) -> dict[str, bytes]:
    """The saved files that come back after the flash was written; new settings go before old ones.

    The demo's main.py gives way to the application's.
    """
    kept = {path: data for path, data in files.items() if path not in written}
    if MAIN in files:
        kept[MAIN] = files[MAIN]
    return {path: data for path, data in kept.items() if not path.startswith(_AGENT)}

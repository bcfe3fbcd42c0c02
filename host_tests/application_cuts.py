"""Runs on_board/power_cuts.py: scenarios of updates, the power failing where it is told to."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_bench import KEY, PRODUCT
from link_fixtures import need

from sim import image
from tools import natives
from tools.paths import ROOT
from twinslot.board import files
from twinslot.firmware import agent
from twinslot.formats import archive, bundle
from twinslot.formats.component import Content, application_content, firmware_content
from twinslot.formats.head import read_head
from twinslot.formats.trailer import write_trailer
from twinslot.trust import keys, signing

SCRIPT = ROOT / "host_tests/on_board/power_start.py"
SIZE = 9_000  # bytes of an image: three sectors
# The agent's bundle stands among them as a file of two blocks.
FLAT = {"main.py": "# flat\n", "app.py": "old = 1\n", "ota/bundle.mpy": "flat\n" * 1000}
# Small blocks and many checkpoints: more that can be cut.
BLOCK = 1024
WINDOW = 4
SETTINGS = {
    "product": PRODUCT,
    "block_size": BLOCK,
    "window": WINDOW,
    "checkpoint_blocks": 2,
    "wide_writes": 0,
}


def application(version: str) -> dict[str, str]:
    """Return the files of an application: some below folders, one empty, one of two blocks."""
    return {
        "main.py": f"# main of {version}\n",
        "app.py": f"version = {version!r}\n" * 240,
        f"only_in_{version.replace('.', '_')}.py": "# a name that no other version has\n",
        "lib/__init__.py": "",
        "ota/bundle.mpy": f"bundle of {version}\n" * 300,
        "lib/sensor/driver.py": f"# driver of {version}\n" * 20,
    }


@dataclass(frozen=True)
class Update:
    """A package: with an image or without, with these files (path to content) or without.

    `fails`: the cause with which it fails, "" where it is accepted.
    """

    image: bool = False
    files: Mapping[str, str | bytes] | None = None
    application_first: bool = False
    fails: str = ""


@dataclass(frozen=True)
class Scenario:
    """A board's history; the power fails in its last update.

    `awake`: the board sleeps after so many blocks each time, 0: not at all; `costs`: bytes at most;
    `agent`: files of the agent that a cable brings, which then runs, as those of the updates do;
    without it each boot has the agent that this process has loaded.
    """

    updates: list[Update]
    size: int = SIZE
    settings: dict[str, Any] = field(default_factory=dict)
    awake: int = 0
    costs: int = 0
    agent: dict[str, bytes] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write everything that the script reads into `folder`; returns that."""
        folder.mkdir()
        first = image.firmware(version="1.0.0", size=self.size)
        head = read_head(_pack([firmware_content(first)], 1))
        (folder / "image.bin").write_bytes(first)
        (folder / "trailer.bin").write_bytes(write_trailer([head.record]))
        for number, data in enumerate(self.agent.values()):
            (folder / f"cable-{number}").write_bytes(data)
        pairs: dict[int, dict[str, Any]] = {
            1: {"slot": 0, "image": _image(first), "files": _digests({**FLAT, **self.agent})},
        }
        packages, before = [], 1
        for sequence, update in enumerate(self.updates, 2):
            contents = []
            pair = pairs[sequence] = {**pairs[before], "slot": 1 - pairs[before]["slot"]}
            if update.image:
                data = image.firmware(version=f"1.{sequence}.0", size=self.size)
                contents.append(firmware_content(data))
                pair["image"] = _image(data)
            if update.files is not None:
                contents.append(application_content(archive.build(_encoded(update.files))))
                pair["files"] = _digests(update.files)
            contents.sort(key=lambda content: content.kind, reverse=update.application_first)
            name = f"{sequence}.ota"
            (folder / name).write_bytes(_pack(contents, sequence))
            packages.append(
                {"file": name, "sequence": sequence, "before": before, "fails": update.fails}
            )
            if not update.fails:
                before = sequence
        scenario = {
            "settings": {**SETTINGS, **self.settings},
            "awake": self.awake,
            "costs": self.costs,
            "own": bool(self.agent),
            "agent": {path: f"cable-{number}" for number, path in enumerate(self.agent)},
            "cable": {
                **{path: text for path, text in FLAT.items() if path not in self.agent},
                "etc/settings.json": json.dumps({"self_test_s": 20}),
                "etc/trusted_keys.pem": keys.public_pem(KEY.public_key()).decode(),
            },
            "pairs": pairs,
            "earlier": packages[:-1],
            "package": packages[-1],
        }
        (folder / "scenario.json").write_text(json.dumps(scenario))
        return folder


def _encoded(files: Mapping[str, str | bytes]) -> dict[str, bytes]:
    return {
        path: text if isinstance(text, bytes) else text.encode() for path, text in files.items()
    }


def _digests(files: Mapping[str, str | bytes]) -> dict[str, str]:
    return {path: hashlib.sha256(data).hexdigest() for path, data in _encoded(files).items()}


def own_agent(version: str) -> dict[str, bytes]:
    """Return the agent as a board has it, with a bundle that no other version has."""
    found = files.application()
    held = bundle.read(found[f"/{agent.BUNDLE}"])
    more = {f"only_in_{version.replace('.', '_')}": held.modules["tidy"]}
    return {
        "ota/__init__.mpy": found["/ota/__init__.mpy"],
        agent.BUNDLE: bundle.build({**held.modules, **more}, held.extensions),
    }


def _image(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _pack(contents: list[Content], sequence: int) -> bytes:
    return signing.build(contents, KEY, PRODUCT, f"1.{sequence}.0", sequence, created=1_790_000_000)


@functools.cache
def as_shipped() -> Path:
    """Return a folder with boot.py and firmware/ as they come onto a board: the agent as one file.

    It lasts as long as this process.
    """
    folder = tempfile.TemporaryDirectory(prefix="as-shipped-")
    atexit.register(folder.cleanup)
    for path, data in files.application().items():
        below = path[1:] if path == "/boot.py" else f"firmware{path}"
        (Path(folder.name) / below).parent.mkdir(parents=True, exist_ok=True)
        (Path(folder.name) / below).write_bytes(data)
    return Path(folder.name)


def run(
    folder: Path, cuts: Iterable[tuple[int, ...]], *, sources: Path | None = None
) -> Iterator[dict[str, Any]]:
    """Run the scenario in `folder`; yield what became of the update without a cut, then of each.

    cuts: (seed, operation, ...); sources: a folder with boot.py and firmware/, None for what comes
    onto a board.
    """
    need("micropython")
    script = [str(SCRIPT), str(ROOT), str(sources or as_shipped()), str(folder)]
    process = subprocess.Popen(
        [*natives.command("micropython"), "-X", "heapsize=16m", *script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdin and process.stdout
    with process.stdin:
        process.stdin.write(json.dumps(list(cuts)))
    said = []
    for line in process.stdout:
        if line.startswith("{"):
            yield json.loads(line)
        else:
            said.append(line)
    assert process.wait() == 0, "".join(said[-40:])

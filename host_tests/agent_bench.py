"""The bench of the agent's tests: a board on the simulated chip, and the service it talks to.

    bench = Bench(tmp_path)                     # a board that runs 1.0.0, sequence 1
    bench.service.add("job-1", packed("1.1.0", 2))     # publish
    bench.boot(callback, window=4)              # power on, boot.py, a new agent with these settings
    receive(bench, 5)                           # until five blocks are here
    bench.board.flash.cut_at = 7                # the power fails at the seventh flash operation
    bench.until_quiet()                         # through every reset, until nothing is left to do
    bench.service.status("job-1")               # ask the service; also details(), updates, jobs
    bench.board.running, bench.board.slot_bytes(1, IMAGE), bench.board.records()    # look at flash

`Chip` is the same with application files: `application` and `pack` make them, `tree` reads them
back, `entered` and `trailer` say which directory runs and what a slot's trailer has.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import hardware
from chipboard import ChipBoard, fresh_ota
from job_service import Client, JobService
from layout import SLOT_SIZE

from sim import image
from twinslot.formats import archive
from twinslot.formats.component import application_content, firmware_content
from twinslot.formats.head import read_head
from twinslot.formats.trailer import read_trailer, write_trailer
from twinslot.trust import keys, signing

PRODUCT = "demo-board"
KEY = keys.generate()
IMAGE = 40_000  # bytes


def packed(version: str, sequence: int, behaviour: str = "good", **changes: Any) -> bytes:
    """Build a package of a firmware image.

    changes: arguments of `signing.build`; also `size` (bytes of the image) and `chip` (its id).
    """
    arguments = {"key": KEY, "product": PRODUCT, "created": 1_790_000_000, **changes}
    chip = arguments.pop("chip", 0)
    firmware = image.firmware(behaviour, version=version, size=arguments.pop("size", IMAGE))
    return signing.build(
        [firmware_content(firmware, chip)],
        arguments.pop("key"),
        version=version,
        sequence=sequence,
        **arguments,
    )


class Bench:
    """A board that runs 1.0.0 (sequence 1), and the service it talks to."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.service = JobService("board-1")
        self.board = ChipBoard(folder, **options)
        old = packed("1.0.0", 1)
        head = read_head(old)
        self.board.flash_slot(
            0, image.firmware(version="1.0.0", size=IMAGE), write_trailer([head.record])
        )
        self.board.write_etc("trusted_keys.pem", keys.public_pem(KEY.public_key()))
        self.board.write_etc("settings.json", {"self_test_s": 20})
        self.client: Client
        self.agent: Any = None
        self.key = KEY
        # What the application in each slot says of its version, for raw images.
        self.versions: dict[int, str] = {}
        self.options: dict[str, Any] = {}  # further arguments of Agent()

    def boot(self, callback: Any = None, **settings: Any) -> Any:
        """Power on, boot.py, a new agent. Returns the Reset or PowerCut that came instead."""

        def start() -> None:
            self.board.power_on()
            self.board.boot_py()
            ota = fresh_ota(self.board.folder)
            self.client = Client(self.service)
            options = {"product": PRODUCT, "request_ms": 100, **settings}
            self.agent = ota.agent.Agent(
                self.client,
                "board-1",
                callback,
                settings=options,
                version=self.versions.get(self.board.running),
                **self.options,
            )
            self.client.agent = self.agent
            self.service.outgoing.clear()
            self.agent.start()

        return self.board.run(start)

    def step(self, steps: int = 3000) -> Any:
        """Run the application's loop until it has nothing to do, or the chip resets."""

        def loop() -> None:
            for _ in range(steps):
                self.client.deliver()
                wait = self.agent.step()
                assert type(wait) is int, "milliseconds; an application sleeps so long"
                if wait and self.reads():
                    time.sleep(wait / 1000)
                elif wait and not self.service.outgoing:
                    return

        return self.board.run(loop)

    @property
    def in_hand(self) -> Any:
        """The engine with an update in hand, None without one."""
        engine = self.agent._engine
        return engine if engine and engine.in_hand else None

    @property
    def proof(self) -> Any:
        """The test under way, None without one."""
        engine = self.agent._engine
        return engine and engine.proof

    def reads(self) -> bool:
        """Say whether a server's bytes are awaited; then nobody is asked to wait for long."""
        path = self.in_hand and self.in_hand.path
        return hasattr(path, "_filled") and not path.timer.left

    def until_quiet(self, callback: Any = None, resets: int = 8) -> None:
        """Boot again after every reset, until the board has nothing left to do."""
        for _ in range(resets):
            if self.boot(callback) is None and self.step() is None:
                return
        raise AssertionError("the board resets without end")


class Patient:
    """A callback that does nothing. asked: the 2019 agent's events, (name, detail as text)."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, event: str, detail: Any) -> None:
        if event in ("Activate", "Fail", "StartTest"):
            self.asked.append((event, str(detail)))


def receive(bench: Bench, blocks: int) -> None:
    """Step until so many blocks are here."""
    for _ in range(2000):
        bench.client.deliver()
        bench.agent.step()
        progress = bench.agent.progress
        if progress and progress[0] >= blocks:
            return
    raise AssertionError("the blocks never came")


def finish(bench: Bench, job: str = "job-1") -> None:
    """Go on until the job has ended."""
    for _ in range(8):
        if bench.step() is None and bench.service.status(job) not in ("QUEUED", "IN_PROGRESS"):
            return
        if bench.board.cause != hardware.PWRON or bench.agent is None:
            bench.boot()
    raise AssertionError(f"{job} never ended: {bench.service.jobs[job]}")


# What a board of these tests runs before there are directories.
FLAT = {"main.py": b"# flat\n", "app.py": b"old = 1\n"}


def application(version: str, *, more: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """Return the files of an application: some below a folder, one empty, one of two blocks."""
    return {
        "main.py": f"# main of {version}\n".encode(),
        "app.py": f"version = {version!r}\n".encode() * 300,
        "lib/__init__.py": b"",
        "lib/sensor/driver.py": f"# driver of {version}\n".encode(),
        **(more or {}),
    }


def pack(
    version: str,
    sequence: int,
    files: dict[str, bytes] | bytes | None = None,
    *,
    behaviour: str | None = None,
    application_first: bool = False,
    **changes: Any,
) -> bytes:
    """Build a package of an application (files, or an archive), an image, or both."""
    contents = []
    if files is not None:
        data = files if isinstance(files, bytes) else archive.build(files)
        contents.append(application_content(data))
    if behaviour:
        firmware = image.firmware(behaviour, version=version, size=IMAGE)
        contents.insert(len(contents) * application_first, firmware_content(firmware, 0))
    arguments = {"key": KEY, "product": PRODUCT, "created": 1_790_000_000, **changes}
    key = arguments.pop("key")
    return signing.build(contents, key, version=version, sequence=sequence, **arguments)


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, but the board's own list, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".files"
    }


class Chip(Bench):
    """A flat board that runs 1.0.0; `folder` is its file system."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self.folder = folder
        for name, data in FLAT.items():
            (folder / name).write_bytes(data)

    def update(self, job: str, data: bytes, callback: Any = None) -> str:
        """Send a package and let the board come to rest. Returns the job's status."""
        self.service.add(job, data)
        self.until_quiet(callback)
        return self.service.status(job)

    @property
    def entered(self) -> str:
        """Name of the directory that runs, "" for none."""
        assert self.board.entered != str(self.folder / "etc")
        path = Path(self.board.entered)
        return path.name if path.parent == self.folder else ""

    def trailer(self, slot: int) -> tuple[list[int], str]:
        """Return the sequences of a slot trailer's records, newest first, and its directory."""
        end = self.board.slot_bytes(slot, SLOT_SIZE)[-4096:]
        heads, directory = read_trailer(end)
        for head in heads:
            signing.verify(head, KEY.public_key())
        return [head.manifest.sequence for head in heads], directory

    def image(self, slot: int) -> str:
        """Return the SHA-256 of a slot's image."""
        return hashlib.sha256(self.board.slot_bytes(slot, IMAGE)).hexdigest()

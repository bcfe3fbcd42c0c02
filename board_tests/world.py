"""A board, a broker and a service: what every test of an update needs."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from board_tests import images, kept
from board_tests.device import READY, Device, DeviceError, until
from demo.stack import Stack
from twinslot.board import files
from twinslot.errors import FleetError
from twinslot.formats import chips, image

if TYPE_CHECKING:
    from board_tests.conftest import Options

_APPLICATION = Path(__file__).with_name("application")
THING = "board-test"
# What the images do, and a good one for each test that needs one of its own.
BEHAVIOURS = (
    "good",
    "self_test",
    "hang",
    "crash",
    "no_network",
    "interrupted",
    "tls",
    "both",
    "own_watchdog",
)
_FIRST_SEQUENCE = 1_000_000  # above whatever this board was given; its journal is put back

AT_REST = r'^board-test \{.*"rest": \{'  # the test application's, once a start
BOOT_S = 240  # from a reset to the first connection, on the slowest of boards
TRANSFER_S = 600
_FETCHES = 4  # of the board's image


@dataclass
class Outcome:
    """How an update ended. `told`: what the test application told on the way, merged."""

    job: str
    status: str
    details: dict[str, str]
    told: dict[str, Any]


@dataclass
class World:
    """One board with its broker and service.

    `own`: the image that it ran at first; `start` and `directory`: from which slot, and where.
    """

    device: Device
    stack: Stack
    own: bytes
    _sequence: int = _FIRST_SEQUENCE
    start: str = field(default="")
    directory: str = field(default="")

    @classmethod
    def of(cls, device: Device, stack: Stack, own: bytes, options: "Options") -> "World":
        """Prepare the board: test application, settings, empty journal; wait until it is ready."""
        world = cls(device, stack, own)
        world.start = device.facts()["running"][4]
        world.directory = device.working_directory()
        folder = stack.settings_folder(THING, wifi=(options.ssid, options.password))
        settings = {f"/etc/{file.name}": file.read_bytes() for file in folder.iterdir()}
        kept.set_journal(device)
        install(device, settings, [world.listed(behaviour) for behaviour in BEHAVIOURS])
        world.restart()
        return world

    def image(self, behaviour: str) -> bytes:
        """Return the image that behaves like this."""
        return images.retimed(self.own, f"test {BEHAVIOURS.index(behaviour)}")

    def listed(self, behaviour: str) -> tuple[int, str, str]:
        """Return the image's row in the list by which the board knows it."""
        data = self.image(behaviour)
        return len(data), data[-32:].hex(), behaviour

    @property
    def spare(self) -> str:
        """The directory into which an application goes."""
        return "/app_1" if self.directory == "/app_0" else "/app_0"

    def restart(self) -> None:
        """Reset the board and wait until it is ready."""
        since = self.device.restart()
        self._wait_until_at_rest(since)

    def update(
        self,
        behaviour: str | None = None,
        task: str = "times",
        application: Mapping[str, bytes | None] | None = None,
        meanwhile: Callable[[int], None] = lambda since: None,
    ) -> Outcome:
        """Send the board an update, wait until it has ended and the board is ready again.

        behaviour: of the image, None without one; task: "times", "heap" or "cut": what the test
        application does beside it, see there; application: files beside the test application's in
        the package, None for those that are to be missing; None without one; meanwhile: called once
        it is published, with the console's line. Raises DeviceError.
        """
        job, since = self._publish(behaviour, task, application)
        meanwhile(since)
        limit = TRANSFER_S + 2 * BOOT_S
        until(lambda: self.stack.finished(job, THING), self.device, limit, f"the end of {job}")
        execution = self.stack.execution(job, THING)
        self._wait_until_at_rest(since)
        told = merged(self.device.told(since))
        return Outcome(job, execution["status"], execution["statusDetails"], told)

    def _publish(
        self, behaviour: str | None, task: str, application: Mapping[str, bytes | None] | None
    ) -> tuple[str, int]:
        """Pack what is to be sent, and publish it. Returns the job, and the console's line."""
        self._sequence += 1
        version = f"{self._sequence}-{behaviour or 'application'}"
        folder = self.stack.folder / version
        folder.mkdir()
        contents = []
        if behaviour:
            (folder / "image.bin").write_bytes(self.image(behaviour))
            contents += ["--firmware", f"{version}/image.bin"]
        if application is not None:
            write_application(folder / "app", application)
            contents += ["--app", f"{version}/app", "--no-agent"]
        package = f"{version}/package.ota"
        numbers = ["--version", version, "--sequence", str(self._sequence)]
        self.stack.fleet("pack", "--force", *contents, *numbers, "-o", package)  # broken on purpose
        self.device.listen(0)
        since = len(self.device.said)
        job = f"{task}-{version}"
        self.stack.fleet("publish", "--force", "--job", job, package, THING)
        return job, since

    def go_back(self) -> None:
        """Send the board from the updated slot back to its start slot."""
        since = kept.boot_other(self.device)
        runs = self.device.wait_for("main: running version", BOOT_S, since=since)
        if not self.device.said[runs].rstrip().endswith(f"from {self.start}"):
            raise DeviceError(f"the board did not return to {self.start}")
        self._wait_until_at_rest(runs)

    def _wait_until_at_rest(self, since: int) -> None:
        """Wait until a started board is ready, and the test application has weighed the agent."""
        rests = self.device.wait_for(AT_REST, BOOT_S, since=since)
        self.device.wait_for(READY, BOOT_S, since=rests)


def merged(told: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return what the test application told on its way, also before and after a reset."""
    found: dict[str, Any] = {}
    for one in told:
        heap = found.get("heap", {}) | one.get("heap", {})
        found |= one
        found["heap"] = heap
    return found


def test_modules() -> dict[str, bytes]:
    """Return the test application's modules, by name.

    Compiled: the compiler would leave the agent too little heap.
    """
    return {
        f"{source.stem}.mpy": files.compile_module(source)
        for source in sorted(_APPLICATION.glob("*.py"))
    }


def write_application(folder: Path, changes: Mapping[str, bytes | None]) -> None:
    """Write the whole application as a package brings it, with these changes."""
    ours = {path[1:]: data for path, data in files.application().items() if path != "/boot.py"}
    for name, data in {**ours, **test_modules(), **changes}.items():
        if data is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def install(device: Device, settings: dict[str, bytes], rows: list[tuple[int, str, str]]) -> None:
    """Put the test application on the board, and these settings (path to bytes).

    rows: size, SHA-256 at the end in hex, and behaviour of each image.
    """
    listing = "".join(f"{size} {digest} {name}\n" for size, digest, name in rows)
    wanted = {kept.LIST: listing.encode()}  # the first to come and the last to go
    folder = device.working_directory().rstrip("/")
    wanted |= {f"{folder}/{name}": data for name, data in test_modules().items()}
    wanted |= settings
    touched = kept.touched(folder)
    strange = wanted.keys() - set(touched)
    if strange:
        raise DeviceError(f"{sorted(strange)} would stay on the board: see kept.touched")
    device.put(kept.LIST, wanted.pop(kept.LIST))
    others = [path for path in touched if path.startswith("/etc/") and path not in wanted]
    others.remove(kept.LIST)
    kept.remove(device, [*others, *(path for path in touched if path.endswith(".py"))])
    for path, data in wanted.items():
        device.put(path, data)


def own_image(device: Device, options: "Options") -> tuple[bytes, float]:
    """Fetch the image that runs, over the network. Returns it, and the bytes sent per second.

    A radio that stands still is started again. Raises DeviceError after some tries.
    """
    for tries in range(_FETCHES, 0, -1):
        device.join(options.ssid, options.password)
        try:
            slot, seconds = device.fetch_slot(options.host)
            break
        except FleetError as error:
            if tries == 1:
                raise DeviceError(f"the board cannot send its image: {error}") from error
    return slot[: image.parse(slot).length], len(slot) / seconds


@contextlib.contextmanager
def started(options: "Options", chip: int, slot_size: int, *, tls: bool) -> Iterator[Stack]:
    """Run a broker and a service for this board.

    The keys of CA, signer and board lie in a folder that nobody else may read, and go with it; the
    logs stay beside the report.
    """
    name = "tls" if tls else "plain"
    with tempfile.TemporaryDirectory(prefix="board-test-") as folder:
        stack = Stack(
            Path(folder, name),
            self_test_s=options.self_test_s,
            tls=tls,
            host="0.0.0.0",
            advertise=options.host,
            init=("--chip", chips.name_of(chip), "--slot-size", hex(slot_size)),
        )
        try:
            with stack:
                yield stack
        finally:
            for log in stack.folder.glob("*.log"):
                shutil.copyfile(log, options.folder / f"{name}-{log.name}")

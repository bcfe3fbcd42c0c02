"""A board, a broker and a service: what every test of an update needs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from board_tests import images
from board_tests.device import Device, DeviceError, until
from demo.stack import Stack
from fleet import image

if TYPE_CHECKING:
    from board_tests.conftest import Options

THING = "board-test"
READY = "State: Ready"
# What the images do, and a good one for each test that needs one of its own.
BEHAVIOURS = ("good", "self_test", "hang", "crash", "no_network", "interrupted", "tls")
_FIRST_SEQUENCE = 1_000_000  # above whatever this board was given; its journal is put back

BOOT_S = 240  # from a reset to the first connection, on the slowest of boards
TRANSFER_S = 600


@dataclass
class Outcome:
    """How an update ended. `told`: what the test application told on the way, merged."""

    job: str
    status: str
    details: dict[str, str]
    told: dict[str, Any]
    since: int
    """Number of the console's line at which the update began."""


@dataclass
class World:
    """One board with its broker and service. `own`: the image that it ran at first."""

    device: Device
    stack: Stack
    own: bytes
    _sequence: int = _FIRST_SEQUENCE
    start: str = field(default="")

    @classmethod
    def of(cls, device: Device, stack: Stack, own: bytes, options: "Options") -> "World":
        """Prepare the board: test application, settings, empty journal; wait until it is ready."""
        world = cls(device, stack, own)
        world.start = device.facts()["running"][4]
        folder = stack.settings_folder(THING, wifi=(options.ssid, options.password))
        settings = {f"/etc/{file.name}": file.read_bytes() for file in folder.iterdir()}
        device.forget()
        device.install(settings, [world.listed(behaviour) for behaviour in BEHAVIOURS])
        world.restart()
        return world

    def image(self, behaviour: str) -> bytes:
        """Return the image that behaves like this."""
        return images.retimed(self.own, f"test {BEHAVIOURS.index(behaviour)}")

    def listed(self, behaviour: str) -> tuple[int, str, str]:
        """Return the image's row in the list by which the board knows it."""
        data = self.image(behaviour)
        return len(data), data[-32:].hex(), behaviour

    def restart(self) -> None:
        """Reset the board and wait until it is ready."""
        since = self.device.restart()
        self.device.wait_for(READY, BOOT_S, since=since)

    def publish(self, behaviour: str) -> tuple[str, int]:
        """Pack an image and publish it. Returns the job, and the console's line number."""
        self._sequence += 1
        file = self.stack.folder / f"{behaviour}.bin"
        file.write_bytes(self.image(behaviour))
        package = file.with_suffix(".ota")
        version = f"{self._sequence}-{behaviour}"
        numbers = ["--version", version, "--sequence", str(self._sequence)]
        self.stack.fleet("pack", file.name, *numbers, "-o", package.name)
        self.device.listen(0)
        return self.stack.publish(package, THING), len(self.device.said)

    def finish(self, job: str, since: int) -> Outcome:
        """Listen until the job has ended and the board is ready again. Raises DeviceError."""
        limit = TRANSFER_S + 2 * BOOT_S
        until(lambda: self.stack.finished(job, THING), self.device, limit, f"the end of {job}")
        execution = self.stack.execution(job, THING)
        self.device.wait_for(READY, BOOT_S, since=len(self.device.said))
        told: dict[str, Any] = {}
        for one in self.device.told(since):
            told |= one
        return Outcome(job, execution["status"], execution["statusDetails"], told, since)

    def update(self, behaviour: str) -> Outcome:
        """Send the board an update and wait for its end."""
        return self.finish(*self.publish(behaviour))

    def blocks_received(self, job: str) -> tuple[int, int]:
        """Return (blocks received, blocks in all) as the board last reported."""
        said = self.stack.execution(job, THING)["statusDetails"].get("receive", "0/1")
        received, _, total = said.partition("/")
        return int(received), int(total)

    def go_back(self) -> None:
        """Send the board from the updated slot back to its start slot."""
        self.device.boot_other()
        self.device.wait_for(READY, BOOT_S, since=len(self.device.said))
        if self.device.facts()["running"][4] != self.start:
            raise DeviceError(f"the board did not return to {self.start}")
        self.restart()


def own_image(device: Device, options: "Options") -> tuple[bytes, float]:
    """Fetch the image that runs, over the network. Returns it, and the bytes sent per second."""
    device.join(options.ssid, options.password)
    slot, seconds = device.fetch_slot(options.host)
    return slot[: image.parse(slot).length], len(slot) / seconds


def started(folder: Path, options: "Options", chip: int, slot_size: int, *, tls: bool) -> Stack:
    """Return a stack for this board, not yet entered."""
    return Stack(
        folder,
        self_test_s=options.self_test_s,
        tls=tls,
        host="0.0.0.0",
        advertise=options.host,
        init=("--chip", image.chip_name(chip), "--slot-size", hex(slot_size)),
    )

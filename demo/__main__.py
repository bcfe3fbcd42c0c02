"""The demo: seven updates of a simulated board, each checked on the board and in the service."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from demo import children, contents
from demo.stack import THING, Stack
from sim.board import HARD, Board, BoardError
from tools.natives import NativeMissing
from tools.paths import CACHE
from twinslot.trust import keys

VALID, ABORTED = 2, 4
ALL = range(2, 9)


class Wrong(Exception):
    """Something is not as the demo promises."""


class Demo:
    """The scenes. `board` is the one board; the second and the sixth change what it runs."""

    def __init__(self, stack: Stack, board: Board) -> None:
        self.stack = stack
        self.board = board
        self.home = 0  # the slot that ran when the scene began

    def run(self, chosen: Sequence[int]) -> None:
        """Play the first scene and those chosen. Raises Wrong at the first broken promise."""
        scenes = [
            (self.accepted, "1.1.0 is published, travels, is tested and accepted"),
            (self.failing_self_test, "1.2.0 fails its own self-test and is rolled back"),
            (self.hang, "1.3.0 hangs; the deadline passes; it is rolled back"),
            (self.both_fail, "1.4.0 brings firmware and application; both are rolled back"),
            (self.files_alone, "1.5.0 brings an application alone, which prints another line"),
            (self.stranger, "a stranger signs 1.6.0; refused before anything is erased"),
            (self.old, "1.0.5 is older than what runs; refused before anything is erased"),
        ]
        say("Scene 1  The board runs 1.0.0")
        self.board.start()
        self.board.wait_console("running version 1.0.0 from ota_0")
        self.expect("the board runs slot", self.running(), 0)
        for number, (scene, title) in enumerate(scenes, 2):
            if number in chosen:
                say(f"Scene {number}  {title}")
                self.home = self.running()
                scene()

    def accepted(self) -> None:
        """A good update, tested and kept."""
        package = self.stack.pack("1.1.0", 2, size=600_000)
        record = self.play(package, "SUCCEEDED")
        self.expect("reason", record["reason"], "accepted v1.1.0")
        other = 1 - self.home
        self.expect("the board runs slot", self.running(), other)
        self.expect("its slot's state", self.state(other), VALID)
        wanted = package.read_bytes()[4096 : 4096 + 600_000]
        self.expect("flash holds the image", self.board.slot_bytes(other, 600_000) == wanted, True)

    def failing_self_test(self) -> None:
        """A self-test that raises."""
        record = self.play(self.stack.pack("1.2.0", 3, "selftest_fails"), "FAILED")
        self.rolled_back(record, "self_test", "ValueError: the sensor does not answer")

    def hang(self) -> None:
        """An image that hangs in its application."""
        record = self.play(self.stack.pack("1.3.0", 4, "hang_after_boot"), "FAILED")
        self.rolled_back(
            record,
            "no_wifi",
            "no Wi-Fi: the application never joined one, or left it",
        )
        self.expect("the last reset was boot.py's", self.board.boots[-1], (self.home, HARD))

    def both_fail(self) -> None:
        """Firmware and application as one, whose self-test raises."""
        before = contents.running_files(self.board, self.home)
        image = self.board.slot_bytes(self.home)
        test = "def run():\n    raise ValueError('the lamp does not answer')\n"
        app = {"app.py": "def start():\n    print('app: too late')\n", "selftest.py": test}
        package = self.stack.pack("1.4.0", 5, application=app)
        record = self.play(package, "FAILED")
        other = 1 - self.home
        wanted = contents.image(package)
        came = self.board.slot_bytes(other, len(wanted)) == wanted
        self.expect("the new image had come", came, True)
        files = contents.files(self.board, contents.directory(self.board, other))
        self.expect("the new files had come", files == contents.brought(package), True)
        self.rolled_back(record, "self_test", "ValueError: the lamp does not answer")
        self.expect("its image is as before", self.board.slot_bytes(self.home) == image, True)
        after = contents.running_files(self.board, self.home)
        self.expect("its files are as before, byte by byte", after == before, True)

    def files_alone(self) -> None:
        """An application without firmware."""
        before = contents.running_files(self.board, self.home)
        shown = len(self.board.log_path.read_bytes())
        app = {"app.py": "def start():\n    print('app: the lamp is on')\n"}
        package = self.stack.pack("1.5.0", 6, application=app, firmware=False)
        record = self.play(package, "SUCCEEDED")
        self.expect("reason", record["reason"], "accepted v1.5.0")
        other = 1 - self.home
        self.expect("the board runs slot", self.running(), other)
        self.expect("its slot's state", self.state(other), VALID)
        self.expect("both slots hold the same image", contents.same_image(self.board, other), True)
        directory = contents.directory(self.board, other)
        self.expect("the slot goes with directory", directory, "app_0")
        files = contents.files(self.board, directory)
        self.expect("it holds the new files", files == contents.brought(package), True)
        after = contents.running_files(self.board, self.home)
        self.expect("the old files are as they were", after == before, True)
        line = b"app: the lamp is on" in self.board.log_path.read_bytes()[shown:]
        self.expect("the board prints the new app.py's line", line, True)

    def stranger(self) -> None:
        """A package signed by a key the board does not know."""
        key = self.stack.folder / "stranger.pem"
        keys.write_private(keys.generate(), key)
        self.refused(self.stack.pack("1.6.0", 7, key=key), "unknown_key")

    def old(self) -> None:
        """A package with a sequence below the accepted one."""
        self.refused(self.stack.pack("1.0.5", 1), "old_sequence")

    # -- what every scene does ------------------------------------------------------------------

    def play(self, package: Path, status: str) -> dict[str, str]:
        """Publish, show the progress, and check how the service saw it end."""
        job = self.stack.publish(package)
        say(f"         published {package.name} as {job}")
        shown = ""
        deadline = time.monotonic() + 90
        while True:
            execution = self.stack.execution(job)
            shown = show(execution, shown)
            if execution["status"] not in ("QUEUED", "IN_PROGRESS"):
                break
            if time.monotonic() > deadline:
                raise Wrong(f"{job} never ended: {execution['status']} {shown}")
            time.sleep(0.1)
        self.expect("the service recorded", execution["status"], status)
        details: dict[str, str] = execution["statusDetails"]
        children.wait_for(lambda: self.journal_is_clean(), "the board's last note")
        return details

    def rolled_back(self, record: dict[str, str], cause: str, detail: str) -> None:
        """Check on both ends that the old image is back, and why."""
        self.expect("cause", record["cause"], cause)
        self.expect("detail", record["detail"].partition(" (")[0], detail)
        self.expect("the board runs slot", self.running(), self.home)
        self.expect("the other slot's state", self.state(1 - self.home), ABORTED)
        self.expect("the board remembers the cause", cause.encode() in self.history(), True)

    def refused(self, package: Path, cause: str) -> None:
        """Publish a package that the board must refuse by its head alone."""
        before = self.board.slot_bytes(1 - self.home)
        boots = len(self.board.boots)
        record = self.play(package, "FAILED")
        self.expect("cause", record["cause"], cause)
        after = self.board.slot_bytes(1 - self.home)
        self.expect("nothing was erased", after == before, True)
        self.expect("nothing was rebooted", len(self.board.boots), boots)
        self.expect("the board runs slot", self.running(), self.home)

    def running(self) -> int:
        """Slot of the newest boot."""
        return self.board.boots[-1][0]

    def state(self, slot: int) -> int | None:
        """State of a slot's newest otadata record."""
        records = [r for r in self.board.otadata() if r and (r[0] - 1) % 2 == slot]
        return max(records)[1] if records else None

    def history(self) -> bytes:
        """The board's own list of results, as it lies in NVS."""
        return self.board.nvs("ota", "history") or b""

    def journal_is_clean(self) -> bool:
        """Whether the board knows that its result was heard."""
        journal = self.board.nvs("ota", "journal") or b""
        return b'"result":null' in journal

    def expect(self, what: str, found: Any, wanted: Any) -> None:
        """Check one thing and say so. Raises Wrong."""
        if found != wanted:
            raise Wrong(f"{what}: {found!r} instead of {wanted!r}")
        shown = "" if wanted is True else f" {wanted}"
        say(f"         ok  {what}{shown}")


def show(execution: dict[str, Any], before: str) -> str:
    """Print a change of what the service knows; returns what was printed last."""
    details = execution["statusDetails"]
    text = " ".join(f"{key}: {details[key]}" for key in sorted(details))
    line = f"{execution['status']}  {text}".rstrip()
    if line != before:
        say(f"         {line}")
    return line


def say(text: str) -> None:
    """Print a line at once; whoever reads may be a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo. Returns the exit status: 0 only if every check held."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=CACHE / "demo", help="emptied first")
    parser.add_argument("--interpreter", choices=("micropython", "cpython"))
    parser.add_argument(
        "--scenes", type=int, nargs="+", choices=ALL, default=ALL, help="besides the first"
    )
    arguments = parser.parse_args(argv)
    began = time.monotonic()
    try:
        with Stack(arguments.folder, interpreter=arguments.interpreter) as stack:
            say(f"broker on port {stack.broker_port}; everything lies in {arguments.folder}")
            if stack.interpreter == "cpython":
                say("No MicroPython here: the board runs under CPython.")
            Demo(stack, stack.board(THING)).run(arguments.scenes)
    except (children.StartError, NativeMissing) as error:
        say(f"demo: {error}")
        return 2
    except (BoardError, Wrong) as error:
        say(f"         WRONG  {error}")
        return 1
    except KeyboardInterrupt:
        say("\ninterrupted")
        return 130
    seconds = time.monotonic() - began
    played = "All eight" if arguments.scenes == ALL else "The chosen"
    say(f"{played} scenes are as promised, checked on both ends, in {seconds:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

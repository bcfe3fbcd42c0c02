"""docs/first-board.md is run as it stands, on a simulated board flashed with the image it builds.

What is printed must be what the page shows. Only what is in `substitutions` differs from the page.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn

import pytest
from link_fixtures import need

from demo.children import free_port
from sim import image
from sim.board import Board, firmware
from tools.paths import ROOT
from twinslot import config
from twinslot.client.own_service import OwnService
from twinslot.formats import package
from twinslot.formats.chips import CHIPS

PAGE = (ROOT / "docs/first-board.md").read_text(encoding="utf-8")
DOWNLOAD = "ESP32_GENERIC-20250911-v1.26.1.bin"
SIZE = 1_672_976  # bytes of that download's application, so that the plan is the page's
KEYS = {"^C": b"\x03", "^D": b"\x04", "^]": b"\x1d"}
VALID = 2


@dataclass
class Command:
    """A command of the page, and the lines that it prints there."""

    line: str
    needs_board: bool
    shown: list[str] = field(default_factory=list)


def commands(page: str) -> Iterator[Command]:
    """Return what the page's console blocks hold, in order."""
    blocks = re.findall(
        r"^(<!-- needs a board -->\n)?```console\n(.*?)^```$", page, re.DOTALL | re.MULTILINE
    )
    for mark, block in blocks:
        found: list[Command] = []
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Command(line[2:], bool(mark)))
            elif line.startswith("> "):
                found[-1].line += "\n" + line[2:]
            else:
                found[-1].shown.append(line)
        yield from found


def pattern(shown: list[str]) -> str:
    """Return the regular expression of lines, in which `...` stands for anything.

    On a line of its own for any number of lines.
    """
    text = ""
    for line in shown:
        if line == "...":
            text += r"(?:.*\n)*?"
        else:
            text += re.escape(line).replace(re.escape("..."), ".*") + "\n"
    return text


def test_three_dots_stand_for_what_differs_and_for_nothing_else() -> None:
    assert re.fullmatch(pattern(["a ... c", "...", "e"]), "a b c\nd\nd\ne\n")
    assert re.fullmatch(pattern(["a", "...", "e"]), "a\ne\n")
    for other in ("a b\ne\n", "a b c\ne\nf\n", "a\nb c\ne\n"):
        assert not re.fullmatch(pattern(["a ... c", "...", "e"]), other)


class Shell:
    """A person's shell: it keeps the current folder and PATH from one command to the next.

    folder: where it begins, and keeps its logs. codes: exit codes of the commands that ended.
    """

    PATIENCE_S = 90  # for each command

    def __init__(self, folder: Path) -> None:
        self.codes: dict[str, int] = {}
        self._state = folder / "shell-state"
        self._folder = folder
        self._started = 0
        self._cwd = str(folder)
        self._env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}

    def carry_out(self, command: Command, up: ExitStack) -> None:
        """Do with a command what a page shows: up ends what a line with `&` has started."""
        if command.line.endswith(" &"):
            command.line = f"exec {command.line[:-2]}"
            up.enter_context(self.started(command))
        elif command.shown[-1:] == ["^C"]:
            command.shown.pop()
            with self.started(command):
                pass
        elif any(line.startswith(">>> ") for line in command.shown):
            self.typed(command)
        else:
            self.run(command)

    def run(self, command: Command) -> None:
        """Run a command to its end, and compare."""
        # The state is written when all else is over; a folder's name ends at a NUL.
        script = f'{command.line}\ncode=$?\nprintf \'%s\\0%s\' "$PWD" "$PATH" >&3\nexit $code\n'
        with self._state.open("wb+") as state:
            done = subprocess.run(
                ["bash", "-c", f"exec 3>'{self._state}'\n{script}"],
                cwd=self._cwd,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=self.PATIENCE_S,
            )
            self._cwd, self._env["PATH"] = state.read().decode().split("\0")
        self.codes[command.line] = done.returncode
        if not re.fullmatch(pattern(command.shown), done.stdout):
            self._differs(command, done.stdout)

    @contextmanager
    def started(self, command: Command) -> Iterator[None]:
        """Start a command that stays up, wait until it has printed what is shown; end it."""
        self._started += 1
        log = self._folder / f"{self._started}.log"
        with log.open("wb") as file:
            process = self._popen(command, subprocess.DEVNULL, file)
        try:
            self._wait(command, command.shown, log.read_text)
            yield
        finally:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise

    def typed(self, command: Command) -> None:
        """Run a command on a terminal, and type what is shown behind `>>> ` and as `^C`."""
        ours, theirs = pty.openpty()
        process = self._popen(command, theirs, theirs)
        os.close(theirs)
        heard = b""

        def said() -> str:
            nonlocal heard
            if select.select([ours], [], [], 0.1)[0]:
                heard += os.read(ours, 4096)
            return heard.decode(errors="replace").replace("\r", "")

        before: list[str] = []
        try:
            for line in command.shown:
                prompt, text = re.fullmatch(r"(>>> )?(.*)", line).groups("")  # type: ignore[union-attr]
                if prompt or text in KEYS:
                    self._wait(command, before, said, then=prompt)
                    os.write(ours, KEYS.get(text) or text.encode() + b"\r")
                if text not in KEYS:
                    before.append(line)
                elif prompt:
                    before.append(prompt + "...")
            self.codes[command.line] = process.wait(20)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            os.close(ours)

    def _popen(
        self, command: Command, stdin: int, output: int | BinaryIO
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["bash", "-c", command.line],
            cwd=self._cwd,
            env=self._env,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _wait(
        self, command: Command, shown: list[str], said: Callable[[], str], then: str = ""
    ) -> None:
        wanted = re.compile(pattern(shown) + re.escape(then))
        ends = time.monotonic() + self.PATIENCE_S
        while not wanted.match(text := said()):
            if time.monotonic() > ends:
                self._differs(command, text)
            time.sleep(0.05)

    def _differs(self, command: Command, said: str) -> NoReturn:
        shown = "\n".join(command.shown)
        text = f"$ {command.line}\n--- the page shows\n{shown}\n--- printed is\n{said[-5000:]}"
        pytest.fail(text, pytrace=False)


def substitutions(folder: Path, console: int) -> dict[str, str]:
    """Return what of the page is another here, in this order."""
    things, service = free_port(), free_port()
    local = "  which no real board reaches: --host NAME_OR_ADDRESS of this machine"
    root = " --user root" if os.geteuid() == 0 else ""
    return {
        "make -C ../twinslot": f"make --no-print-directory -C {ROOT}",
        "cd twinslot": f"cd {ROOT}",
        "../lab": str(folder / "lab"),
        "~/Downloads": str(folder),
        "certificate for 192.168.1.20": f"certificate for 127.0.0.1\n{local}",
        "--host 192.168.1.20": f"--host 127.0.0.1 --bind 127.0.0.1 --port {things}"
        f" --service-port {service}{root}",
        "192.168.1.20:8883": f"127.0.0.1:{things}",
        "127.0.0.1:8884": f"127.0.0.1:{service}",
        "socket on port 8883": f"socket on port {things}",
        ". \\\n>     /dev/ttyUSB0": f". --image-only {folder}/board-1.bin",
        "Flashed and verified; the board starts.": f"Wrote {folder}/board-1.bin: ...",
        "/dev/ttyUSB0": f"socket://127.0.0.1:{console}",
    }


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_page_prints_what_it_shows_and_ends_in_the_corrected_version(tmp_path: Path) -> None:
    need("micropython")
    console = free_port()
    page = PAGE
    for there, here in substitutions(tmp_path, console).items():
        assert there in page, there
        page = page.replace(there, here)
    application = firmware(version="1.26.1", size=SIZE)
    (tmp_path / DOWNLOAD).write_bytes(image.merged(application, CHIPS["esp32"], image.PLAIN_TABLE))
    shell = Shell(tmp_path)
    with ExitStack() as up:
        board = Board(
            tmp_path / "board",
            interpreter="micropython",
            ssid="lab",
            password="correct horse",
            console_port=console,
        )
        up.callback(board.close)
        for command in commands(page):
            shell.carry_out(command, up)
            if command.needs_board and command.line.startswith("fleet flash"):
                board.flash_path.write_bytes((tmp_path / "board-1.bin").read_bytes())
                board.start()
        assert [line for line, code in shell.codes.items() if code] == ["fleet watch bad"]
        iot = OwnService(config.load(tmp_path / "lab/fleet.toml")).iot
        ends = {
            job: iot.describe_job_execution(jobId=job, thingName="board-1")["execution"]
            for job in ("first", "bad", "corrected")
        }
        assert [end["status"] for end in ends.values()] == ["SUCCEEDED", "FAILED", "SUCCEEDED"]
        why = ends["bad"]["statusDetails"]["detailsMap"]
        assert (why["cause"], why["detail"]) == (
            "self_test",
            'ValueError: the sensor does not answer ("selftest.py", line 2, in run)',
        )
        assert board.boots[-1][0] == 0
        # 1.1.0 went to ota_1, 1.2.0 to ota_0 and back, 1.2.1 to ota_0.
        assert sorted(record for record in board.otadata() if record)[-1] == (3, VALID)
        for slot, version in enumerate(("1.2.1", "1.1.0")):
            head = package.inspect((tmp_path / f"lab/{version}.ota").read_bytes())
            assert head.record in board.trailer(slot)
            assert board.slot_bytes(slot, SIZE) == application
        assert "selftest.mpy" not in board.list_files()

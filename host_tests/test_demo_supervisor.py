"""`make play` and `make demo` leave nothing running, disturb nobody and begin afresh."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from link_fixtures import need

from demo import children
from tools.paths import ROOT

READY = "Ctrl-C ends everything."
# What each child's command line says of it.
CHILDREN = ("mosquitto", "fleet serve", "/chip/")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")


class Play:
    """A running `python -m demo.play`, its state in `folder`; `output` is what it printed."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self._log = folder.with_suffix(".out")
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "demo.play", "--folder", str(folder), *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        children.wait_for(self._up, f"{READY!r} of play", 60)

    @property
    def output(self) -> str:
        return self._log.read_bytes().decode()

    @property
    def console(self) -> Path:
        return self.folder / "board-1" / "console.log"

    def _up(self) -> bool:
        assert self.process.poll() is None, self.output
        return READY in self.output and self.console.stat().st_size > 0


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[..., Play]]:
    """Start plays; whatever is left of them is killed after the test."""
    need("mosquitto")
    started: list[Play] = []

    def start(*arguments: str) -> Play:
        started.append(Play(tmp_path / f"play{len(started)}", *arguments))
        return started[-1]

    yield start
    for one in started:
        for pid in (one.process.pid, *session(one.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        one.process.wait()


def session(leader: int) -> dict[int, str]:
    """Return the other living processes of a session: pid to command line."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, number = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            command = (folder / "cmdline").read_text().replace("\0", " ").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        if int(number) == leader and state != "Z" and int(folder.name) != leader:
            found[int(folder.name)] = command
    return found


def check_children(play: Play) -> None:
    commands = list(session(play.process.pid).values())
    for name in CHILDREN:
        assert any(name in command for command in commands), (name, commands)


@pytest.mark.slow
def test_play_says_where_it_listens_and_how_it_ends(play: Callable[..., Play]) -> None:
    up = play()
    listening = re.findall(r"(?:broker |http://|socket://)127\.0\.0\.1:(\d+)", up.output)
    for port in listening:
        assert children.listens(int(port)), port
    assert len(set(listening)) == 4, "the broker's, two of the service, the console's"
    assert f"Ctrl-C ends everything. From another terminal: kill {up.process.pid}\n" in up.output


def test_ctrl_c_ends_everything(play: Callable[..., Play]) -> None:
    up = play()
    check_children(up)
    os.killpg(up.process.pid, signal.SIGINT)  # as a terminal does it
    assert up.process.wait(30) == 0
    assert session(up.process.pid) == {}
    assert up.output.endswith("ended\n")
    assert "Traceback" not in up.output


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_the_supervisor_s_death_ends_everything(play: Callable[..., Play], number: int) -> None:
    up = play()
    check_children(up)
    up.process.send_signal(number)
    up.process.wait(30)
    children.wait_for(lambda: not session(up.process.pid), "the end of all children", 10)


@pytest.mark.slow
def test_a_second_run_beside_the_first_is_refused(play: Callable[..., Play]) -> None:
    up = play()
    before = session(up.process.pid)
    for module in ("demo", "demo.play"):
        done = subprocess.run(
            [sys.executable, "-m", module, "--folder", str(up.folder)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 2
        assert f"another demo is running here (process {up.process.pid}); end it" in done.stdout
        assert done.stderr == ""
    assert session(up.process.pid) == before, "the first goes on undisturbed"


@pytest.mark.slow
def test_ports_are_free_ones_and_printed_and_lines_are_plain(play: Callable[..., Play]) -> None:
    up = play()
    ports = re.findall(r"broker 127\.0\.0\.1:(\d+)", up.output)
    ports += re.findall(r"make repl PORT=socket://127\.0\.0\.1:(\d+)", up.output)
    assert len(set(ports)) == 2
    assert not {"1883", "8883"} & set(ports)
    assert all(children.listens(int(port)) for port in ports)
    assert "\x1b" not in up.output and "\r" not in up.output


def test_no_port_is_chosen_twice_nor_one_that_the_system_gives_away() -> None:
    """Two processes choose, each while the other lives."""
    choose = "from demo.children import free_port; print(*(free_port() for _ in range(3000)))"
    with subprocess.Popen(
        [sys.executable, "-c", f"{choose}; input()"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout and first.stdin
        taken = {int(port) for port in first.stdout.readline().split()}
        second = subprocess.run(
            [sys.executable, "-c", choose], cwd=ROOT, capture_output=True, text=True, check=True
        )
        first.stdin.write("\n")
    chosen = {int(port) for port in second.stdout.split()}
    assert len(taken) == len(chosen) == 3000, "each once"
    assert not taken & chosen
    assert all(1024 < port < 32768 for port in taken | chosen)
    assert not {1883, 8883} & (taken | chosen), "somebody's own broker may listen there"


def test_a_process_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = children.start([sys.executable, "-c", "raise SystemExit('no room')"], log)
    with pytest.raises(
        children.StartError, match=r"start did not happen: the process ended\. no room"
    ):
        children.wait_for(lambda: False, "the start", process=process, log=log)


@pytest.mark.slow
def test_every_run_begins_afresh(play: Callable[..., Play], tmp_path: Path) -> None:
    old = tmp_path / "play0" / "board-1" / "flash.bin"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"of an earlier run")
    (tmp_path / "play0" / "state").mkdir()
    (tmp_path / "play0" / "state" / "fleet.db").write_bytes(b"no database")
    up = play()
    children.wait_for(
        lambda: b"running version 1.0.0 from ota_0" in up.console.read_bytes(), "1.0.0"
    )


@pytest.mark.slow
def test_somebody_s_own_application_runs_on_the_board(
    play: Callable[..., Play], tmp_path: Path
) -> None:
    app = tmp_path / "app"
    (app / "parts").mkdir(parents=True)
    (app / "main.py").write_text("import parts.motor\nprint('my own', parts.motor.NAME)\n")
    (app / "parts" / "motor.py").write_text("NAME = 'motor'\n")
    up = play("--app", str(app))
    children.wait_for(lambda: b"my own motor" in up.console.read_bytes(), "the application")


def test_an_application_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    done = subprocess.run(
        [sys.executable, "-m", "demo.play", "--folder", str(tmp_path / "f"), "--app", str(missing)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert done.stdout == f"play: {missing} is no folder\n"
    assert done.stderr == ""

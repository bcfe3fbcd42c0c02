"""docs/walk.md is run as it stands, on a simulated board that runs somebody's own program."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest
from link_fixtures import need
from test_first_board import Shell, commands
from test_your_application import application, write

from demo.children import free_port
from sim.board import Board, firmware
from tools import natives
from tools.paths import ROOT, VENV_BIN

PAGE = (ROOT / "docs/walk.md").read_text(encoding="utf-8")
OLD = {"/main.py": b"import blink\n", "/blink.py": b"import time\nwhile True:\n    time.sleep(1)\n"}


def substitutions(console: int) -> dict[str, str]:
    """Return what of the page is another here, in this order."""
    things, service = free_port(), free_port()
    root = " --user root" if os.geteuid() == 0 else ""
    local = "  which no real board reaches: --host NAME_OR_ADDRESS of this machine"
    return {
        "$ mosquitto -c": f"$ {' '.join(map(str, natives.command('mosquitto')))} -c",
        "certificate for 192.168.1.20": f"certificate for 127.0.0.1\n{local}",
        "--host 192.168.1.20": f"--host 127.0.0.1 --bind 127.0.0.1 --port {things}"
        f" --service-port {service}{root}",
        "192.168.1.20:8883": f"127.0.0.1:{things}",
        "127.0.0.1:8884": f"127.0.0.1:{service}",
        "/dev/ttyUSB0": f"socket://127.0.0.1:{console}",
    }


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_board_moves_in_and_takes_a_good_and_a_bad_update_as_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("micropython")
    console = free_port()
    page = PAGE
    for there, here in substitutions(console).items():
        assert there in page, there
        page = page.replace(there, here)
    folder = tmp_path / "lab"
    write(folder / "lamp", application("tls"))
    monkeypatch.setenv("PATH", f"{VENV_BIN}:{os.environ['PATH']}")
    shell = Shell(folder)
    with ExitStack() as up:
        board = up.enter_context(
            Board(
                tmp_path / "board",
                interpreter="micropython",
                ssid="lab",
                password="correct horse",
                console_port=console,
            )
        )
        board.flash_firmware(0, firmware(version="1.26.1", size=100_000))
        board.install(OLD)
        board.start()
        for command in commands(page):
            shell.carry_out(command, up)
        failed = [line for line, code in shell.codes.items() if code]
        assert failed == ["fleet push lamp board-1"]
        (saved,) = (folder / "adopted").iterdir()
        assert {path.name: path.read_bytes() for path in saved.iterdir()} == {
            path[1:]: data for path, data in OLD.items()
        }
        assert board.read_file("/blink.py") == OLD["/blink.py"]

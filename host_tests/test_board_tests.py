"""`make board-test` itself, on the simulated board's console."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from board_console import Tap
from test_board_test_parts import board_files, write_blobs

from sim import image
from sim.board import Board, firmware
from sim.chip import layout
from tools.paths import ROOT, VENV_BIN
from twinslot.formats import otadata

pytestmark = pytest.mark.timeout(600)

SSID = "sim's lab"  # what a shell would take apart
PHASES = {"network", "erase", "write", "read", "hash", "verify"}
# What a user has on a board. These modules hide NAME.mpy; this self-test would fail every update.
FILES = {
    "/app.py": b"def start():\n    print('the application of the user')\n",
    "/selftest.py": b"def run():\n    raise ValueError('the self-test of the user')\n",
    "/etc/settings.json": json.dumps(
        {"thing": "kitchen", "product": "lamp", "broker": {"host": "127.0.0.1", "port": 1}}
    ).encode(),
    "/data/notes.txt": b"keep me",
}
BLOBS = {
    "journal": b'{"v":1,"phase":"NONE","origin":"job","job":"","floor":7}',
    "history": b'[{"status":"SUCCEEDED","origin":"job","job":"j","sequence":7,"version":"1.0.0",'
    b'"cause":"","detail":""}]',
    "trust": b'{"v":1,"floor":7,"created":1790000000}',
}


class Watch(Tap):
    """A relay that notes what is typed while an image is under test."""

    def __init__(self, board: Board) -> None:
        self.under_test: list[bytes] = []
        self._flash = board
        super().__init__(board)

    @property
    def typed(self) -> bytes:
        """Every byte that went to the board."""
        return self._typed

    @typed.setter
    def typed(self, data: bytes) -> None:
        new = data[len(getattr(self, "_typed", b"")) :]
        self._typed = data
        if new and any(record and record[1] == otadata.PENDING for record in self._flash.otadata()):
            self.under_test.append(new)


def whole_flash(folder: Path) -> bytes:
    """Return the flash of a board as `--image-only` builds it, without settings."""
    download = folder / "download.bin"
    download.write_bytes(image.merged(firmware(version="1.0.0", size=1_600_000)))
    out = folder / "whole.bin"
    command = [f"{VENV_BIN}/python", "-m", "twinslot", "flash", "--image-only", f"{out}"]
    command += ["--slot-size", str(layout.SLOT_SIZE), f"{download}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return out.read_bytes()


def make_board_test(port: str, report: Path, *variables: str) -> "subprocess.CompletedProcess[str]":
    """Run `make board-test`; the report goes to a folder of its own."""
    options = f"--report={report}"
    return subprocess.run(
        ["make", "--no-print-directory", "board-test", f"PORT={port}", *variables],
        cwd=ROOT,
        env={**os.environ, "PYTEST_ADDOPTS": options},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_every_board_test_passes_on_the_simulated_board_and_leaves_it_as_it_was(
    tmp_path: Path,
) -> None:
    board = Board(tmp_path / "board", interpreter="micropython", ssid=SSID)
    board.flash_path.write_bytes(whole_flash(tmp_path))
    board.install(FILES)
    write_blobs(board, BLOBS)
    before = board_files(board)
    with board:
        board.start()
        tap = Watch(board)
        run = make_board_test(
            tap.port,
            tmp_path / "report",
            f"WIFI_SSID={SSID}",
            "HOST=127.0.0.1",
            "SELF_TEST_S=12",
        )
        tap.close()
        boots_in = board.boots[-1][0]
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert {test["outcome"] for test in report["tests"]} == {"passed"}
    check_measured(report["measured"])
    assert "<svg" in (tmp_path / "report/report.html").read_text()
    assert {file.name for file in (tmp_path / "report").iterdir()} == {
        "report.json",
        "report.html",
        "console.log",
        *(f"{kind}-{log}.log" for kind in ("plain", "tls") for log in ("mosquitto", "service")),
    }
    assert not (tmp_path / "report-before").exists()
    assert tap.typed
    typed = b"".join(tap.under_test)
    assert typed.count(b"print(6 * 7)") == 1, "a person's part, in the one test that plays it"
    assert len(typed) < 100, "and nothing else is typed into a test"
    assert boots_in == 0
    assert board_files(board) == before
    assert {name: board.nvs("ota", name) for name in BLOBS} == BLOBS
    assert board.trailer(1) == b"\xff" * 4096


def check_measured(measured: dict[str, Any]) -> None:
    """Every figure of the report is there, and is no zero."""
    for kind, phases in (("plain MQTT", PHASES), ("MQTT over TLS", PHASES - {"verify"})):
        update = measured[kind]
        assert phases <= update["seconds"].keys()
        assert all(seconds > 0 for seconds in update["seconds"].values()), update
        assert update["KB/s"] > 0
        assert sum(update["seconds"].values()) <= update["total_s"] + 0.01
    heap = measured["heap"]
    for moment in ("start", "loaded", "idle", "peak", "after"):
        assert heap[moment] > 10_000, heap
        assert moment == "start" or heap[f"{moment}, TLS"] > 10_000, heap
    assert heap["peak"] < heap["idle"] <= heap["start"], heap
    assert measured["heap_taken_start"] < measured["heap_taken_idle"]
    for name in ("p256_verify_ms", "rsa2048_open_ms", "rsa3072_open_ms"):
        assert measured[name] > 0 or name.startswith("rsa")  # a PC opens RSA within a millisecond


@pytest.mark.slow
def test_without_wifi_what_needs_it_is_skipped_with_the_reason(tmp_path: Path) -> None:
    board = Board(tmp_path / "board", interpreter="micropython")
    board.flash_path.write_bytes(whole_flash(tmp_path))
    with board:
        board.start()
        run = make_board_test("socket://{}:{}".format(*board.console), tmp_path / "report")
    assert run.returncode == 0, run.stdout[-5000:]
    tests = json.loads((tmp_path / "report/report.json").read_text())["tests"]
    skipped = {test["test"]: test["reason"] for test in tests if test["outcome"] == "skipped"}
    assert "test_a_good_update_is_accepted" in skipped
    assert all("WIFI_SSID" in reason for reason in skipped.values())

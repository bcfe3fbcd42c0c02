"""`make board-test` itself, on the simulated board's console."""

import json
import subprocess
from pathlib import Path

import pytest

from sim import filesystem, image
from sim.board import Board, firmware
from sim.chip import layout
from tools.paths import ROOT, VENV_BIN

pytestmark = pytest.mark.timeout(600)


def whole_flash(folder: Path) -> bytes:
    """Return the flash of a board as `--image-only` builds it, without settings."""
    download = folder / "download.bin"
    download.write_bytes(image.merged(firmware(version="1.0.0", size=1_600_000)))
    out = folder / "whole.bin"
    command = [f"{VENV_BIN}/python", "-m", "board", "flash", "--image-only", f"{out}"]
    command += ["--slot-size", str(layout.SLOT_SIZE), f"{download}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return out.read_bytes()


def board_tests(board: Board, report: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run the board tests against a simulated board's console."""
    host, port = board.console
    command = [f"{VENV_BIN}/pytest", "board_tests", "-p", "no:cacheprovider", "-o", "timeout=500"]
    command += ["--port", f"socket://{host}:{port}", "--report", f"{report}", *options]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


@pytest.mark.slow
def test_every_board_test_passes_on_the_simulated_board_and_leaves_it_as_it_was(
    tmp_path: Path,
) -> None:
    board = Board(tmp_path / "board", interpreter="micropython")
    board.flash_path.write_bytes(whole_flash(tmp_path))
    before = board_files(board)
    with board:
        board.start()
        network = ["--wifi-ssid", "sim", "--host", "127.0.0.1", "--self-test-s", "12"]
        run = board_tests(board, tmp_path / "report", *network)
        boots_in = board.boots[-1][0]
    assert run.returncode == 0, run.stdout[-5000:]
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert {test["outcome"] for test in report["tests"]} == {"passed"}
    assert {"plain MQTT", "MQTT over TLS", "heap", "p256_verify_ms"} <= set(report["measured"])
    assert "<svg" in (tmp_path / "report/report.html").read_text()
    assert boots_in == 0
    assert board_files(board) == before


@pytest.mark.slow
def test_without_wifi_what_needs_it_is_skipped_with_the_reason(tmp_path: Path) -> None:
    board = Board(tmp_path / "board", interpreter="micropython")
    board.flash_path.write_bytes(whole_flash(tmp_path))
    with board:
        board.start()
        run = board_tests(board, tmp_path / "report")
    assert run.returncode == 0, run.stdout[-5000:]
    tests = json.loads((tmp_path / "report/report.json").read_text())["tests"]
    skipped = {test["test"]: test["reason"] for test in tests if test["outcome"] == "skipped"}
    assert "test_a_good_update_is_accepted" in skipped
    assert all("WIFI_SSID" in reason for reason in skipped.values())


def board_files(board: Board) -> dict[str, bytes]:
    """Return every file of a board."""
    found = {}
    with filesystem.mounted(board.flash_path) as fs:
        for folder, _, names in fs.walk("/"):
            for name in names:
                path = f"{folder.rstrip('/')}/{name}"
                with fs.open(path, "rb") as file:
                    found[path] = file.read()
    return found

"""tools/flash.sh writes whole images at the right address, and nothing else."""

import subprocess
from pathlib import Path

import pytest

from sim import image
from tools.paths import ROOT

SCRIPT = ROOT / "tools/flash.sh"
PORT = "/dev/no-such-port"


def flash(*arguments):
    """Run the script; returns the finished process."""
    argv = [str(SCRIPT), *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def commands(*arguments):
    """What the script would run, each command from `--chip` on."""
    done = flash("--dry-run", *arguments)
    assert done.returncode == 0, done.stderr
    return [line.partition("esptool ")[2] for line in done.stdout.splitlines()]


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    """MicroPython's merged download for the ESP32."""
    path = tmp_path / "merged.bin"
    path.write_bytes(image.merged(image.firmware()))
    return path


def test_a_merged_image_is_written_where_the_rom_looks_for_the_bootloader(merged):
    tool = f"--chip esp32 --port {PORT} --baud 460800"
    assert commands(PORT, merged) == [
        f"{tool} --after no-reset write-flash 0x1000 {merged}",
        f"{tool} verify-flash 0x1000 {merged}",
    ]


def test_a_whole_flash_image_is_written_from_address_0(merged, tmp_path):
    whole = tmp_path / "flash.bin"
    whole.write_bytes(b"\xff" * 0x1000 + merged.read_bytes())
    for command in commands(PORT, whole):
        assert command.endswith(f"-flash 0x0 {whole}")


@pytest.mark.parametrize("chip", ["esp32s3", "esp32c3", "esp32c6"])
def test_newer_chips_have_their_bootloader_at_address_0(merged, tmp_path, chip):
    path = tmp_path / "merged.bin"
    path.write_bytes(merged.read_bytes()[:0x1000] + b"\xff" * 0x1000 + merged.read_bytes()[0x1000:])
    for command in commands("--chip", chip, PORT, path):
        assert command.startswith(f"--chip {chip} ")
        assert command.endswith(f"-flash 0x0 {path}")
    assert "no partition table" in flash("--dry-run", PORT, path).stderr  # as an ESP32's


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (image.firmware(), "an application alone"),
        (b"OTA\x01" + bytes(4096), "no bootloader"),
        (b"", "no bootloader"),
    ],
)
def test_what_is_no_whole_image_is_refused(tmp_path, content, complaint):
    path = tmp_path / "image.bin"
    path.write_bytes(content)
    done = flash("--dry-run", PORT, path)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert done.stdout == ""


def test_wrong_usage_is_answered_with_the_usage(merged, tmp_path):
    for arguments in ([], [PORT], [PORT, merged, "more"], ["--erase", PORT, merged]):
        done = flash(*arguments)
        assert done.returncode == 2
        assert "usage: tools/flash.sh" in done.stderr
    assert flash("--dry-run", PORT, tmp_path / "none.bin").returncode == 2
    assert flash("--dry-run", "--chip", "esp8266", PORT, merged).returncode == 2
    assert flash("--help").stdout.startswith("usage: tools/flash.sh")


def test_esptool_takes_the_commands_and_a_failed_write_ends_the_script(merged):
    done = flash(PORT, merged)
    assert done.returncode != 0
    printed = done.stdout + done.stderr
    assert PORT in printed
    assert "Usage" not in printed
    assert "verify" not in printed

"""On a connected board: what it is, is told before anything is written; then esptool writes it.

The board is an ESP32 in its ROM loader behind a TCP port; esptool is the real one.
"""

import dataclasses
import os
import re
import signal
import zlib

import pytest
import serial
from board_flashing import APPLICATION, SLOT, download, flash, make_fleet
from esptool import cmds
from esptool.loader import ESPLoader
from esptool.targets.esp32s3 import ESP32S3ROM
from esptool.util import UnsupportedCommandError
from rom_loader import RomLoader

from sim import image
from twinslot.board import device, files, plan, writer
from twinslot.formats import table
from twinslot.formats.chips import CHIPS
from twinslot.formats.component import firmware_content
from twinslot.formats.head import read_head
from twinslot.formats.trailer import read_trailer, write_trailer
from twinslot.trust import keys, signing

MB = 1 << 20
PORT = "/dev/no-such-port"
PLAN = plan.plan(CHIPS["esp32"], 4 * MB, 1_672_976)
PLAIN = image.PLAIN_TABLE[:3]  # without vfs
OURS = device.Device("esp32", 4 * MB, False, False, PLAN.table)


def flash_with(rows=None, size=4 * MB) -> bytes:
    """Flash that holds a table and otherwise bytes that a file system may have left."""
    data = bytearray(b"\x5a" * size)
    data[0x8000:0x9000] = (table.build(rows) if rows else b"").ljust(0x1000, b"\xff")
    return bytes(data)


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "application", lambda **_: dict(APPLICATION))


# -- judged, pure ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"chip": "esp32s3"}, "the board is an esp32s3, the plan is for esp32"),
        ({"flash_size": 2 * MB}, "2 MB of flash, the plan is for 4 MB"),
        ({"secure_boot": True}, "secure boot is on"),
        ({"flash_encryption": True}, "flash encryption is on"),
    ],
)
def test_a_board_that_must_not_be_flashed_is_refused(changes, words):
    device.check(OURS, PLAN, [])
    with pytest.raises(device.DeviceError, match=words):
        device.check(dataclasses.replace(OURS, **changes), PLAN, [])


@pytest.mark.parametrize("label", ["vfs", "nvs"])
def test_what_lies_elsewhere_cannot_be_kept(label):
    device.check(OURS, PLAN, ["vfs", "nvs"])
    with pytest.raises(device.DeviceError, match=f"nothing to keep: .* has no {label}"):
        device.check(dataclasses.replace(OURS, table=None), PLAN, [label])
    moved = tuple(
        dataclasses.replace(row, size=row.size - 0x1000) if row.label == label else row
        for row in PLAN.table
    )
    there, planned = (table.need(rows, label) for rows in (moved, PLAN.table))
    with pytest.raises(device.DeviceError) as caught:
        device.check(dataclasses.replace(OURS, table=moved), PLAN, [label])
    for number in (there.offset, there.size, planned.offset, planned.size):
        assert f"{number:#x}" in str(caught.value)


def test_files_that_only_a_record_can_name_are_not_kept_without_one():
    there = dataclasses.replace(OURS, directory="app_1")
    device.check(there, PLAN, ["nvs"])
    device.check(there, PLAN, ["vfs"], signed=True)
    device.check(OURS, PLAN, ["vfs"])
    with pytest.raises(device.DeviceError, match=r"runs from /app_1, which .*FLEET="):
        device.check(there, PLAN, ["vfs"])


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (None, ["no partition table"]),
        (PLAIN, ["no otadata", "no OTA slots", "no vfs"]),
        (PLAN.table[:3], ["one OTA slot.", "no vfs"]),
        (PLAN.table, []),
    ],
)
def test_what_a_board_lacked_is_said(rows, words):
    said = dataclasses.replace(OURS, table=rows).remarks()
    assert len(said) == len(words)
    for sentence, word in zip(said, words, strict=True):
        assert word in sentence


# -- read and written through esptool --------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "options"),
    [(PLAIN, {}), (None, {}), (PLAN.table, {"secure_boot": True}), (None, {"encrypted": True})],
)
def test_a_board_is_read_and_not_written(rows, options):
    chip = RomLoader(flash_with(rows), **options)
    with chip, device.connected(writer.Port(chip.port)) as found:
        pass
    assert chip.writes == []
    assert found.chip == "esp32"
    assert found.secure_boot == ("secure_boot" in options)
    assert found.flash_encryption == ("encrypted" in options)
    if not options:
        assert found.flash_size == 4 * MB
        assert found.table == rows


@pytest.mark.parametrize(
    ("chip", "arguments", "words"),
    [
        (RomLoader(flash_with(PLAIN), secure_boot=True), [], "secure boot is on"),
        (RomLoader(flash_with(PLAIN), encrypted=True), [], "flash encryption is on"),
        (RomLoader(flash_with(PLAIN)), ["--flash", "8MB"], "4 MB of flash, the plan is for 8 MB"),
        (RomLoader(flash_with(PLAIN)), ["--keep-nvs"], "nvs cannot be kept"),
        (RomLoader(flash_with(PLAIN)), ["--keep-files"], "has no vfs"),
    ],
)
def test_a_refused_board_stays_as_it_was(chip, arguments, words, tmp_path):
    with chip:
        done = flash(*arguments, chip.port, download(tmp_path))
    assert done.exit_code == 1
    assert words in done.stderr
    assert chip.writes == []


def test_secure_download_mode_is_told_before_efuses_that_cannot_be_read(monkeypatch):
    class Chip(ESP32S3ROM):  # type: ignore[misc]
        def __init__(self):
            self.secure_download_mode = True

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read_reg(self, *_):
            raise UnsupportedCommandError(self, 0x0A)

    monkeypatch.setattr(cmds, "detect_chip", lambda *_: Chip())
    monkeypatch.setattr(Chip, "hard_reset", lambda *_: None)
    found = dataclasses.replace(PLAN, chip=CHIPS["esp32s3"])
    refused = pytest.raises(device.DeviceError, match=r"^secure boot is on")
    with refused, device.connected(writer.Port(PORT)) as there:
        device.check(there, found, [])


def test_a_port_that_is_in_use_is_told_as_for_a_running_board(tmp_path):
    ours, theirs = os.openpty()
    name = os.ttyname(theirs)
    with serial.Serial(name, exclusive=True):
        done = flash(name, download(tmp_path))
    os.close(ours)
    os.close(theirs)
    assert done.exit_code == 1
    assert done.stderr == f"fleet: {name} is in use; close the other program\n"


@pytest.mark.parametrize("port", ["foo://bar", PORT])
def test_a_port_that_cannot_be_opened_is_a_sentence(port, tmp_path):
    done = flash(port, download(tmp_path))
    assert done.exit_code == 1
    assert re.match(rf"fleet: (cannot open )?{port}(:| does not exist\.) .+\n$", done.stderr)


@pytest.mark.parametrize(
    ("options", "arguments"), [({"secure_boot": True}, []), ({}, ["--keep-files"])]
)
@pytest.mark.parametrize("has_reset", [True, False])
def test_a_refused_board_starts_again_or_a_person_is_told_to_start_it(
    options, arguments, has_reset, tmp_path, monkeypatch
):
    resets = []
    monkeypatch.setattr(ESPLoader, "hard_reset", lambda *_: resets.append("hard"))
    if has_reset:
        monkeypatch.setattr(writer.Port, "has_reset", True)
    with RomLoader(flash_with(PLAIN), **options) as chip:
        done = flash(*arguments, chip.port, download(tmp_path))
    assert done.exit_code == 1
    assert resets == ["hard"] * has_reset
    assert ("press EN, its reset button" in done.stderr) == (not has_reset)


def test_a_board_is_first_spoken_to_at_the_speed_that_every_chip_follows(monkeypatch):
    asked = []
    real = ESPLoader.connect

    def connect(self, *arguments, **options):
        asked.append(self._port.baudrate)
        return real(self, *arguments, **options)

    monkeypatch.setattr(ESPLoader, "connect", connect)
    with RomLoader(flash_with()) as chip:
        for baud in (460800, 9600):
            with device.connected(writer.Port(chip.port, baud)):
                pass
    assert asked == [115200, 9600]


def test_a_board_of_another_chip_is_refused_by_name(tmp_path):
    with RomLoader(flash_with()) as chip:
        done = flash(chip.port, download(tmp_path, CHIPS["esp32c3"]))
    assert "the board is an esp32, the plan is for esp32c3" in done.stderr
    assert chip.writes == []


@pytest.mark.slow
def test_a_flashed_board_holds_what_the_image_holds(tmp_path):
    source = download(tmp_path)
    out = tmp_path / "whole.bin"
    assert flash("--image-only", out, source).exit_code == 0
    whole = out.read_bytes()
    with RomLoader(flash_with(PLAIN)) as chip:
        done = flash(chip.port, source)
    assert done.exit_code == 0, done.output
    assert "The board's table has no otadata" in done.output
    assert "now reset the board" in done.output
    rows = table.parse(bytes(chip.flash[0x8000:0x8C00]))
    first, second = table.slots(rows)
    vfs = table.need(rows, "vfs")
    for start, end in (
        (0x1000, 0x2000),  # bootloader
        (0x8000, 0x10000 + 100_000),  # table, nvs, otadata, application
        (first.end - 4096, second.offset + 4096),  # trailer, and nothing old boots in ota_1
        (second.end - 4096, vfs.end),
    ):
        assert chip.flash[start:end] == whole[start:end]
    # The bootloader is erased first and written last.
    assert chip.writes[0] == (0x1000, 0x2000)
    assert chip.writes[-1][0] == 0x1000
    assert all(start >= 0x8000 for start, _ in chip.writes[1:-1])


OWN = (
    table.Partition("calib", 1, 2, 0x3E0000, 0x8000),
    table.Partition("fonts", 0x40, 1, 0x3E8000, 0x18000, 2),
)


@pytest.mark.slow
def test_data_of_the_boards_own_stays_byte_by_byte_and_in_the_table(tmp_path):
    before = flash_with((*PLAIN, *OWN))
    with RomLoader(before) as chip:
        done = flash(chip.port, download(tmp_path))
    assert done.exit_code == 0, done.output
    assert "Data of the board's own stays: calib, fonts" in done.output
    rows = table.parse(bytes(chip.flash[0x8000:0x8C00]))
    for row in OWN:
        assert table.find(rows, row.label) == row
        assert chip.flash[row.offset : row.end] == before[row.offset : row.end]
    assert table.need(rows, "vfs").end <= OWN[0].offset


def test_data_that_leaves_no_room_is_refused_by_name_before_a_write_and_dropped_on_request(
    tmp_path,
):
    amid = table.Partition("pictures", 1, 0x99, 0x200000, 0x180000)
    with RomLoader(flash_with((*PLAIN[:2], amid))) as chip:
        done = flash(chip.port, download(tmp_path, application=image.firmware(size=1_500_000)))
        assert chip.writes == []
        other = flash("--drop", "photos", chip.port, download(tmp_path))
        assert chip.writes == []
    assert done.exit_code == 1
    assert "pictures (1536 KB at 0x200000)" in done.stderr
    assert "--drop LABEL" in done.stderr
    assert "no data of its own called photos: it has pictures" in other.stderr
    there = device.Device("esp32", 4 * MB, False, False, (*PLAIN[:2], amid))
    assert device.own_data(there, ["pictures"]) == ()


@pytest.mark.slow
def test_files_and_nvs_are_kept_on_request(tmp_path):
    before = flash_with(PLAN.table)
    with RomLoader(before) as chip:
        keep = ("--keep-files", "--keep-nvs", "--slot-size", SLOT)
        done = flash(*keep, chip.port, download(tmp_path))
    assert done.exit_code == 0, done.output
    for row in PLAN.table:
        kept = chip.flash[row.offset : row.end] == before[row.offset : row.end]
        assert kept == (row.label in ("vfs", "nvs"))


@pytest.mark.parametrize(
    "directory",
    [
        pytest.param("", marks=pytest.mark.slow),
        pytest.param("app_0", marks=pytest.mark.slow),
        "app_1",
    ],
)
def test_where_files_are_kept_the_new_trailer_names_the_directory_that_runs(tmp_path, directory):
    fleet = make_fleet(tmp_path)
    source = download(tmp_path)
    data = bytearray(flash_with(PLAN.table))
    first, second = table.slots(PLAN.table)
    packed = signing.build(
        [firmware_content(image.firmware(size=50_000))],
        keys.read_private(fleet.signing_key), "demo-board", "1.0.0", 1, 1_000,
    )  # fmt: skip
    record = read_head(packed).record
    # ota_1 runs, by the newer record of otadata.
    data[second.end - 4096 : second.end] = write_trailer([record], directory)
    data[first.end - 4096 : first.end] = write_trailer([record], "app_0")
    otadata = table.need(PLAN.table, "otadata").offset
    for at, sequence in ((0, 1), (4096, 2)):
        number = sequence.to_bytes(4, "little")
        crc = zlib.crc32(number, 0xFFFFFFFF).to_bytes(4, "little")
        data[otadata + at : otadata + at + 32] = (
            number + b"\xff" * 20 + (2).to_bytes(4, "little") + crc
        )
    keep = ("--keep-files", "--slot-size", SLOT)
    with RomLoader(bytes(data)) as chip:
        refused = flash(*keep, chip.port, source)
        assert (refused.exit_code == 1) == bool(directory), refused.output
        if directory:
            assert chip.writes == []
        chip.flash[:] = data
        done = flash(*keep, "--fleet", tmp_path, "--version", "2.0.0", chip.port, source)
    assert done.exit_code == 0, done.output
    (head,), named = read_trailer(bytes(chip.flash[first.end - 4096 : first.end]))
    assert (head.manifest.version, named) == ("2.0.0", directory)


def test_nothing_boots_while_it_is_half_written(tmp_path, monkeypatch):
    """The cable is pulled in the middle: the ROM finds no bootloader, and the tool says so."""
    monkeypatch.setenv("ESPTOOL_CFGFILE", str(tmp_path / "esptool.cfg"))
    (tmp_path / "esptool.cfg").write_text("[esptool]\ntimeout = 0.3\nmax_timeout = 1\n")
    with RomLoader(flash_with(PLAIN)) as chip:
        chip.cut_after = 4
        done = flash(chip.port, download(tmp_path))
    assert done.exit_code == 1
    assert "`esptool ... write-flash` ended with" in done.stderr
    assert set(chip.flash[0x1000:0x2000]) == {0xFF}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_flash_that_is_ended_in_the_middle_leaves_no_file_of_the_boards(
    number, tmp_path, monkeypatch
):
    folders = []

    def ended(command, folder):
        folders.append(folder)
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
        assert signal.getsignal(number) is not signal.SIG_DFL
        signal.raise_signal(number)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(writer, "esptool", ended)
    with RomLoader(flash_with(PLAIN)) as chip:
        done = flash(chip.port, download(tmp_path))
    assert signal.getsignal(signal.SIGTERM) is before
    (folder,) = folders
    assert not folder.exists()
    if number == signal.SIGINT:
        assert "stopped by Ctrl-C. Until a whole run has passed the board does not" in done.stderr
    else:
        assert done.exit_code == 128 + number


def test_slots_of_the_shared_plan_are_the_simulated_boards():
    assert PLAN.slot_size == SLOT

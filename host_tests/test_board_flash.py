"""Must hold before a board is touched: plan, commands and image for every chip and flash size.

esptool and mp-image-tool-esp32, another project's tool, read the images back.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import board_flashing
import pytest
from board_flashing import APPLICATION, SLOT, download, flash, make_fleet, make_settings
from esptool.bin_image import LoadFirmwareImage
from link_fixtures import need
from mp_image_tool_esp32.firmware import Firmware
from mp_image_tool_esp32.lfs import lfs_mounted

from sim import build, image
from sim.board import Board
from tools.paths import ROOT, VENV_BIN
from twinslot.addresses import Address
from twinslot.board import files, writer
from twinslot.board import plan as planner
from twinslot.client.own_issuer import OwnIssuer
from twinslot.client.provision import provision
from twinslot.formats import table
from twinslot.formats.chips import CHIPS, FLASH_SIZES, FLASHED, Chip
from twinslot.formats.component import application_content, firmware_content
from twinslot.formats.head import read_head
from twinslot.formats.trailer import read_trailer
from twinslot.trust import keys, signing


def every(pairs: Iterable[tuple[Chip, str]]) -> pytest.MarkDecorator:
    """Run a test with each of these chips and sizes of flash."""
    pairs = list(pairs)
    names = [f"{chip.name}-{size}" for chip, size in pairs]
    return pytest.mark.parametrize(("chip", "size"), pairs, ids=names)


EVERY = every(itertools.product(FLASHED.values(), FLASH_SIZES))
# Each chip, and each size: for a test that starts programs.
SOME = every(zip(FLASHED.values(), itertools.cycle(FLASH_SIZES), strict=False))
PORT = "/dev/no-such-port"
# Official downloads to try, separated by colons.
OFFICIAL = list(filter(None, os.environ.get("MICROPYTHON_DOWNLOADS", "").split(":")))


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's own modules, compiled once for all tests here."""
    monkeypatch.setattr(files, "application", lambda **_: dict(APPLICATION))


def image_of(folder: Path, *arguments: object) -> bytes:
    """The whole-flash image that the command line makes."""
    out = folder / "whole.bin"
    done = flash("--image-only", out, *arguments)
    assert done.exit_code == 0, done.output
    return out.read_bytes()


def merged_part(folder: Path, whole: bytes, chip) -> Path:
    """What other tools read: the image from the bootloader on."""
    path = folder / "merged.bin"
    path.write_bytes(whole[chip.bootloader :])
    return path


# -- the image -------------------------------------------------------------------------------------


@EVERY
def test_an_image_is_whole_and_other_tools_read_it_back(chip, size, tmp_path):
    source = download(tmp_path, chip)
    application = source.read_bytes()[0x10000 - chip.bootloader :]
    whole = image_of(tmp_path, "--flash", size, source)
    plan = planner.plan(chip, FLASH_SIZES[size], len(application))
    assert len(whole) == FLASH_SIZES[size]
    assert whole[: chip.bootloader].count(0xFF) == chip.bootloader

    # esptool: two valid images for this chip, the bootloader's for this flash
    for at in (chip.bootloader, 0x10000):
        part = tmp_path / "part.bin"
        part.write_bytes(whole[at : at + 0x1A000])
        judged = LoadFirmwareImage(chip.name, str(part))
        assert judged.chip_id == chip.chip_id
        assert judged.checksum == judged.calculate_checksum()
        assert judged.stored_digest == judged.calc_digest
    assert whole[chip.bootloader + 3] >> 4 == {"4MB": 2, "8MB": 3, "16MB": 4}[size]

    # mp-image-tool-esp32: flash size, table, slots, file system
    read = Firmware(str(merged_part(tmp_path, whole, chip)))
    assert read.header.chip_name == chip.name
    assert read.header.flash_size == FLASH_SIZES[size]
    assert [(p.name, p.offset, p.size) for p in read.table] == [
        (row.label, row.offset, row.size) for row in plan.table
    ]
    slot = read.partition("ota_0").read()
    assert slot == application.ljust(plan.slot_size, b"\xff")
    for blank in ("nvs", "otadata", "ota_1"):
        assert set(read.partition(blank).read()) == {0xFF}
    with lfs_mounted(read.partition("vfs")) as fs:
        found = {
            f"{folder.rstrip('/')}/{name}" for folder, _, names in fs.walk("/") for name in names
        }
        assert found == set(APPLICATION)
        with fs.open("/ota/bundle.mpy", "rb") as file:
            assert file.read() == APPLICATION["/ota/bundle.mpy"]


@SOME
def test_the_tools_themselves_are_content(chip, size, tmp_path):
    whole = image_of(tmp_path, "--flash", size, download(tmp_path, chip))
    path = merged_part(tmp_path, whole, chip)

    def run(*argv: str) -> str:
        done = subprocess.run(
            [str(VENV_BIN / argv[0]), *argv[1:]], capture_output=True, text=True, check=True
        )
        return done.stdout + done.stderr

    shown = run("esptool", "image-info", str(path))
    assert f"Detected image type: {chip.title}\n" in shown
    assert f"Flash size: {size}" in shown
    assert shown.count("(valid)") == 2
    listed = run("mp-image-tool-esp32", str(path), "--fs", "ls")
    assert f"Found {chip.name} firmware file ({size} flash)" in listed
    assert "ota/bundle.mpy" in listed


def test_an_image_holds_trailer_settings_and_keys_of_one_thing(tmp_path):
    fleet = make_fleet(tmp_path)
    settings = make_settings(tmp_path / "settings", fleet)
    source = download(tmp_path)
    options = ("--settings", settings, "--fleet", tmp_path, "--version", "1.2.0", "--sequence", 7)
    whole = image_of(tmp_path, *options, source)
    (head,), directory = read_trailer(whole[0x10000 + SLOT - 4096 : 0x10000 + SLOT])
    signing.verify(head, keys.read_public(fleet.public_key))
    manifest = head.manifest
    assert (manifest.product, manifest.version, manifest.sequence) == ("demo-board", "1.2.0", 7)
    assert (manifest.components[0].size, directory) == (100_000, "app_0")
    read = Firmware(str(merged_part(tmp_path, whole, CHIPS["esp32"])))
    with lfs_mounted(read.partition("vfs")) as fs:
        assert sorted(fs.listdir("/etc")) == [
            "settings.json",
            "trust.json",
            "trusted_keys.pem",
        ]
        assert sorted(fs.listdir("/")) == ["app_0", "boot.py", "etc"]
        there = {
            f"{folder.removeprefix('/app_0')}/{name}"
            for folder, _, names in fs.walk("/app_0")
            for name in names
        }
        assert there == set(APPLICATION) - {"/boot.py"}


@pytest.mark.parametrize(("options", "base"), [([], ""), (["--agent-in-lib"], "/lib")])
def test_the_agent_lies_where_it_is_asked_to_and_the_room_beside_it_is_said(
    options, base, tmp_path
):
    settings = make_settings(tmp_path / "settings", make_fleet(tmp_path))
    image = tmp_path / "image.bin"
    done = flash(*options, "--image-only", image, "--settings", settings, download(tmp_path))
    assert done.exit_code == 0, done.stderr
    read = Firmware(str(merged_part(tmp_path, image.read_bytes(), CHIPS["esp32"])))
    there = {}
    with lfs_mounted(read.partition("vfs")) as fs:
        for folder, _, names in fs.walk("/"):
            for name in names:
                path = f"{folder.rstrip('/')}/{name}"
                with fs.open(path, "rb") as file:
                    there[path] = file.read()
    modules = {path for path in there if path.endswith(".mpy")}
    assert modules == {base + path for path in APPLICATION if path.endswith(".mpy")}
    assert {"/boot.py", "/main.py", "/etc/settings.json"} <= there.keys()
    laid = planner.plan(CHIPS["esp32"], FLASH_SIZES["4MB"], 100_000).table
    most, agent = files.room(there, table.need(laid, "vfs").size)
    assert f"Room: an application over the air may take {most >> 10} KB" in done.output
    assert ("--no-agent" in done.output) == (agent == 0) == bool(base)


def test_an_image_holds_the_certificates_and_the_key_of_one_thing(tmp_path):
    fleet = make_fleet(tmp_path)
    settings = tmp_path / "boards/board-1"
    provision(fleet, "board-1", settings, Address("192.168.1.10", 8883), OwnIssuer(fleet))
    whole = image_of(tmp_path, "--settings", settings, "--fleet", tmp_path, download(tmp_path))
    assert (tmp_path / "whole.bin").stat().st_mode & 0o777 == 0o600, "it holds a private key"
    read = Firmware(str(merged_part(tmp_path, whole, CHIPS["esp32"])))
    with lfs_mounted(read.partition("vfs")) as fs:
        found = sorted(fs.listdir("/etc"))
        assert found == sorted(path.name for path in settings.iterdir())
        assert {"ca.pem", "client.pem", "client.key"} < set(found)
        for name in found:
            with fs.open(f"/etc/{name}", "rb") as file:
                assert file.read() == (settings / name).read_bytes()


def test_a_key_that_is_on_the_board_is_not_flashed_away(tmp_path):
    fleet = make_fleet(tmp_path)
    settings = tmp_path / "boards/board-1"
    provision(fleet, "board-1", settings, Address("192.168.1.10", 8883), OwnIssuer(fleet))
    (settings / "client.key").unlink()  # as after `fleet provision --csr`
    source = download(tmp_path)
    out = tmp_path / "out.bin"
    for where in (("--dry-run", PORT), ("--image-only", out)):
        done = flash(*where, "--settings", settings, source)
        assert done.exit_code == 1
        assert (
            "client.key is missing. If the board made its key itself (`fleet board csr`)"
            in done.stderr
        )
    assert not out.exists()


def test_the_image_boots_in_the_simulated_board_and_knows_its_version(tmp_path):
    need("micropython")  # the image holds .mpy files
    fleet = make_fleet(tmp_path)
    settings = make_settings(tmp_path / "settings", fleet)
    firmware = build.firmware(version="1.0.0", size=1_672_976)
    source = download(tmp_path, application=firmware)
    with Board(tmp_path / "board") as board:
        board.flash_path.write_bytes(
            image_of(tmp_path, "--settings", settings, "--fleet", tmp_path, source)
        )
        board.start()
        board.wait_console("main: running version 1.0.0 from ota_0")
        board.wait_boots(1)
        assert board.list_files("/") == ["app_0", "boot.py", "etc"]
        assert board.otadata()[0] == (1, 2)  # sequence 1, VALID: written by the bootloader


@pytest.mark.parametrize("path", OFFICIAL or [None])
def test_an_official_download_becomes_an_image(path, tmp_path):
    if path is None:
        pytest.skip("no official download: name some in MICROPYTHON_DOWNLOADS, colons between")
    whole = image_of(tmp_path, path)
    chip = next(chip for chip in FLASHED.values() if whole[chip.bootloader] == 0xE9)
    read = Firmware(str(merged_part(tmp_path, whole, chip)))
    length = len(Path(path).read_bytes()) - 0x10000 + chip.bootloader
    assert read.table.by_name("ota_0").size >= length * 1.05 + 4096


# -- the commands ----------------------------------------------------------------------------------


@EVERY
def test_a_dry_run_prints_every_command_and_touches_nothing(chip, size, tmp_path):
    source = download(tmp_path, chip)
    done = flash("--dry-run", "--chip", chip.name, "--flash", size, PORT, source)
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if line.startswith("esptool ")]
    rows = planner.plan(chip, FLASH_SIZES[size], 100_000).table
    _, _, first, second, vfs = rows
    head = f"esptool --chip {chip.name} --port {PORT} --baud 460800 --after"
    rest = (
        "0x8000 table.bin 0x9000 nvs.bin 0xe000 otadata.bin 0x10000 application.bin "
        f"{first.end - 4096:#x} trailer.bin {second.offset:#x} ota_1.bin "
        f"{second.end - 4096:#x} ota_1-trailer.bin {vfs.offset:#x} vfs.bin"
    )
    boot = f"{chip.bootloader:#x}"
    assert lines == [
        f"{head} no-reset erase-region {boot} 0x1000",
        f"{head} no-reset write-flash {rest}",
        f"{head} no-reset verify-flash {rest}",
        f"{head} no-reset write-flash {boot} bootloader.bin",
        f"{head} hard-reset verify-flash {boot} bootloader.bin",
    ]
    for row in rows:
        assert f"{row.label:12}" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name]


def test_a_dry_run_of_an_image_writes_no_file(tmp_path):
    source, out = download(tmp_path), tmp_path / "out.bin"
    done = flash("--dry-run", "--image-only", out, source)
    assert done.exit_code == 0, done.output
    assert done.output.endswith(
        f"Would write {out}: {4 << 20} bytes, to be flashed at address 0.\n"
    )
    assert not out.exists()


def test_an_image_does_not_overwrite_the_download(tmp_path):
    source = download(tmp_path)
    before = source.read_bytes()
    (tmp_path / "link.bin").symlink_to(source)
    for out in (source, tmp_path / "link.bin"):
        done = flash("--image-only", out, source)
        assert done.exit_code == 2
        assert "would overwrite FIRMWARE" in done.stderr
    assert source.read_bytes() == before


def test_a_port_may_have_its_short_name(tmp_path):
    shown = flash("--dry-run", "u3", download(tmp_path)).output
    assert "--port /dev/ttyUSB3 " in shown


def test_what_is_kept_is_not_written(tmp_path):
    source = download(tmp_path)
    shown = flash("--dry-run", "--keep-files", "--keep-nvs", PORT, source).output
    assert "vfs.bin" not in shown
    assert "nvs.bin" not in shown
    assert "otadata.bin" in shown
    assert "Files: those on the board stay" in shown
    assert "NVS: stays." in shown


def test_what_is_missing_is_said_in_the_plan(tmp_path):
    shown = flash("--dry-run", PORT, download(tmp_path)).output
    assert "Not signed (no --package, no --fleet)" in shown
    assert "version 0.0.0, sequence 0" in shown
    assert "no /etc (no --settings)" in shown


@pytest.mark.slow
def test_the_script_and_make_are_doors_to_the_same(tmp_path):
    source = download(tmp_path)
    asked = ["--dry-run", "--chip", "esp32", "--flash", "8MB", "--agent-in-lib", PORT]
    expected = flash(*asked, source)
    script = [str(ROOT / "tools/flash.sh"), *asked]
    done = subprocess.run(
        [*script, source.name], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == expected.output
    options = [f"PYTHON={sys.executable}", f"PORT={PORT}", f"FIRMWARE={source}", "CHIP=esp32"]
    argv = ["make", "-s", "flash", *options, "FLASH=8MB", "AGENT=lib", "DRY_RUN=1"]
    made = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    assert expected.output in made.stdout


def test_the_script_finds_the_project_whatever_cdpath_says(tmp_path):
    (tmp_path / "tools").mkdir()
    done = subprocess.run(
        ["tools/flash.sh", "--help"],
        cwd=ROOT,
        env={**os.environ, "CDPATH": f".:{tmp_path}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Flash a MicroPython download" in done.stdout


# -- signed records --------------------------------------------------------------------------------


def test_a_package_of_this_very_application_brings_its_signature(tmp_path):
    key = keys.generate()
    source = download(tmp_path)
    firmware = image.firmware(size=100_000)
    packed = signing.build([firmware_content(firmware)], key, "demo-board", "2.1.0", 21, 1_000)
    (tmp_path / "app.ota").write_bytes(packed)
    whole = image_of(tmp_path, "--package", tmp_path / "app.ota", "--slot-size", "0x1b0000", source)
    (head,), _ = read_trailer(whole[0x10000 + SLOT - 4096 : 0x10000 + SLOT])
    assert head.record == read_head(packed).record


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ([firmware_content(image.firmware(version="9"))], "holds another application: SHA-256"),
        ([firmware_content(image.firmware(size=100_000), 9)], "for chip_id 9, not esp32"),
        ([application_content(b"tar")], "more than firmware"),
        (
            [firmware_content(image.firmware(size=100_000)), application_content(b"tar")],
            "more than firmware",
        ),
    ],
)
def test_another_package_is_refused(contents, words, tmp_path):
    packed = signing.build(contents, keys.generate(), "demo-board", "2.1.0", 21, 1_000)
    (tmp_path / "app.ota").write_bytes(packed)
    out = tmp_path / "out.bin"
    done = flash("--image-only", out, "--package", tmp_path / "app.ota", download(tmp_path))
    assert done.exit_code == 1
    assert words in done.stderr
    assert not out.exists()


def test_a_record_that_the_board_would_not_believe_is_refused(tmp_path):
    (tmp_path / "other").mkdir()
    other = make_fleet(tmp_path / "other")
    make_fleet(tmp_path)
    stranger = make_settings(tmp_path / "stranger", other)
    source = download(tmp_path)
    done = flash("--dry-run", "--fleet", tmp_path, "--settings", stranger, PORT, source)
    assert done.exit_code == 1
    assert "not in the settings' trusted_keys.pem" in done.stderr
    (stranger / "settings.json").write_text('{"product": "oven"}')
    done = flash("--dry-run", "--fleet", tmp_path, "--settings", stranger, PORT, source)
    assert "settings.json says product 'oven', the signed record 'demo-board'" in done.stderr


# -- refusals --------------------------------------------------------------------------------------


def test_a_fleet_of_another_chip_is_refused(tmp_path):
    make_fleet(tmp_path, chip="esp32s3")
    done = flash("--dry-run", "--fleet", tmp_path, PORT, download(tmp_path))
    assert "fleet.toml is for esp32s3, the download for esp32" in done.stderr


def test_an_image_that_does_not_fit_is_refused_with_the_numbers(tmp_path):
    source = download(tmp_path, application=image.firmware(size=1_900_000))
    done = flash("--dry-run", PORT, source)
    assert done.exit_code == 1
    assert "an image of 1900000 bytes" in done.stderr
    assert flash("--dry-run", "--flash", "8MB", PORT, source).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give PORT and FIRMWARE"),
        (["F"], "give PORT and FIRMWARE"),
        (["--image-only", "o.bin", PORT, "F"], "--image-only takes FIRMWARE alone"),
        (["--image-only", "o.bin", "--keep-nvs", "F"], "--image-only keeps nothing"),
        (["--keep-files", "--settings", ".", PORT, "F"], "leave --settings out"),
        (["--keep-files", "--agent-in-lib", PORT, "F"], "leave --agent-in-lib out"),
        (["--version", "2.0.0", PORT, "F"], "go with --fleet"),
        (["--slot-size", "big", PORT, "F"], "'big' is no number"),
        (["--flash", "2MB", PORT, "F"], "'2MB' is not one of"),
        (["--chip", "esp8266", PORT, "F"], "'esp8266' is not one of"),
    ],
)
def test_wrong_usage_is_answered_before_anything_is_read(arguments, words):
    done = flash(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr


def test_port_and_firmware_in_the_wrong_order_are_told_apart(tmp_path):
    ours, theirs = os.openpty()  # reading it would never end
    done = flash(download(tmp_path), os.ttyname(theirs))
    os.close(ours)
    os.close(theirs)
    assert done.exit_code == 2
    assert "PORT comes first" in done.stderr


def test_a_file_that_is_not_there_is_named(tmp_path):
    done = flash(PORT, tmp_path / "none.bin")
    assert done.exit_code == 1
    assert "none.bin: No such file" in done.stderr


def test_a_port_that_is_not_there_is_named_and_nothing_is_run(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "run", lambda *_: pytest.fail("something was run"))
    done = flash(PORT, download(tmp_path))
    assert done.exit_code == 1
    assert PORT in done.stderr


def test_the_shared_helpers_use_the_simulated_boards_slot():
    from sim.chip import layout

    assert board_flashing.SLOT == layout.SLOT_SIZE

"""The command line where no service is needed: what it prints and how it exits."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from test_fleet_image import app, merged

from fleet import keys, package
from fleet.cli import main

Fleet = Callable[..., Result]


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """`fleet` in a folder that `fleet init` has prepared and that holds an image."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments)

    assert run("init").exit_code == 0
    Path("app.bin").write_bytes(app(text=b"MicroPython v1.26.0 on 2025-08-09"))
    return run


def pack(fleet: Fleet, *more: str, image: str = "app.bin") -> Result:
    return fleet("pack", image, "--version", "1.1.0", "--sequence", "2", "-o", "app.ota", *more)


def test_help_lists_every_command_and_the_exit_codes(fleet: Fleet) -> None:
    shown = fleet("--help").output
    for word in ("init", "keygen", "pack", "inspect", "serve", "publish", "status", "watch"):
        assert f"  {word}" in shown
    for code in ("0  done", "1  refused", "2  wrong usage", "3  fleet.toml", "4  no service"):
        assert code in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    for command in main.commands:
        assert fleet(command, "--help").exit_code == 0


def test_init_says_what_it_wrote_and_refuses_to_do_it_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = CliRunner().invoke(main, ["init", "--product", "meter", "--broker", "mqtt:8884"])
    assert first.exit_code == 0
    assert "wrote fleet.toml" in first.output
    assert 'product = "meter"' in Path("fleet.toml").read_text()
    again = CliRunner().invoke(main, ["init"])
    assert again.exit_code == 3
    assert "nothing was written" in again.output
    assert 'product = "meter"' in Path("fleet.toml").read_text()


@pytest.mark.parametrize(
    "options", [("--broker", "mqtt"), ("--slot-size", "large"), ("--chip", "esp8266")]
)
def test_a_wrong_option_is_wrong_usage(
    options: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["init", *options]).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_keygen_never_overwrites_either_half(fleet: Fleet) -> None:
    assert fleet("keygen").exit_code == 1
    made = fleet("keygen", "spare.pem")
    assert made.exit_code == 0
    key = keys.read_private(Path("spare.pem"))
    assert keys.kid(key.public_key()).hex() in made.output
    Path("spare.pem").unlink()
    assert fleet("keygen", "spare.pem").exit_code == 1
    assert not Path("spare.pem").exists()


def test_a_packed_image_is_what_inspect_shows(fleet: Fleet) -> None:
    made = pack(fleet, "--expires-days", "30")
    assert made.exit_code == 0
    assert "MicroPython v1.26.0" in made.output
    assert f"{len(Path('app.bin').read_bytes())} of 1765376 bytes in a slot" in made.output
    shown = fleet("inspect", "app.ota")
    assert shown.exit_code == 0
    for words in ("demo-board", "1.1.0", "sequence", "MicroPython v1.26.0", "signature holds"):
        assert words in shown.output
    manifest = package.inspect(Path("app.ota").read_bytes()).manifest
    assert manifest.expires == manifest.created + 30 * 86400


def test_the_application_of_a_merged_download_is_packed_and_that_is_said(fleet: Fleet) -> None:
    Path("merged.bin").write_bytes(merged(app()))
    made = pack(fleet, image="merged.bin")
    assert made.exit_code == 0
    assert "taken out of a merged download: partition ota_0" in made.output
    data = Path("app.ota").read_bytes()
    assert data[4096 : 4096 + len(app())] == app()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (b"hello", "cannot identify"),
        (app(chip=9), "for esp32s3, the board is esp32"),
        (app(0x1B0000), "1765376"),
        (app(descriptor=False), "bootloader"),
    ],
)
def test_what_does_not_belong_on_the_board_is_not_packed(
    fleet: Fleet, image: bytes, words: str
) -> None:
    Path("app.bin").write_bytes(image)
    refused = pack(fleet)
    assert refused.exit_code == 1
    assert words in refused.output
    assert not Path("app.ota").exists()


def test_inspect_tells_a_stranger_and_a_forgery(fleet: Fleet) -> None:
    fleet("keygen", "stranger.pem")
    pack(fleet, "--key", "stranger.pem")
    shown = fleet("inspect", "app.ota")
    assert shown.exit_code == 1
    assert "signed with key" in shown.output
    pack(fleet)
    data = bytearray(Path("app.ota").read_bytes())
    data[data.index(b"1.1.0")] = ord("9")
    Path("app.ota").write_bytes(data)
    shown = fleet("inspect", "app.ota")
    assert shown.exit_code == 1
    assert "signature does not hold" in shown.output


def test_files_that_are_not_there_and_settings_that_are_wrong(fleet: Fleet) -> None:
    assert fleet("inspect", "missing.ota").exit_code == 1
    assert fleet("status").exit_code == 4
    assert fleet("--config", "other.toml", "status").exit_code == 3
    Path("fleet.toml").write_text("product = 7\n")
    assert fleet("status").exit_code == 3

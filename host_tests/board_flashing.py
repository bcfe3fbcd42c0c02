"""What tests of flashing share: downloads, a fleet, and the command line in this process."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from sim import filesystem, image
from sim.board import Board
from twinslot import config
from twinslot.addresses import Address
from twinslot.board import files
from twinslot.cli.main import main
from twinslot.firmware import agent, extensions
from twinslot.formats.chips import CHIPS, Chip
from twinslot.trust import keys

SLOT = 0x1B0000  # bytes: of the simulated board, and what fleet.toml says by default
APPLICATION = files.application(chosen=extensions.asked_for({}))


def flash(*arguments: object) -> Result:
    """Run `fleet flash`; its exit code, stdout and stderr."""
    return CliRunner().invoke(main, ["flash", *map(str, arguments)], catch_exceptions=False)


def download(folder: Path, chip: Chip = CHIPS["esp32"], application: bytes | None = None) -> Path:
    """Write a merged download for a chip, of some 100 KB. Returns its path."""
    path = folder / f"{chip.name}.bin"
    application = application or image.firmware(chip=chip.chip_id, size=100_000)
    path.write_bytes(image.merged(application, chip))
    return path


def make_fleet(folder: Path, chip: str = "esp32") -> config.Config:
    """Start a fleet in a folder, as `fleet init` does."""
    config.create(
        folder,
        product="demo-board",
        chip=chip,
        slot_size=SLOT,
        broker=Address("127.0.0.1", 1883),
        tls=False,
    )
    return config.load(folder / config.FILE_NAME)


def make_settings(folder: Path, fleet: config.Config) -> Path:
    """Write the settings folder of one board of the fleet."""
    folder.mkdir()
    settings = {
        "thing": "board-1",
        "product": fleet.product,
        "wifi": {"ssid": "sim", "password": ""},
        "broker": {"host": "127.0.0.1", "port": 1883},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    public = keys.public_pem(keys.read_public(fleet.public_key))
    (folder / "trusted_keys.pem").write_bytes(public)
    return folder


def move_agent_to_lib(board: Board) -> None:
    """Let the agent of a board that is off lie in /lib, as AGENT=lib flashes it."""
    with filesystem.mounted(board.flash_path, write=True) as fs:
        fs.mkdir("/lib")
        for name in (agent.PACKAGE, "link.mpy"):
            fs.rename(f"/{name}", f"/lib/{name}")

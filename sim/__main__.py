"""Run one simulated board in the foreground.

python -m sim FOLDER --firmware image.bin --put main.py
"""

from __future__ import annotations

import time
from pathlib import Path

import click

from sim import build, image
from sim.board import Board, BoardError

CAUSES = {1: "power on", 2: "reset", 3: "watchdog", 4: "woke from deep sleep", 5: "soft reset"}


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--firmware",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Application image for slot 0. Default: keep what is there; a good one on a new board.",
)
@click.option(
    "--behaviour",
    type=click.Choice(sorted(image.BEHAVIOURS)),
    help="Build an image for slot 0 that behaves like this.",
)
@click.option(
    "--put",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="File or folder whose contents go to / of the board. May be repeated.",
)
@click.option("--interpreter", type=click.Choice(["micropython", "cpython"]))
@click.option("--heapsize", help="MicroPython's -X heapsize, e.g. 96wk.")
@click.option("--port", default=0, help="TCP port of the console. Default: a free one.")
@click.option("--ssid", default="sim", show_default=True, help="Name of the only Wi-Fi there is.")
@click.option("--password", default="", help="Its password.")
@click.option("--old-bootloader", is_flag=True, help="A bootloader without rollback.")
def main(
    folder: Path,
    firmware: Path | None,
    behaviour: str | None,
    put: tuple[Path, ...],
    interpreter: str | None,
    heapsize: str | None,
    port: int,
    ssid: str,
    password: str,
    old_bootloader: bool,
) -> None:
    """Run one simulated ESP32 board in FOLDER until Ctrl-C.

    FOLDER keeps its flash (flash.bin) and what its console showed (console.log); started there
    again the board goes on where its power was cut.
    """
    new = not (folder / "flash.bin").exists()
    board = Board(
        folder,
        interpreter=interpreter,
        heapsize=heapsize,
        rollback=not old_bootloader,
        ssid=ssid,
        password=password,
        console_port=port,
    )
    compiled = board.interpreter == "micropython"
    try:
        if firmware:
            board.flash_firmware(0, firmware.read_bytes())
        elif behaviour or new:
            built = build.firmware(behaviour or "good", version="1.0.0", compiled=compiled)
            board.flash_firmware(0, built)
        board.install(files_of(put))
    except BoardError as error:
        raise click.ClickException(str(error)) from error
    board.on_boot = lambda slot, cause: click.echo(f"boot: ota_{slot}, {CAUSES[cause]}")
    with board:
        board.start()
        host, number = board.console
        click.echo(f"console socket://{host}:{number} ({board.interpreter})")
        click.echo(f"for example: mpremote connect socket://{host}:{number} repl")
        try:
            while not board.dead:
                time.sleep(0.2)
        except KeyboardInterrupt:
            return
        raise click.ClickException("no slot boots; give the board an image with --firmware")


def files_of(paths: tuple[Path, ...]) -> dict[str, bytes]:
    """Return the board's files (absolute path to bytes) for files and folders of the host."""
    found: dict[str, bytes] = {}
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                name = file.relative_to(path) if path.is_dir() else Path(file.name)
                found["/" + name.as_posix()] = file.read_bytes()
    return found


if __name__ == "__main__":
    main(prog_name="python -m sim")

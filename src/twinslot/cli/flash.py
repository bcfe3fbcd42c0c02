"""The command flash."""

from pathlib import Path

import click

from twinslot import config as configuration
from twinslot import disk, sequences
from twinslot.board import flash as flashing
from twinslot.board import writer
from twinslot.board.port import resolve
from twinslot.cli.parts import FILE, FOLDER, settings_extensions
from twinslot.cli.say import say, say_all
from twinslot.formats.chips import FLASH_SIZES, FLASHED


@click.command("flash")
@click.argument("places", nargs=-1, metavar="[PORT] FIRMWARE")
@click.option(
    "--chip", type=click.Choice(list(FLASHED)), help="Chip of the board.  [default: FIRMWARE's]"
)
@click.option(
    "--flash",
    "flash_size",
    type=click.Choice(list(FLASH_SIZES)),
    help="Size of flash.  [default: FIRMWARE's]",
)
@click.option(
    "--slot-size",
    default="0",
    metavar="BYTES",
    help="Least size of a slot.  [default: from the plan]",
)
@click.option(
    "--settings", type=FOLDER, metavar="DIR", help="Settings folder of the board, for its /etc."
)
@click.option(
    "--package",
    type=FILE,
    metavar="FILE",
    help="Package of this firmware, whose signature to take.",
)
@click.option("--fleet", type=FOLDER, metavar="DIR", help="Folder of fleet.toml, whose key signs.")
@click.option(
    "--version", default="1.0.0", show_default=True, metavar="TEXT", help="Version, with --fleet."
)
@click.option(
    "--sequence", default=1, show_default=True, metavar="N", help="Sequence, with --fleet."
)
@click.option(
    "--agent-in-lib", is_flag=True, help="Put the agent into /lib: applications may lack it."
)
@settings_extensions
@click.option("--keep-files", is_flag=True, help="Keep the file system that is on the board.")
@click.option("--keep-nvs", is_flag=True, help="Keep NVS, with the agent's journal.")
@click.option(
    "--drop",
    multiple=True,
    metavar="LABEL",
    help="Partition with data of the board's own that need not stay; may be repeated.",
)
@click.option(
    "--baud", default=writer.BAUD, show_default=True, metavar="BAUD", help="Speed of the cable."
)
@click.option(
    "--dry-run", is_flag=True, help="Print plan and commands; open no port, write no file."
)
@click.option(
    "--image-only",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT.bin",
    help="Write the whole flash into this file, and no board.",
)
def flash(
    places: tuple[str, ...],
    chip: str | None,
    flash_size: str | None,
    slot_size: str,
    settings: Path | None,
    package: Path | None,
    fleet: Path | None,
    version: str,
    sequence: int,
    agent_in_lib: bool,
    chosen: str | None,
    keep_files: bool,
    keep_nvs: bool,
    drop: tuple[str, ...],
    baud: int,
    dry_run: bool,
    image_only: Path | None,
) -> None:
    """Flash a MicroPython download onto the board at PORT.

    FIRMWARE is the download's .bin. The command plans a partition table with two OTA slots and
    prints it. Then it writes and verifies bootloader, table, application, signed trailer and a file
    system with all files of the board. Data partitions that the board has beside MicroPython's stay
    where they are, and the plan goes around them. PORT is a serial device, socket://HOST:PORT,
    rfc2217://HOST:PORT or a short name of mpremote's. With --image-only there is no PORT: write
    OUT.bin to a board at address 0.
    """
    if len(places) != (1 if image_only else 2):
        raise click.UsageError(
            "--image-only takes FIRMWARE alone" if image_only else "give PORT and FIRMWARE"
        )
    keep = ("vfs",) * keep_files + ("nvs",) * keep_nvs
    if image_only and drop:
        raise click.UsageError("an image is new: --image-only has nothing to --drop")
    if image_only and keep:
        raise click.UsageError("an image is new: --image-only keeps nothing")
    if Path(places[-1]).exists() and not Path(places[-1]).is_file():
        raise click.UsageError(f"FIRMWARE is no file: {places[-1]}; PORT comes first")
    if image_only and image_only.resolve() == Path(places[-1]).resolve():
        raise click.UsageError(f"--image-only would overwrite FIRMWARE, {image_only}")
    if keep_files and settings:
        raise click.UsageError("--keep-files keeps /etc, too: leave --settings out")
    if (package or not fleet) and (version, sequence) != ("1.0.0", 1):
        raise click.UsageError("--version and --sequence go with --fleet, which signs them")
    try:
        least = int(slot_size, 0)
    except ValueError as error:
        raise click.BadParameter(f"--slot-size: {slot_size!r} is no number") from error
    if keep_files and agent_in_lib:
        raise click.UsageError("--keep-files keeps the agent where it is: leave --agent-in-lib out")
    if keep_files and chosen is not None:
        raise click.UsageError("--keep-files keeps the agent as it is: leave --extensions out")
    job = flashing.Job(
        Path(places[-1]),
        chip,
        flash_size,
        least,
        settings,
        package,
        fleet,
        version,
        sequence,
        keep,
        agent_in_lib,
        chosen,
        drop,
    )
    content = flashing.prepare(job)
    say(content.remarks[0])
    say(f"Plan for {content.plan.chip.name}, {content.plan.flash_size >> 20} MB of flash:")
    say_all(f"{content.plan}\n")
    for remark in content.remarks[1:]:
        say(remark)
    if image_only:
        _write_image(content, image_only, dry_run=dry_run)
        if not dry_run:
            _count(job)
        return
    port = writer.Port(resolve(places[0]), baud)
    if dry_run:
        say("Would read chip, flash size, security and partition table, then run:")
        for line in flashing.commands(content, port):
            say(writer.shown(line))
        return
    flashing.write(job, content, port, say)
    _count(job)
    next_ = "the board starts" if port.has_reset else "now reset the board"
    say(f"Flashed and verified; {next_}.")


def _count(job: flashing.Job) -> None:
    """Let no package of the fleet have the sequence that the board has now, or a lower one."""
    if job.fleet:
        fleet = configuration.load(job.fleet / configuration.FILE_NAME)
        sequences.note(fleet.folder, fleet.product, job.sequence)


def _write_image(content: flashing.Content, path: Path, *, dry_run: bool) -> None:
    if dry_run:
        size = content.plan.flash_size
        say(f"Would write {path}: {size} bytes, to be flashed at address 0.")
        return
    data = flashing.image(content)
    disk.replace(path, data, disk.SECRET)  # it may hold the board's own key
    say(f"Wrote {path}: {len(data)} bytes, to be flashed at address 0.")

"""`python -m board flash`: a MicroPython download onto a board, or into an image of its flash."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click

from twinslot import config, disk
from twinslot.board import device, download, files, filesystem, plan, trailer, whole, writer
from twinslot.board.port import resolve
from twinslot.errors import FleetError
from twinslot.firmware import extensions
from twinslot.formats import table
from twinslot.formats.chips import CHIPS, FLASH_SIZES
from twinslot.trust import keys

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


class FlashError(FleetError):
    """What was asked for does not go together."""


@dataclass(frozen=True)
class Job:
    """What is asked for, as the options say it.

    `keep`: partition labels; `extensions`: the agent's, None for what the settings ask for.
    """

    firmware: Path
    chip: str | None
    flash: str | None
    slot_size: int
    settings: Path | None
    package: Path | None
    fleet: Path | None
    version: str
    sequence: int
    keep: tuple[str, ...]
    agent_in_lib: bool
    extensions: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Content:
    """What a board gets: the plan, the regions of its flash, and the rest of it in sentences."""

    plan: plan.Plan
    regions: list[whole.Region]
    remarks: list[str]


def prepare(job: Job, directory: str = files.FIRST_DIRECTORY) -> Content:
    """Read, plan, sign and build everything; nothing is written. Raises FleetError.

    directory: where a board whose files are kept has its application, "" for `/`.
    """
    found = download.read(disk.read(job.firmware, "the download"), job.chip)
    fleet = config.load(job.fleet / config.FILE_NAME) if job.fleet else None
    if fleet and fleet.chip != found.chip.name:
        raise FlashError(f"fleet.toml is for {fleet.chip}, the download for {found.chip.name}")
    layout = plan.plan(
        found.chip,
        FLASH_SIZES[job.flash] if job.flash else found.flash_size,
        found.application.image.length,
        phy_init=found.phy_init is not None,
        least_slot=max(job.slot_size, fleet.slot_size if fleet else 0),
    )
    settings = files.settings(job.settings) if job.settings else {}
    signed = _sign(job, found, fleet, directory)
    if signed and settings:
        trailer.check_settings(signed, settings)
    image = room = None
    chosen = files.extensions_for(settings) if job.extensions is None else job.extensions
    if "vfs" not in job.keep:
        size = table.need(layout.table, "vfs").size
        application = files.application(chosen=chosen)
        if job.agent_in_lib:
            application = files.agent_in_lib(application)
        # A trailer names the directory; without one boot.py stays in `/`.
        contents = {**files.in_directory(application, directory if signed else ""), **settings}
        image = filesystem.build(contents, size)
        room = _room(*files.room(contents, size))
    regions = whole.regions(
        found, layout, trailer=signed.data if signed else None, filesystem=image
    )
    regions = [region for region in regions if region.name not in job.keep]
    return Content(layout, regions, [found.summary, *_remarks(job, signed, room, chosen)])


def _sign(
    job: Job, found: download.Download, fleet: config.Config | None, directory: str
) -> trailer.Signed | None:
    if job.package and fleet:
        raise FlashError("--package brings its own signature; leave --fleet out")
    if job.package:
        return trailer.of_package(disk.read(job.package, "the package"), found, directory)
    if fleet is None:
        return None
    return trailer.sign(
        found,
        keys.read_private(fleet.signing_key),
        product=fleet.product,
        version=job.version,
        sequence=job.sequence,
        created=int(time.time()),
        directory=directory,
    )


def _room(most: int, agent: int) -> str:
    said = f"Room: an application over the air may take {max(0, most) >> 10} KB"
    if not agent:
        return f"{said}; the agent stays in /lib, `--no-agent` leaves it out."
    if most < agent:
        said += ", too little for"
    else:
        said += f", {agent >> 10} KB of them for"
    return f"{said} an agent of its own; --agent-in-lib (AGENT=lib) makes more."


def _remarks(
    job: Job, signed: trailer.Signed | None, room: str | None, chosen: tuple[str, ...]
) -> list[str]:
    said = [
        f"Signed: {signed}."
        if signed
        else "Not signed (no --package, no --fleet): the board will say version 0.0.0, sequence 0, "
        "and take any package of its product."
    ]
    if "vfs" in job.keep:
        said.append("Files: those on the board stay; `make deploy` renews them.")
    elif job.settings:
        said.append(f"Files: boot.py, the application, the agent, and {job.settings} as /etc.")
    else:
        said.append(
            "Files: boot.py, the application, the agent; no /etc (no --settings): the application "
            "will ask for its settings until `make deploy` brings them."
        )
    if room:
        said.append(f"Extensions of the agent: {', '.join(chosen) or 'none'}.")
        said.append(room)
    kept = "stays" if "nvs" in job.keep else "blank: Wi-Fi calibration, agent's journal and floor"
    said.append(f"NVS: {kept}.")
    said.append(
        "Whether the bootloader rolls back shows at the first update; MicroPython's own builds do "
        "since 1.21."
    )
    return said


@click.command("flash")
@click.argument("places", nargs=-1, metavar="[PORT] FIRMWARE")
@click.option("--chip", type=click.Choice(list(CHIPS)), help="Default: what FIRMWARE is for.")
@click.option("--flash", type=click.Choice(list(FLASH_SIZES)), help="Default: as FIRMWARE says.")
@click.option("--slot-size", default="0", metavar="BYTES", help="Least size of a slot.")
@click.option("--settings", type=_FOLDER, help="The board's settings folder, for its /etc.")
@click.option("--package", type=_FILE, help="Package of this firmware; its signature is kept.")
@click.option("--fleet", type=_FOLDER, help="Folder of fleet.toml, whose key signs.")
@click.option("--version", default="1.0.0", show_default=True, help="With --fleet: of FIRMWARE.")
@click.option("--sequence", default=1, show_default=True, help="With --fleet: of FIRMWARE.")
@click.option("--agent-in-lib", is_flag=True, help="Agent in /lib: applications may lack it.")
@click.option("--extensions", "names", metavar="NAMES", help=files.EXTENSIONS_HELP)
@click.option("--keep-files", is_flag=True, help="Keep the file system that is on the board.")
@click.option("--keep-nvs", is_flag=True, help="Keep NVS, with the agent's journal.")
@click.option("--baud", default=writer.BAUD, show_default=True, help="Speed while writing.")
@click.option(
    "--dry-run", is_flag=True, help="Print plan and commands; open no port, write no file."
)
@click.option("--image-only", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.bin")
def command(
    places: tuple[str, ...],
    chip: str | None,
    flash: str | None,
    slot_size: str,
    settings: Path | None,
    package: Path | None,
    fleet: Path | None,
    version: str,
    sequence: int,
    agent_in_lib: bool,
    names: str | None,
    keep_files: bool,
    keep_nvs: bool,
    baud: int,
    dry_run: bool,
    image_only: Path | None,
) -> None:
    """Flash FIRMWARE, a MicroPython download (.bin), onto the board at PORT.

    Plans a partition table with two OTA slots, prints it, writes bootloader, table, application,
    signed trailer and a file system with everything that the board runs, and verifies. PORT is a
    serial device, socket://HOST:PORT, rfc2217://HOST:PORT or a short name of mpremote's. With
    --image-only OUT.bin there is no PORT: OUT.bin is the whole flash, to be written at address 0.
    """
    if len(places) != (1 if image_only else 2):
        raise click.UsageError(
            "--image-only takes FIRMWARE alone" if image_only else "give PORT and FIRMWARE"
        )
    keep = ("vfs",) * keep_files + ("nvs",) * keep_nvs
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
    if keep_files and names:
        raise click.UsageError("--keep-files keeps the agent as it is: leave --extensions out")
    job = Job(
        Path(places[-1]),
        chip,
        flash,
        least,
        settings,
        package,
        fleet,
        version,
        sequence,
        keep,
        agent_in_lib,
        extensions.parse(names) if names else None,
    )
    content = prepare(job)
    click.echo(content.remarks[0])
    click.echo(f"Plan for {content.plan.chip.name}, {content.plan.flash_size >> 20} MB of flash:")
    click.echo(str(content.plan))
    for remark in content.remarks[1:]:
        click.echo(remark)
    if image_only:
        _write_image(content, image_only, dry_run=dry_run)
    else:
        _write_board(job, content, writer.Port(resolve(places[0]), baud), dry_run=dry_run)


def _write_image(content: Content, path: Path, *, dry_run: bool) -> None:
    if dry_run:
        size = content.plan.flash_size
        click.echo(f"Would write {path}: {size} bytes, to be flashed at address 0.")
        return
    data = whole.assemble(content.regions, content.plan.flash_size)
    disk.replace(path, data, disk.SECRET)  # it may hold the board's own key
    click.echo(f"Wrote {path}: {len(data)} bytes, to be flashed at address 0.")


def _write_board(job: Job, content: Content, port: writer.Port, *, dry_run: bool) -> None:
    found = writer.commands(port, content.plan.chip, content.regions)
    if dry_run:
        click.echo("Would read chip, flash size, security and partition table, then run:")
        for line in found:
            click.echo(writer.shown(line))
        return
    with device.connected(port) as there:
        device.check(there, content.plan, job.keep, signed=bool(job.package or job.fleet))
    if "vfs" in job.keep:
        content = prepare(job, there.directory)
        found = writer.commands(port, content.plan.chip, content.regions)
    for remark in there.remarks():
        click.echo(remark)
    with tempfile.TemporaryDirectory(prefix="flash-") as folder:
        writer.run(found, content.regions, Path(folder))
    next_ = "the board starts" if port.has_reset else "now reset the board"
    click.echo(f"Flashed and verified; {next_}.")

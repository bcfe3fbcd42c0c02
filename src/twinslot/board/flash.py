"""A MicroPython download onto a board, or into an image of its flash: all of `fleet flash`."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from twinslot import config, disk
from twinslot.board import device, download, files, filesystem, plan, trailer, whole, writer
from twinslot.errors import FleetError
from twinslot.firmware import extensions
from twinslot.formats import table
from twinslot.formats.chips import FLASH_SIZES
from twinslot.formats.trust_set import BOARD_FILE, TrustSet, board_file
from twinslot.keychain import Keychain
from twinslot.trust import keys, pem


class FlashError(FleetError):
    """The options contradict each other."""


@dataclass(frozen=True)
class Job:
    """The wishes of the command line.

    `keep`: labels of MicroPython's partitions whose content stays; `extensions`: the agent's, as
    `extensions.parse` reads them, None for what the settings ask for; `drop`: labels of the board's
    own data that need not stay.
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
    extensions: str | None = None
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """The content of a board: the plan, the regions of its flash, and the rest in sentences.

    `directory`: where its application lies.
    """

    plan: plan.Plan
    regions: list[whole.Region]
    remarks: list[str]
    directory: str


def prepare(job: Job, directory: str = files.FIRST_DIRECTORY, kept: table.Table = ()) -> Content:
    """Read, plan, sign and build everything; nothing is written. Raises FleetError.

    directory: where a board whose files are kept has its application, "" for `/`; kept: the board's
    own data, which stays where it is.
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
        kept=kept,
    )
    settings = files.settings(job.settings) if job.settings else {}
    present = _present(fleet, settings) if fleet and settings else None
    if present:  # the folder may be older than the newest set
        settings[f"/etc/{BOARD_FILE}"] = board_file(present)
    signed = _sign(job, found, fleet, directory)
    if signed and settings:
        trailer.check_settings(signed, settings, present)
    image = room = None
    chosen = extensions.choose(job.extensions, files.extensions_for(settings))
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
    judged = [
        f"Memory: {found.judged.psram}. Rollback: {found.judged.rolls_back}.",
        *(f"Warning: {sentence}." for sentence in found.judged.warnings),
    ]
    remarks = _remarks(job, signed, room, chosen)
    return Content(layout, regions, [found.summary, *judged, *remarks], directory)


def _present(fleet: config.Config, settings: Mapping[str, bytes]) -> TrustSet | None:
    """The fleet's newest set of keys, None for the settings of a board of another fleet."""
    chain = Keychain(fleet.folder)
    listed = {entry.kid for found in chain.sets for entry in found.entries}
    trusted = pem.public_keys(settings["/etc/trusted_keys.pem"], "trusted_keys.pem")
    return chain.present if listed.intersection(map(keys.kid, trusted)) else None


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
        said.append("Files: those on the board stay; `fleet deploy` renews them.")
    elif job.settings:
        said.append(f"Files: boot.py, the application, the agent, and {job.settings} as /etc.")
    else:
        said.append(
            "Files: boot.py, the application, the agent; no /etc (no --settings): the application "
            "will ask for its settings until `fleet deploy` brings them."
        )
    if room:
        said.append(f"Extensions of the agent: {', '.join(chosen) or 'none'}.")
        said.append(room)
    kept = "stays" if "nvs" in job.keep else "blank: Wi-Fi calibration, agent's journal and floor"
    said.append(f"NVS: {kept}.")
    return said


def image(content: Content) -> bytes:
    """Return the whole flash, to be written at address 0."""
    return whole.assemble(content.regions, content.plan.flash_size)


def commands(content: Content, port: writer.Port) -> list[list[str]]:
    """Return esptool's arguments, command by command, that write the content to a board."""
    return writer.commands(port, content.plan.chip, content.regions)


def write(job: Job, content: Content, port: writer.Port, say: Callable[[str], None]) -> None:
    """Judge the board behind a port, then write and verify everything. esptool prints for itself.

    say: is told what flashing changes for a board that ran something else. Data of the board's own
    stays, and the plan is made around it. Raises DeviceError before anything is written, WriteError
    after.
    """
    with device.connected(port) as there:
        kept = device.own_data(there, job.drop)
        directory = there.directory if "vfs" in job.keep else content.directory
        if kept or directory != content.directory:
            content = _around(job, directory, kept)
        device.check(there, content.plan, job.keep, signed=bool(job.package or job.fleet))
    for remark in there.remarks():
        say(remark)
    if kept:
        names = ", ".join(row.label for row in kept)
        say(f"Data of the board's own stays: {names}. So the plan is:")
        for line in str(content.plan).splitlines():
            say(line)
    with tempfile.TemporaryDirectory(prefix="flash-") as folder:
        writer.run(commands(content, port), content.regions, Path(folder))


def _around(job: Job, directory: str, kept: table.Table) -> Content:
    """As `prepare`, while a board waits."""
    try:
        return prepare(job, directory, kept)
    except plan.PlanError as error:
        raise device.DeviceError(str(error)) from error

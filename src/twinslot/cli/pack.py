"""The command pack, and what push and keys ask for as well."""

import datetime as dt
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from twinslot import disk
from twinslot.board import files
from twinslot.cli.parts import (
    DEFAULT_EXTENSIONS,
    FOLDER_OPTIONS,
    base_option,
    extensions_option,
    read_config,
    signer_options,
)
from twinslot.cli.say import say
from twinslot.cli.views import measuring
from twinslot.client import admission, packing, smaller
from twinslot.client.application import Options
from twinslot.client.sequences import allot_anywhere, note
from twinslot.config import Config
from twinslot.errors import FleetError, PackageError
from twinslot.firmware import extensions
from twinslot.formats import package
from twinslot.formats.component import ENCODINGS, KINDS, RAW, SEGMENTS, Content
from twinslot.formats.head import PACKAGE_MAGIC
from twinslot.formats.manifest import MAX_SEQUENCE
from twinslot.trust.signers import Signer

_FILE = click.Path(path_type=Path, dir_okay=False)


def packing_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options about what goes into a package; the command takes them as `sources`.

    Its parameter `folder`, and `image_path` where it has one, become part of them.
    """

    @functools.wraps(command)
    def collected(
        *,
        folder: Path | None,
        firmware: Path | None,
        runs: Path | None,
        compiled: bool,
        include: tuple[str, ...],
        exclude: tuple[str, ...],
        no_agent: bool,
        chosen: str | None,
        allowed: tuple[str, ...],
        elsewhere: tuple[str, ...],
        force: bool,
        image_path: Path | None = None,
        **rest: Any,
    ) -> None:
        if image_path and firmware:
            raise click.UsageError("IMAGE and --firmware mean the same; give one of them")
        firmware = image_path or firmware
        if not firmware and not folder:
            raise click.UsageError("nothing to pack: name a firmware image, --app DIR, or both")
        if firmware and runs:
            raise click.UsageError("--runs is for a package without firmware")
        if not folder and any(
            (
                *(runs, compiled, include, exclude, no_agent, allowed, elsewhere),
                chosen is not None,
            )
        ):
            raise click.UsageError("these options are about an application; give --app DIR")
        if no_agent and chosen is not None:
            raise click.UsageError("--extensions are the agent's, and --no-agent leaves it out")
        brought = None
        if folder:
            brought = extensions.choose(chosen, files.extensions_of_fleet(read_config().boards))
        options = Options(
            include,
            exclude,
            compiled=compiled,
            agent=not no_agent,
            extensions=brought,
            secrets=allowed,
            elsewhere=elsewhere,
            force=force,
        )
        command(sources=packing.Sources(firmware, folder, runs, options), **rest)

    for option in (
        extensions_option(
            "of the agent that is added", f"{DEFAULT_EXTENSIONS}, and those of boards/"
        ),
        click.option(
            "--no-agent", is_flag=True, help="Add no agent where the application has no ota/."
        ),
        *FOLDER_OPTIONS,
        click.option(
            "--mpy",
            "compiled",
            is_flag=True,
            help="Compile the application's modules, except main.py.",
        ),
        click.option(
            "--runs",
            type=_FILE,
            metavar="IMAGE",
            help="Firmware that the boards run, by which the application is judged; not packed.",
        ),
        click.option("--firmware", type=_FILE, metavar="IMAGE", help="Firmware to pack."),
    ):
        collected = option(collected)
    return collected


@click.command()
@click.argument("image_path", metavar="[IMAGE]", type=_FILE, required=False)
@click.option(
    "--app",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the application to pack, with its main.py.",
)
@packing_options
@click.option("--version", required=True, metavar="TEXT", help="Version for people, 1 to 32 bytes.")
@click.option(
    "--sequence",
    type=click.IntRange(1, MAX_SEQUENCE),
    metavar="N",
    help="Number that stops downgrades; higher than all that these boards ran before."
    "  [default: the next one]",
)
@click.option(
    "-o", "--output", required=True, type=_FILE, metavar="FILE.ota", help="Package to write."
)
@click.option(
    "--expires-days",
    type=click.IntRange(1),
    metavar="DAYS",
    help="Time after which boards refuse the package.",
)
@click.option(
    "--expires",
    "expires_at",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="Day (UTC), as 2027-01-31, from which on boards refuse the package.",
)
@click.option(
    "--encoding",
    type=click.Choice(sorted(ENCODINGS.values())),
    help="How the contents travel: raw, as any board takes them; or segments, compressed, for "
    "boards with the extension `segments`.  [default: raw; segments with --base]",
)
@base_option
@signer_options
def pack(
    sources: packing.Sources,
    version: str,
    sequence: int | None,
    output: Path,
    encoding: str | None,
    base: Path | None,
    expires_days: int | None,
    expires_at: dt.datetime | None,
    signer: Callable[[Config, Path], Signer],
) -> None:
    """Sign firmware, an application, or both, into a package.

    IMAGE is an ESP32 application image (.app-bin), or MicroPython's merged download (.bin), which
    holds one. The folder DIR of --app stands for the directory in which main.py runs. The next
    sequence comes from the service of fleet.toml, or is counted in the fleet's folder where none
    answers.
    """
    if base is not None and encoding == ENCODINGS[RAW]:
        raise click.UsageError("--base is for --encoding segments")
    config = read_config()
    now = int(time.time())
    expires = _expiry(now, expires_days, expires_at)
    contents = packing.gather(sources, config)
    components = contents.components
    if base is not None or encoding == ENCODINGS[SEGMENTS]:
        with measuring("bytes packed") as progress:
            known = None if base is None else smaller.bases(base)
            components = smaller.smaller(components, known, progress)
    signs = signer(config, config.signing_key)
    counted = ""
    unnoted: tuple[str, ...] = ()
    if sequence is None:
        sequence, served = allot_anywhere(config)
        counted = "" if served else ", counted in the fleet's folder"
    else:
        unnoted = note(config, sequence)
    data = packing.sign(
        components,
        config,
        version,
        sequence,
        now=now,
        signer=signs,
        expires=expires,
    )
    replaced = _replaced(output)
    _write(output, data)
    for line in packing.listing(contents, sources, config):
        say(line)
    for line in _encoded(components):
        say(line)
    for warning in contents.warnings + unnoted:
        say(f"warning: {warning}")
    for remark in admission.remarks(config, signs.public_key()):
        say(f"warning: {remark}")
    if replaced:
        say(f"replaced {output}, which was {replaced}")
    say(f"wrote {output}: {len(data)} bytes, version {version}, sequence {sequence}{counted}")


def _encoded(components: list[Content]) -> Iterator[str]:
    """Lines about components that are smaller than their result."""
    for one in components:
        if one.encoding != RAW:
            share = 100 * len(one.data) / one.size
            made = "packed" if one.base is None else "packed as the difference to its base"
            yield f"{KINDS[one.kind]}: {one.size} bytes {made} into {len(one.data)}, {share:.1f} %"


def _expiry(now: int, days: int | None, at: dt.datetime | None) -> int | None:
    """When a package expires (Unix seconds), None for never."""
    if days is not None and at is not None:
        raise click.UsageError("--expires and --expires-days mean the same; give one of them")
    if at is not None:
        found = int(at.replace(tzinfo=dt.UTC).timestamp())
        if found <= now:
            raise click.BadParameter(f"{at:%Y-%m-%d} is no day to come", param_hint="'--expires'")
        return found
    return None if days is None else now + days * packing.DAY


def _replaced(path: Path) -> str:
    """Say which package a new one takes the place of; "" for none.

    Raises PackingError for a file that is no package.
    """
    if not path.is_file():
        return ""
    data = disk.read(path, "the file")
    try:
        manifest = package.inspect(data).manifest
    except PackageError as error:
        if data[:4] == PACKAGE_MAGIC:
            return "a damaged package"
        raise packing.PackingError(
            f"{path} is there already, and is no package; name another file with -o"
        ) from error
    return f"{manifest.product} {manifest.version}, sequence {manifest.sequence}"


def _write(path: Path, data: bytes) -> None:
    if path.is_file() or (path.parent.is_dir() and not path.exists()):
        disk.replace(path, data)  # a package that was there stays, or is replaced whole
        return
    try:
        path.write_bytes(data)
    except OSError as error:
        raise FleetError(f"cannot write {path}: {error.strerror}") from error

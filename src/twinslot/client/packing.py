"""From a firmware image, a folder, or both, to a signed package: what `pack` and `push` share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from twinslot import disk
from twinslot.client import application
from twinslot.config import Config
from twinslot.errors import FleetError
from twinslot.formats import firmware as images
from twinslot.formats import frozen
from twinslot.formats.chips import TRAILER_LENGTH
from twinslot.formats.component import Content, application_content, firmware_content
from twinslot.formats.firmware import Firmware
from twinslot.formats.littlefs_blocks import BLOCK
from twinslot.trust import keys, signing
from twinslot.trust.signers import KeySigner, Signer

DAY = 86400  # seconds


class PackingError(FleetError):
    """There is nothing to make a package of."""


@dataclass(frozen=True)
class Sources:
    """Where a package's contents come from.

    `firmware`: an image file; `folder`: of the application; `runs`: image file of the firmware that
    the boards run, which the application is judged by when the package brings none.
    """

    firmware: Path | None = None
    folder: Path | None = None
    runs: Path | None = None
    options: application.Options = field(default_factory=application.Options)


@dataclass(frozen=True)
class Contents:
    """The contents of a package, checked for the boards of a fleet."""

    firmware: Firmware | None
    application: application.Application | None

    @property
    def components(self) -> list[Content]:
        """The components, the firmware first."""
        found = []
        if self.firmware is not None:
            image = self.firmware.application
            names = frozen.modules(frozen.names(image.data))
            found.append(firmware_content(image.data, image.image.chip_id, names))
        if self.application is not None:
            made = self.application
            found.append(application_content(made.archive, [made.blocks, *made.largest]))
        return found

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings, a sentence each."""
        of_firmware = () if self.firmware is None else tuple(self.firmware.warnings)
        return of_firmware + (() if self.application is None else self.application.warnings)


def gather(sources: Sources, config: Config) -> Contents:
    """Read and check what a package is to bring.

    Raises PackingError, ImageError, ApplicationError, MpyError, FileError.
    """
    if sources.firmware is None and sources.folder is None:
        raise PackingError("a package brings a firmware image, an application, or both")
    firmware = _judged(sources.firmware, config)
    if sources.folder is None:
        return Contents(firmware, None)
    judged_by = firmware if sources.runs is None else _judged(sources.runs, config)
    collected = application.collect(
        sources.folder,
        sources.options,
        chip=config.chip,
        firmware=None if judged_by is None else judged_by.application,
    )
    return Contents(firmware, collected)


def sign(
    components: Sequence[Content],
    config: Config,
    version: str,
    sequence: int,
    *,
    now: int,
    signer: Signer | None = None,
    expires: int | None = None,
) -> bytes:
    """The package of these components.

    `now` and `expires` in Unix seconds; `signer`: instead of the fleet's own key.

    Raises PackageError, KeyFileError, SignerError, ArchiveError.
    """
    return signing.build_by(
        signer or KeySigner(keys.read_private(config.signing_key)),
        components,
        product=config.product,
        version=version,
        sequence=sequence,
        created=now,
        expires=expires,
    )


def listing(contents: Contents, sources: Sources, config: Config) -> Iterator[str]:
    """The contents, as lines for people."""
    yield from firmware_listing(contents, sources, config)
    if contents.application is not None:
        found = contents.application.files
        yield f"{sources.folder}: application of {len(found)} files"
        for path, data in found.items():
            yield f"  {len(data):>7}  {path}"
        yield f"  {sum(map(len, found.values())):>7}  bytes in all"
        yield f"  {contents.application.blocks * BLOCK >> 10:>7}  KB of a board's file system"
        for note in contents.application.notes:
            yield f"  {note}"


def firmware_listing(contents: Contents, sources: Sources, config: Config) -> Iterator[str]:
    """The firmware among the contents, as lines for people."""
    if contents.firmware is not None:
        room = config.slot_size - TRAILER_LENGTH
        image = contents.firmware.application
        yield f"{sources.firmware}: {image.summary}"
        yield f"  {image.origin}; {image.image.length} of {room} bytes in a slot"


def _judged(path: Path | None, config: Config) -> Firmware | None:
    if path is None:
        return None
    data = disk.read(path, "the image")
    return images.accept(data, chip=config.chip, slot_size=config.slot_size)

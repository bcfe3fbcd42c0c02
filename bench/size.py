"""`make bench-size IMAGES="OLD.bin NEW.bin ..."`: how small updates between these images are.

Each image is compressed alone. Of the newest of each chip two changes are made here: one text, and
the times and digests that another build of the same source has. Images that follow each other, of
one chip, are a pair. The table is Markdown, for docs/performance.md.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click

from twinslot import disk
from twinslot.errors import FleetError
from twinslot.formats import image, packed
from twinslot.formats.chips import XTENSA, march_of, name_of
from twinslot.formats.component import described, firmware_content, read_component
from twinslot.formats.image import Application, Section

ALONE = "full image, compressed"
RELEASES = "two releases with a new ESP-IDF between"
NEIGHBOURS = "neighbouring builds of one tree"
REBUILT = "the same source rebuilt"
TEXT = "one text changed"
RISC_V = "RISC-V neighbouring builds"
MOST = {ALONE: 67.0, RELEASES: 61.0, NEIGHBOURS: 1.5, REBUILT: 0.5, TEXT: 0.5, RISC_V: 3.0}
"""Percent of the image that an update may take at most. ALONE is for one image alone."""
_JUDGED_ALONE = ("esp32", "v1.26.1")

_BANNER = re.compile(rb"MicroPython [!-~]{1,40} on (\d{4}-\d\d-\d\d)")
_ELF_DIGEST = 176  # offset of the SHA-256 of the ELF file, in the descriptor of an image
_TIME, _DATE = 112, 128  # of the build's time and date


@dataclass(frozen=True)
class Row:
    """One line of the table: an update to `new`, from `old` if that is not None.

    `bytes`: of the component; `seconds`: packing and decoding.
    """

    kind: str
    old: str | None
    new: str
    size: int
    bytes: int
    seconds: float
    bound: float | None

    @property
    def percent(self) -> float:
        """How much of the image travels."""
        return 100 * self.bytes / self.size

    @property
    def missed(self) -> bool:
        """Whether this is more than it may be."""
        return self.bound is not None and self.percent > self.bound


def rows(images: Sequence[Application]) -> Iterator[Row]:
    """Measure each image, and each pair of one chip. images: as they followed each other."""
    for chip in dict.fromkeys(one.image.chip_id for one in images):
        same = [one for one in images if one.image.chip_id == chip]
        for one in same:
            judged = (name_of(chip), one.micropython) == _JUDGED_ALONE
            yield _measured(ALONE, None, one, MOST[ALONE] if judged else None)
        newest = same[-1]
        yield _measured(REBUILT, newest, rebuilt(newest), MOST[REBUILT], "built again, made here")
        yield _measured(TEXT, newest, retexted(newest), MOST[TEXT], "another text, made here")
        for old, new in pairwise(same):
            kind = kind_of(old, new)
            yield _measured(kind, old, new, MOST[kind])


def kind_of(old: Application, new: Application) -> str:
    """The row of the table that a pair of images of one chip belongs to."""
    if old.idf != new.idf:
        return RELEASES
    return NEIGHBOURS if march_of(new.image.chip_id) == XTENSA else RISC_V


def rebuilt(found: Application) -> Application:
    """The image as another day's build of the same source: other times, other digests."""
    data = bytearray(found.data)
    data[_TIME : _TIME + 8] = b"01:02:03"
    data[_DATE : _DATE + 11] = b"Jan  4 2031"
    data[_ELF_DIGEST : _ELF_DIGEST + 32] = hashlib.sha256(b"another ELF file").digest()
    for match in _BANNER.finditer(found.data):
        data[match.start(1) : match.end(1)] = b"2031-01-04"
    return image.application(sealed(bytes(data), image.sections(found.data)))


def retexted(found: Application) -> Application:
    """The image with another text of the same length in it."""
    match = _BANNER.search(found.data)
    at = 48 if match is None else match.start()
    data = bytearray(found.data)
    data[at : at + 11] = b"Metropython"
    return image.application(sealed(bytes(data), image.sections(found.data)))


def sealed(data: bytes, sections: Sequence[Section]) -> bytes:
    """The image with a right checksum and digest. sections: of the image."""
    body, checksum = bytearray(data[:-32]), 0xEF
    for one in sections:
        for byte in body[one.start : one.start + one.length]:
            checksum ^= byte
    body[-1] = checksum
    return bytes(body) + hashlib.sha256(body).digest()


def anchors(data: bytes) -> str:
    """What others make of an image alone: deflate with the same window, and xz."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -12, 9)
    plain = len(engine.compress(data) + engine.flush())
    best = len(lzma.compress(data, preset=9))
    return f"deflate, 4 KB window {100 * plain / len(data):.1f}, xz {100 * best / len(data):.1f}"


def table(found: Sequence[Row], images: Sequence[Application]) -> Iterator[str]:
    """The rows as Markdown, those that were not measured, and the images."""
    yield "| pair | images | bytes | of the image | must reach | s |"
    yield "| --- | --- | ---: | ---: | ---: | ---: |"
    for row in found:
        bound = "" if row.bound is None else f"{row.bound:g} %" + (", missed" if row.missed else "")
        pair = row.new if row.old is None else f"{row.old} to {row.new}"
        share = f"{row.percent:.2f} %"
        yield f"| {row.kind} | {pair} | {row.bytes} | {share} | {bound} | {row.seconds:.0f} |"
    for kind in MOST:
        if kind not in {row.kind for row in found}:
            yield f"| {kind} | | not measured | | {MOST[kind]:g} % | |"
    yield ""
    yield "| image | bytes | SHA-256 | alone, by others, % |"
    yield "| --- | ---: | --- | --- |"
    for one in images:
        digest = hashlib.sha256(one.data).hexdigest()
        yield f"| {title(one)} | {len(one.data)} | `{digest}` | {anchors(one.data)} |"


def title(found: Application) -> str:
    """The image for people."""
    return f"{name_of(found.image.chip_id)} {found.micropython or found.version}"


def _measured(
    kind: str, old: Application | None, new: Application, bound: float | None, name: str = ""
) -> Row:
    start = time.process_time()
    content = firmware_content(new.data, new.image.chip_id)
    base = None if old is None else old.data
    made = packed.smaller(content, base)
    component = read_component(described(made), 0)
    if component.result(made.data, base) != new.data:
        raise FleetError(f"{title(new)} does not come out of its own package")
    seconds = time.process_time() - start
    size, length = len(new.data), len(made.data)
    before = None if old is None else title(old)
    return Row(kind, before, name or title(new), size, length, seconds, bound)


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
def main(images: tuple[Path, ...]) -> None:
    """Pack each image alone, and as the difference to the one before it of the same chip.

    IMAGES are application images or MicroPython's merged downloads, the older ones first. It exits
    with 1 when a row takes more than it may.
    """
    try:
        found = [image.application(disk.read(path, "the image")) for path in images]
        measured = []
        for row in rows(found):
            measured.append(row)
            click.echo(f"{row.kind}: {row.new}, {row.percent:.2f} %", err=True)
    except FleetError as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(2)
    for line in table(measured, found):
        click.echo(line)
    sys.exit(any(row.missed for row in measured))


if __name__ == "__main__":
    main()

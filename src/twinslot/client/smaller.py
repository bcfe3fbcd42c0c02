"""Components that travel smaller: compressed, or as the difference to what boards run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from twinslot import disk
from twinslot.client.packing import PackingError
from twinslot.formats import image, package, packed
from twinslot.formats.component import FIRMWARE, KINDS, Content
from twinslot.formats.head import PACKAGE_MAGIC
from twinslot.formats.segments.packer import Progress, quiet


def bases(path: Path) -> dict[int, bytes]:
    """The bytes that a package or a firmware image brings onto a board, by kind of component.

    Raises FileError, PackageError, ImageError, and BaseMismatchError for a package that is a delta
    itself.
    """
    data = disk.read(path, "the base")
    if data[:4] != PACKAGE_MAGIC:
        return {FIRMWARE: image.application(data).data}
    components = package.inspect(data).manifest.components
    return {component.kind: component.result(data) for component in components}


def smaller(
    contents: Sequence[Content],
    known: Mapping[int, bytes] | None = None,
    progress: Progress = quiet,
) -> list[Content]:
    """Return the contents in encoding 1, each as it is where that is not smaller.

    known: what the boards run, by kind; contents of a kind that is there become deltas. Raises
    PackingError where none is.
    """
    if known is not None and not any(content.kind in known for content in contents):
        kinds = " or ".join(KINDS[content.kind] for content in contents)
        raise PackingError(f"the base has no {kinds}, so there is nothing to compare with")
    total = sum(content.size for content in contents)
    made, before = [], 0
    for content in contents:
        share = content.size / total

        def shown(done: int, every: int, before: int = before, share: float = share) -> None:
            progress(before + int(done / every * share * total), total)

        made.append(packed.smaller(content, (known or {}).get(content.kind), shown))
        before += content.size
    return made

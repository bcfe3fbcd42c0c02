"""A component made smaller: from its raw content to encoding 1. Pure.

It is apart from `component`, so that what only reads packages does not load the packer's numpy.
"""

import contextlib
import hashlib
from dataclasses import replace

from twinslot.formats import image
from twinslot.formats.component import FIRMWARE, RAW, SEGMENTS, Base, Content, may_have, padded
from twinslot.formats.segments import packer


def smaller(
    content: Content, base: bytes | None = None, progress: packer.Progress = packer.quiet
) -> Content:
    """Return a raw content in encoding 1, or as it is where that is not smaller.

    base: the image in the running slot, or the archive of the running directory, that a delta
    copies from. Raises EncodingError where the packed bytes would give something else.
    """
    if content.encoding != RAW:
        return content
    base = base or None  # of nothing, nothing can be copied
    known = None if base is None else Base(len(base), hashlib.sha256(base).digest())
    packed = packer.pack(
        _plain(content, content.data),
        None if base is None else _plain(content, base),
        may_have(content.kind, content.chip, with_base=base is not None),
        progress,
    )
    if len(packed.data) >= padded(len(content.data)):
        return content
    return replace(content, data=packed.data, encoding=SEGMENTS, first=packed.first, base=known)


def _plain(content: Content, data: bytes) -> packer.Plain:
    """Bytes with the sections of an image, as far as they are one."""
    sections: tuple[image.Section, ...] = ()
    if content.kind == FIRMWARE:
        with contextlib.suppress(image.ImageError):  # the caller judges; without them it packs, too
            sections = image.sections(data)
    return packer.Plain(data, sections)

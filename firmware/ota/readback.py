"""Reading back a slot and its directory, to compare them with the signed digests."""

from errno import ENOENT
from hashlib import sha256

from . import errors
from .chip import SECTOR
from .compat import const
from .rebuild import archive_of
from .settings import absolute
from .slots import check_image

_HALF = const(2048)


def matching(slot, parts, directory, buf):
    """Read back and hash a slot and its directory. A generator of slices.

    parts: (part of the image, part of the directory), each with size, sha256 and chip, or None
    where a cable brought it; directory: "" for a flat board; buf: scratch, 4096 bytes. Returns the
    SHA-256 of the image, None where a cable brought it: `set_boot` then checks the hash at its end.
    Raises ImageError, FlashError, FilesystemError.
    """
    image, application = parts
    digest = None
    if image:
        digest = yield from _image(slot, image, buf)
        if image.sha256 and digest != image.sha256:
            raise errors.ImageError(
                "%s does not hold the image that the manifest names" % slot.label
            )
    if directory and application:
        yield from _directory(directory, application, buf)
    return digest


def copying(source, target, size, buf):
    """Copy the first `size` bytes of slot `source` into slot `target`. A generator of slices.

    A sector that is equal already is not written. A written one is read back. Raises FlashError.
    """
    view = memoryview(buf)
    for at in range(0, size, SECTOR):
        if not _equal(source, target, at, view):
            source.read(at, view[:SECTOR])
            target.replace(at, view[:SECTOR])
            if not _equal(source, target, at, view):
                raise errors.FlashError(
                    "%s does not keep the bytes written at %d" % (target.label, at)
                )
        yield


def _equal(source, target, at, view):
    for offset in (at, at + _HALF):
        source.read(offset, view[:_HALF])
        target.read(offset, view[_HALF:SECTOR])
        if view[:_HALF] != view[_HALF:SECTOR]:
            return False
    return True


def _image(slot, image, buf):
    """Read back an image in a slot, a sector per slice. Returns its SHA-256."""
    if image.size > slot.capacity:
        raise errors.ImageError(
            "the trailer of %s describes an image that cannot be in it" % slot.label
        )
    view = memoryview(buf)
    digest = sha256()
    for at in range(0, image.size, SECTOR):
        piece = view[: min(SECTOR, image.size - at)]
        slot.read(at, piece)
        if at == 0:
            check_image(piece, image.chip)
        digest.update(piece)
        yield
    return digest.digest()


def _directory(name, component, buf):
    """Compare the files of a directory with the archive they came in. A generator of slices.

    component: its size (bytes) and sha256; buf: scratch, 4096 bytes. Raises ImageError,
    FilesystemError.
    """
    base = absolute(name) + "/"
    digest = sha256()
    try:
        for piece in archive_of(base, component.size, buf):
            if not isinstance(piece, str):
                digest.update(piece)
                yield
    except OSError as error:
        if error.args[0] == ENOENT:
            raise errors.ImageError("%s is not complete" % base)
        raise errors.FilesystemError("%s cannot be read: %s" % (base, error))
    except (ValueError, errors.ArchiveError):
        digest = sha256()  # no archive has such a listing, or files of other sizes
    if digest.digest() != component.sha256:
        raise errors.ImageError("%s does not hold the files that the manifest names" % base)

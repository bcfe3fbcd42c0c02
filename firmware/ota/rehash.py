"""Whether a slot and its directory hold what the trailer says. Loaded when that is asked.

buf: scratch, 4096 bytes.
"""

from hashlib import sha256

from . import errors, pair
from .compat import const, finish, forget
from .slots import SECTOR, check_image

TICKS = 10
_HALF = const(2048)


def pair_of(slot, keys, buf):
    """Return the pair.Pair in the trailer of `slot`, verified; None without a trailer.

    keys: from `trust.load_keys`. Raises PackageError, UnknownKeyError, SignatureError, FlashError.
    """
    return finish(pair.reading(slot, keys, buf))


def rehash(made, buf, tick):
    """Compare the image in a slot, and its directory, with what the pair.Pair `made` says.

    tick(): called TICKS times on the way. Raises what `checking` raises.
    """
    sectors = 1
    for kind in (pair.FIRMWARE, pair.APPLICATION):
        component = made.component(kind)
        if component:
            sectors += (component.size + SECTOR - 1) // SECTOR
    done, ticks = 0, 0
    for _ in checking(made, buf):
        done = min(done + 1, sectors)
        while ticks < TICKS * done // sectors:
            ticks += 1
            tick()
    while ticks < TICKS:
        ticks += 1
        tick()


def checking(made, buf):
    """Read back and hash what the pair.Pair `made` says. A generator of slices.

    An image that a cable brought has no record; `set_boot` checks the hash at its end. Raises
    ImageError, FlashError, FilesystemError; SignatureError for a raw image.
    """
    firmware = made.component(pair.FIRMWARE)
    if firmware:
        digest = yield from _hashing(made.slot, firmware, buf)
        proof = made.manifest_with(pair.FIRMWARE).proof
        if proof:
            yield from _proving(proof, digest)
        elif digest != firmware.sha256:
            raise errors.ImageError("%s does not hold what the manifest says" % made.slot.label)
    application = made.component(pair.APPLICATION)
    if made.directory and application:
        from . import directory

        yield from directory.reading_back(made.directory, application, buf)


def completing(made, running, buf):
    """Copy the running image when the newest package brought none. A generator of slices.

    running: the slot that runs. Raises FlashError.
    """
    if made.newest.component(pair.FIRMWARE) is None:
        firmware = made.component(pair.FIRMWARE)
        size = firmware.size if firmware else made.slot.capacity
        yield from copying(running, made.slot, size, buf)


def copying(source, target, size, buf):
    """Make the first `size` bytes of slot `target` those of `source`. A generator of slices.

    A sector that is equal is left alone, one that is written is read back. Raises FlashError.
    """
    view = memoryview(buf)
    for at in range(0, size, SECTOR):
        if not _equal(source, target, at, view):
            source.read(at, view[:SECTOR])
            target.replace(at, view[:SECTOR])
            if not _equal(source, target, at, view):
                raise errors.FlashError(
                    "%s does not keep what is written at %d" % (target.label, at)
                )
        yield


def _proving(proof, digest):
    """Check the signature of a raw image. A generator of slices.

    proof: of its Manifest; digest: SHA-256 of the image as read back. Raises SignatureError.
    """
    key, signature = proof
    if isinstance(key, bytes):
        from .p256 import verifying
    else:
        from .rsa import verifying
    good = yield from verifying(key, digest, signature)
    forget("p256 rsa")
    if not good:
        raise errors.SignatureError("the signature in the job does not belong to this image")


def _equal(source, target, at, view):
    for offset in (at, at + _HALF):
        source.read(offset, view[:_HALF])
        target.read(offset, view[_HALF:SECTOR])
        if view[:_HALF] != view[_HALF:SECTOR]:
            return False
    return True


def _hashing(slot, firmware, buf):
    """Read back an image in a slot, a sector per slice. Returns its SHA-256."""
    if firmware.size > slot.capacity:
        raise errors.ImageError(
            "the trailer of %s describes an image that cannot be in it" % slot.label
        )
    view = memoryview(buf)
    digest = sha256()
    for at in range(0, firmware.size, SECTOR):
        piece = view[: min(SECTOR, firmware.size - at)]
        slot.read(at, piece)
        if at == 0:
            check_image(piece, firmware.chip)
        digest.update(piece)
        yield
    return digest.digest()

"""Whether a slot still holds what its trailer says. Reads only; loaded when a person asks.

keys: from `trust.load_keys`; buf: scratch, 4096 bytes.
"""

from . import package
from .download import Readback
from .errors import ImageError
from .slots import SECTOR

TICKS = 10


def manifest_of(slot, keys, buf):
    """Return the verified manifest in the trailer of `slot`, None without a trailer.

    Raises PackageError, UnknownKeyError, SignatureError, FlashError.
    """
    trailer = slot.read_trailer(buf)
    return None if trailer is None else package.parse_record(trailer[0], keys)


def rehash(slot, manifest, buf, tick):
    """Compare the image in `slot` with the manifest, sector by sector.

    tick(): called TICKS times on the way. Raises ImageError when it differs, FlashError.
    """
    firmware = manifest.component(package.FIRMWARE)
    if firmware is None or firmware.size > slot.capacity:
        raise ImageError("the trailer of %s describes no firmware that fits" % slot.label)
    readback = Readback(slot, firmware, buf)
    done, ticks = 0, 0
    complete = False
    while not complete:
        complete = readback.step()
        done = min(done + SECTOR, firmware.size)
        while ticks < TICKS * done // firmware.size:
            ticks += 1
            tick()

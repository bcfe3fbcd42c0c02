"""The end of a transfer: image and files are read back and hashed before the trailer is written.

    finishing   makes the other slot and its directory whole, when every block is written
    checking    finds out, after a restart, whether they still hold the verified update
    rehashing   reads them back once more, if they do
    confirming  does both again immediately before the slot is made to boot: days may have passed
    activating  makes it boot

A raw image has no trailer: its signature is verified again each time.
"""

from collections import namedtuple

from . import chip, errors, loader
from . import engine as states
from .compat import const
from .readback import copying, matching

_FIRMWARE = const(0)
_APPLICATION = const(1)

# The content of the other slot after the update. version (str); parts: (part of the image, part of
# the directory), each with size, sha256 and chip, or None where a cable brought it; directory: ""
# for a flat board; records: for the trailer (list of bytes), empty where it is written already;
# copied: whether the image is the running one; proof: of a raw image, see `raw`, else None.
Target = namedtuple("Target", ("version", "parts", "directory", "records", "copied", "proof"))


def finishing(engine):
    """Make the update whole, a slice at a time. Raises what `matching` raises, FlashError."""
    engine.slices(_finishing)
    return 0


def checking(engine):
    """Find out whether the other slot still holds the update, a slice at a time."""
    engine.slices(_checking)
    return 0


def rehashing(engine):
    """Read back an update that was verified before, a slice at a time. Raises as `finishing`."""
    return finishing(engine)


def confirming(engine):
    """Find out whether what was verified is still there, a slice at a time, then boot it.

    Raises ImageError, what `matching` raises, MismatchError.
    """
    engine.slices(_confirming)
    return 0


def activating(engine):
    """Make the new slot boot, and reset. Raises ActivateError."""
    chip.forget_note()
    engine.board.slots.other.set_boot()
    chip.reset()


def _finishing(engine):
    board = engine.board
    target = engine.target
    if target is None:
        target = engine.target = _target_of(engine.manifest, board)
    slots, buf = board.slots, board.buf
    if target.copied:
        image = target.parts[_FIRMWARE]
        size = image.size if image else slots.other.capacity
        yield from copying(slots.running, slots.other, size, buf)
    proof = target.proof
    digest = yield from matching(slots.other, target.parts, target.directory, buf)
    if target.records:
        slots.other.write_trailer(target.records, target.directory, buf)
    if proof:
        _claim(engine, proof, digest, states.WAITING)
    else:
        engine.verified(target.version)


def _claim(engine, proof, digest, then):
    """Let the signature of a raw image be verified; the state `then` follows."""
    algorithm, key, signature = proof
    error = errors.SignatureError("the signature in the job does not belong to this image")
    engine.become(states.VERIFYING)
    engine.claim = algorithm, key, digest, signature, error, then


def _checking(engine):
    target = yield from _find(engine)
    if target is None:
        engine.become(states.CONNECTING)  # the slot has lost it: fetch it again
        return
    engine.target = target
    engine.modules = ""
    engine.become(states.REHASHING)


def _confirming(engine):
    board = engine.board
    slots = board.slots
    other = slots.other
    if slots.active not in (None, slots.running.index):
        raise errors.MismatchError(
            "otadata names a slot that does not run; flash the board by cable"
        )
    target = yield from _find(engine)
    if target is None:
        raise errors.ImageError("the trailer of %s changed while the update waited" % other.label)
    digest = yield from matching(other, target.parts, target.directory, board.buf)
    engine.target = target
    if target.proof:
        _claim(engine, target.proof, digest, states.ACTIVATING)
    else:
        engine.become(states.ACTIVATING)


def _find(engine):
    """Return the Target that the other slot says it holds, None if it is not the update's."""
    board = engine.board
    other, wanted = board.slots.other, board.journal.identity
    target = None
    try:
        if board.journal.sequence:
            keys = loader.ask("trust", "believed")
            found = yield from loader.module("installed").reading(other, keys, board.buf)
            if found and found.identity.hex() == wanted:
                target = target_again(found)
        else:
            other.read(0, board.buf)
            manifest = engine.bare_manifest()
            if manifest and manifest.identity.hex() == wanted:
                target = _target_of(manifest, board)
    except errors.OtaError:
        pass  # a trailer that is not believed counts as none
    return target


def _target_of(manifest, board):
    """Return the Target of a new package and of the half that it keeps. Raises FlashError."""
    parts, directory, kept = [None, None], board.directory, _APPLICATION
    for component in manifest.components:
        parts[component.kind] = component
    if parts[_APPLICATION]:
        directory, kept = board.spare, _FIRMWARE
    if manifest.proof:
        return Target(manifest.version, parts, directory, (), False, manifest.proof)
    records, copied = [manifest.record], parts[_FIRMWARE] is None
    older = board.parts[kept]
    if older and not parts[kept]:
        parts[kept] = older
        records.append(_running_record(board, older))
    return Target(manifest.version, parts, directory, records, copied, None)


def _running_record(board, part):
    """Return the record (bytes) of a part that runs, out of its trailer. Raises FlashError."""
    running = board.slots.running
    trailer = running.read_trailer(board.buf)
    if trailer is None or running.seal(board.buf) != board.seal:
        raise errors.FlashError("the trailer of %s has changed since the start" % running.label)
    return bytes(trailer[0][part.start : part.end])


def target_again(found):
    """Return the Target of an update whose trailer is written. found: installed.Installed."""
    image = found.parts[_FIRMWARE]
    copied = image is None or image.start > 0
    return Target(found.version, found.parts, found.directory, (), copied, None)

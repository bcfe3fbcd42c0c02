"""Back to the other slot because a person says so: when that may be, and how it is done.

Rules
- Only to an image that this board once accepted: its trailer is believed, its sequence is not above
  the floor, otadata does not say that it was rolled back. Its hash is right immediately before
  `set_boot`.
- The road is that of every update: journal ACTIVATED, `set_boot`, reset. boot.py tests the image
  under the deadline; if the application does not accept it, the image that runs now comes back.
- The floor stays the highest sequence ever accepted: what was left behind is not installed again.
"""

from . import chip, slots
from . import journal as phases
from .errors import ActivateError, ImageError, StateError
from .rehash import manifest_of, rehash


def floor_of(pair, journal, sequence):
    """Return the highest sequence this board has accepted: of the journal or what runs, VALID.

    sequence: of the running image.
    """
    return max(journal.floor, sequence if pair.state(pair.running) == slots.VALID else 0)


def find(pair, journal, sequence, keys, buf):
    """Return the manifest of the image in the other slot, which may be booted.

    pair: slots.Slots; sequence: of the running image. Raises StateError that says why not, and
    what `rehash.manifest_of` raises.
    """
    here, label = pair.running.label, pair.other.label
    if pair.pending:
        raise StateError(
            "%s is under test and not accepted yet; a reset, or the deadline, brings %s back"
            % (here, label)
        )
    if pair.active not in (None, pair.running.index):
        raise StateError("otadata names a slot that does not run; machine.reset() comes first")
    if journal.no_rollback:
        raise StateError(
            "this board's bootloader has no rollback, so %s could not be tested; flash the "
            "bootloader of MicroPython 1.21 or later by cable" % label
        )
    manifest = manifest_of(pair.other, keys, buf)
    if manifest is None:
        if journal.phase == phases.RECEIVING:
            raise StateError("%s is being filled by an update; there is nothing else" % label)
        raise StateError("%s holds no verified image: it has no trailer" % label)
    if pair.state(pair.other) in (slots.ABORTED, slots.INVALID):
        raise StateError(
            "version %s in %s did not prove itself here and was rolled back"
            % (manifest.version, label)
        )
    if manifest.sequence > floor_of(pair, journal, sequence):
        raise StateError("version %s in %s was never accepted here" % (manifest.version, label))
    return manifest


def begin(pair, journal, manifest, running, buf, tick):
    """Boot the image `find` returned. Does not return.

    running: (version, sequence) of the running image; buf, tick: as `rehash` takes them. Raises
    ImageError, FlashError, ActivateError: then everything is as before.
    """
    rehash(pair.other, manifest, buf, tick)
    floor = floor_of(pair, journal, running[1])
    journal.finish(
        phase=phases.ACTIVATED,
        origin=phases.PERSON,
        slot=pair.other.label,
        identity=manifest.identity.hex(),
        sequence=manifest.sequence,
        tries=1,
        floor=floor,
        detail="rolled back by a person from version " + running[0],
    )
    try:
        _boot(pair.other)
    except ActivateError:
        journal.finish()
        raise


def again(pair, journal, keys, buf):
    """Repeat what a power cut broke off. Does not return. Raises OtaError when it cannot be."""
    manifest = manifest_of(pair.other, keys, buf)
    if manifest is None or manifest.identity.hex() != journal.identity:
        raise ImageError("%s no longer holds what was to be booted" % pair.other.label)
    rehash(pair.other, manifest, buf, chip.feed)
    journal.save(phase=phases.ACTIVATED, tries=journal.tries + 1)
    _boot(pair.other)


def _boot(slot):
    chip.forget_note()
    slot.set_boot()
    chip.reset()

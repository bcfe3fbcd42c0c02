"""Back to the other slot because a person says so: when that may be, and how it is done.

Rules
- Only to an image that this board once accepted: its trailer is believed, its sequence is not above
  the floor, otadata does not say that it was rolled back. Its hash is right immediately before
  `set_boot`.
- The road is that of every update: journal ACTIVATED, `set_boot`, reset. boot.py tests the image
  under the deadline; if the application does not accept it, the image that runs now comes back.
- The floor stays the highest sequence ever accepted: what was left behind is not installed again.
"""

from . import chip, errors, slots
from . import journal as phases
from .rehash import pair_of, rehash


def floor_of(pair, journal, sequence):
    """Return the highest sequence this board has accepted: of the journal or what runs, VALID.

    sequence: of the running image.
    """
    return max(journal.floor, sequence if pair.state(pair.running) == slots.VALID else 0)


def find(pair, journal, sequence, keys, buf):
    """Return the pair.Pair of the other slot, which may be booted.

    pair: slots.Slots; sequence: of the running image. Raises StateError that says why not, and
    what `rehash.pair_of` raises.
    """
    here, label = pair.running.label, pair.other.label
    if pair.pending:
        raise errors.StateError(
            "%s is under test and not accepted yet; a reset, or the deadline, brings %s back"
            % (here, label)
        )
    if pair.active not in (None, pair.running.index):
        raise errors.StateError(
            "otadata names a slot that does not run; machine.reset() comes first"
        )
    if journal.no_rollback:
        raise errors.StateError(
            "this board's bootloader has no rollback, so %s could not be tested; flash the "
            "bootloader of MicroPython 1.21 or later by cable" % label
        )
    made = pair_of(pair.other, keys, buf)
    if made is None:
        if journal.phase == phases.RECEIVING:
            raise errors.StateError(
                "%s is being filled by an update; there is nothing else" % label
            )
        raise errors.StateError("%s holds no verified image: it has no trailer" % label)
    manifest = made.newest
    if pair.state(pair.other) in (slots.ABORTED, slots.INVALID):
        raise errors.StateError(
            "version %s in %s did not prove itself here and was rolled back"
            % (manifest.version, label)
        )
    if manifest.sequence > floor_of(pair, journal, sequence):
        raise errors.StateError(
            "version %s in %s was never accepted here" % (manifest.version, label)
        )
    return made


def begin(pair, journal, made, running, buf, tick):
    """Boot what `find` returned. Does not return.

    running: (version, sequence) of the running image; buf, tick: as `rehash` takes them. Raises
    ImageError, FlashError, ActivateError: then everything is as before.
    """
    rehash(made, buf, tick)
    manifest = made.newest
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
    except errors.ActivateError:
        journal.finish()
        raise


def again(pair, journal, keys, buf):
    """Repeat what a power cut broke off. Does not return. Raises OtaError when it cannot be."""
    made = pair_of(pair.other, keys, buf)
    if made is None or made.newest.identity.hex() != journal.identity:
        raise errors.ImageError("%s no longer holds what was to be booted" % pair.other.label)
    rehash(made, buf, chip.feed)
    journal.save(phase=phases.ACTIVATED, tries=journal.tries + 1)
    _boot(pair.other)


def _boot(slot):
    chip.forget_note()
    slot.set_boot()
    chip.reset()

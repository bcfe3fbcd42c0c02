"""The rollback that a person asks for: when it is possible, and how it is done.

Rules
- It leads only to an image that this board once accepted: its trailer is believed, its sequence is
  not above the floor, otadata does not say that it was rolled back. Its hash is checked immediately
  before `set_boot`.
- It goes the way of every update: journal ACTIVATED, `set_boot`, reset. boot.py tests the image
  under the deadline. If the application does not accept it, the image that runs now comes back.
- The floor stays the highest sequence ever accepted, so the version left behind is not installed
  again over the air.
"""

from . import chip, errors, journal, keyring, slots
from .compat import const
from .installed import read
from .readback import matching

_TICKS = const(10)


def find(pair, noted, sequence, keys, buf):
    """Return the installed.Installed of the other slot, if it may be booted.

    pair: slots.Slots; noted: journal.Journal; sequence: of what runs, 0 if it raises no floor.
    Raises StateError that says why not, and what `installed.read` raises.
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
    if noted.no_rollback:
        raise errors.StateError(
            "this board's bootloader has no rollback, so %s could not be tested; flash the "
            "bootloader of MicroPython 1.21 or later by cable" % label
        )
    found = read(pair.other, keys, buf)
    if found is None:
        if noted.phase == journal.RECEIVING:
            raise errors.StateError(
                "%s is being filled by an update; there is nothing else" % label
            )
        raise errors.StateError("%s holds no verified image: it has no trailer" % label)
    if pair.state(pair.other) in (slots.ABORTED, slots.INVALID):
        raise errors.StateError(
            "version %s in %s did not prove itself here and was rolled back"
            % (found.version, label)
        )
    if found.sequence > noted.floor(pair, sequence):
        raise errors.StateError("version %s in %s was never accepted here" % (found.version, label))
    return found


def begin(pair, noted, found, running, buf, tick):
    """Boot what `find` returned. Does not return.

    running: (version, sequence or 0 as above) of the running image; buf, tick: as `rehash` takes
    them. Raises ImageError, FlashError, ActivateError: then everything is as before.
    """
    rehash(pair.other, found, buf, tick)
    noted.keep_accepted(noted.floor(pair, running[1]), 0, 0, "")
    noted.finish(
        phase=journal.ACTIVATED,
        origin=journal.PERSON,
        slot=pair.other.label,
        identity=found.identity.hex(),
        sequence=found.sequence,
        tries=1,
        detail="rolled back by a person from version " + running[0],
    )
    try:
        _boot(pair.other)
    except errors.ActivateError:
        noted.finish()
        raise


def again(board):
    """Repeat a rollback that a power cut broke off. Does not return. Raises OtaError."""
    other, noted, buf = board.slots.other, board.journal, board.buf
    found = read(other, keyring.believed(), buf)
    if found is None or found.identity.hex() != noted.identity:
        raise errors.ImageError("%s no longer holds the image of the rollback" % other.label)
    rehash(other, found, buf, chip.feed)
    noted.save(phase=journal.ACTIVATED, tries=noted.tries + 1)
    _boot(other)


def rehash(slot, found, buf, tick):
    """Compare the image in a slot, and its directory, with the slot's trailer.

    found: installed.Installed; tick(): called ten times on the way. Raises what
    `readback.matching` raises.
    """
    sectors = 1
    for part in found.parts:
        if part:
            sectors += (part.size + slots.SECTOR - 1) // slots.SECTOR
    done, ticks = 0, 0
    for _ in matching(slot, found.parts, found.directory, buf):
        done = min(done + 1, sectors)
        while ticks < _TICKS * done // sectors:
            ticks += 1
            tick()
    while ticks < _TICKS:
        ticks += 1
        tick()


def _boot(slot):
    chip.forget_note()
    slot.set_boot()
    chip.reset()

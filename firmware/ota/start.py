"""The start of an agent: which board this is, which version runs, and which update was in flight.

The signature in the running slot's trailer is verified here, and only here. `recovery` says what
journal and otadata mean.
"""

from . import EVENT_SELF_TEST_FAILED, chip, errors, journal, phases, recovery
from .board import Facts
from .compat import finish
from .defaults import agent_settings, version_word
from .installed import reading
from .settings import require, trusted_keys
from .slots import SECTOR, Slots
from .trust import load_keys


def facts(given, version=None):
    """Return the Facts of this board.

    given: dict as `load_settings` returns it; version: the application's own, or None. Raises
    SettingsError.
    """
    word = None if version is None else version_word(version)
    settings = agent_settings(given)
    product = require(given, "product")
    version, sequence, directory, parts, seal = version or "0.0.0", 0, "", (None, None), b""
    running = Slots().running
    buf = bytearray(SECTOR)
    trailer = running.read_trailer(buf)
    if trailer:
        directory, seal = trailer[1], running.seal(buf)
        try:
            newest = finish(reading(running, load_keys(trusted_keys()), buf))
            version, sequence, parts = newest.version, newest.sequence, newest.parts
        except errors.OtaError:
            pass  # a trailer that is not believed counts as none; the status says why
    return Facts(settings, product, word, running.label, version, sequence, directory, parts, seal)


def recover(engine):
    """Carry out the action that `recovery.decide` names. engine: a new Engine."""
    noted, slots = engine.journal, engine.board.slots
    running, other = slots.running, slots.other
    cause = chip.reset_cause()
    action = recovery.decide(
        noted,
        (running.label, slots.state(running)),
        (other.label, slots.state(other)),
        slots.active_is_running,
        cause,
    )
    engine.told_last()
    if action == recovery.RESET:
        chip.reset()
    elif action == recovery.NO_ROLLBACK:
        if not noted.no_rollback:
            noted.save(no_rollback=True)
    elif action == recovery.TEST:
        engine.prove()
    elif action == recovery.ACCEPTED:
        engine.succeed()
    elif action == recovery.ACTIVATE and noted.origin == journal.PERSON:
        _roll_back_again(engine)
    elif action == recovery.ACTIVATE:
        noted.save(phase=journal.VERIFIED, agreed=True)
    elif action == recovery.FAILED:
        _failed(engine, *recovery.explain(noted, cause, chip.noted()))


def _roll_back_again(engine):
    """Repeat the rollback of a person that a power cut broke off."""
    try:
        phases.ask("rollback", "again", engine.board)
    except errors.OtaError as error:
        engine.finish(error)


def _failed(engine, cause, sentence):
    """End the update whose image did not prove itself: the old one is back."""
    chip.forget_note()
    error = errors.RolledBackError(sentence)
    for kind in (errors.RejectedError, errors.DowngradeError):
        if cause == kind.cause:
            error = kind(sentence)
    error.cause = cause
    engine.finish(error)
    engine.news = EVENT_SELF_TEST_FAILED, error

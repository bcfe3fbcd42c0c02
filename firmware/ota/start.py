"""The start of an agent: the update in flight. `recovery` reads journal and otadata."""

from . import EVENT_SELF_TEST_FAILED, chip, errors, journal, loader, outcome, recovery
from .channel import DUE
from .compat import const

# Causes for which network and power are not to blame.
_ITS_OWN_FAULT = const("crash self_test rejected watchdog returned no_agent not_stepped no_answer")


def recover(engine):
    """Carry out the action that `recovery.decide` names. engine: a new Engine."""
    noted, slots = engine.journal, engine.board.slots
    running, other = slots.running, slots.other
    if engine.board.settings["report"] and not engine.inbox.alone:
        engine.inbox.stats.report = DUE
    note = chip.noted()
    if note and note[3] and not noted.cause:  # boot.py has ended a trial
        noted.cause, _, noted.detail = note[3].partition(" ")
    cause = chip.reset_cause()
    action = recovery.decide(
        noted,
        (running.label, slots.state(running)),
        (other.label, slots.state(other)),
        slots.active_is_running,
        cause,
    )
    outcome.tell_last(engine)
    if noted.armed and cause == "soft":
        chip.loosen_watchdog(engine.board.watchdog_ms)
    elif noted.armed:
        noted.try_save(armed=False)
    if action == recovery.RESET:
        chip.reset()
    elif action == recovery.NO_ROLLBACK:
        if not noted.no_rollback:
            noted.try_save(no_rollback=True)
    elif action == recovery.TEST:
        engine.prove()
    elif action == recovery.ACCEPTED:
        outcome.succeed(engine)
    elif action == recovery.ACTIVATE and noted.origin == journal.PERSON:
        _roll_back_again(engine)
    elif action == recovery.ACTIVATE:
        noted.try_save(phase=journal.VERIFIED, agreed=True)
    elif action == recovery.FAILED:
        _failed(engine, *recovery.explain(noted, cause, note, _reason))


def _reason(wifi):
    return loader.lend("wifi").reason(wifi)


def _roll_back_again(engine):
    """Repeat the rollback of a person that a power cut broke off."""
    try:
        loader.ask("rollback", "again", engine.board)
    except errors.OtaError as error:
        outcome.finish(engine, error)


def _failed(engine, cause, sentence):
    """End the update whose image did not prove itself: the old one is back."""
    chip.forget_note()
    if cause in _ITS_OWN_FAULT.split() and engine.journal.identity:
        try:
            engine.journal.count_failure()
        except errors.FlashError:
            pass  # it may be tried once more; the job must end
    error = errors.RolledBackError(sentence)
    for known in (errors.RejectedError(sentence), errors.DowngradeError(sentence)):
        if cause == known.cause:
            error = known
    error.own_cause = cause
    outcome.finish(engine, error)
    engine.news = EVENT_SELF_TEST_FAILED, error

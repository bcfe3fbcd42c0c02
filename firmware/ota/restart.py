"""What the agent does with what a start finds. Loaded for that; `recovery` says what it means."""

from . import EVENT_SELF_TEST_FAILED, chip, errors, recovery
from . import journal as phases
from .compat import forget


def recover(engine):
    """Carry out what `recovery.decide` makes of journal and otadata. engine: a new Engine."""
    journal, slots = engine.journal, engine.board.slots
    running, other = slots.running, slots.other
    cause = chip.reset_cause()
    action = recovery.decide(
        journal,
        (running.label, slots.state(running)),
        (other.label, slots.state(other)),
        slots.active_is_running,
        cause,
    )
    engine.report()
    if action == recovery.RESET:
        chip.reset()
    elif action == recovery.NO_ROLLBACK:
        if not journal.no_rollback:
            journal.save(no_rollback=True)
    elif action == recovery.TEST:
        engine.test()
    elif action == recovery.ACCEPTED:
        engine.succeed()
    elif action == recovery.ACTIVATE and journal.origin == phases.PERSON:
        _fall_back_again(engine)
    elif action == recovery.ACTIVATE:
        journal.save(phase=phases.VERIFIED, agreed=True)
    elif action == recovery.FAILED:
        _failed(engine, *recovery.explain(journal, cause, chip.noted()))
    forget("restart recovery")


def _fall_back_again(engine):
    """A power cut broke off what a person asked for; see `fallback`."""
    from . import fallback

    try:
        fallback.again(engine.board.slots, engine.journal, engine.board.keys(), engine.board.buf)
    except errors.OtaError as error:
        engine.finish(error)


def _failed(engine, cause, sentence):
    """The new image did not prove itself, and the old one is back."""
    chip.forget_note()
    error = errors.RolledBackError(sentence)
    for kind in (errors.RejectedError, errors.DowngradeError):
        if cause == kind.cause:
            error = kind(sentence)
    error.cause = cause
    engine.finish(error)
    engine.news = EVENT_SELF_TEST_FAILED, error

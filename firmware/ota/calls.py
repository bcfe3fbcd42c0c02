"""The engine's part of the application's calls, which `agent.Agent` has. Loaded for a call."""

from . import chip, errors, journal, loader
from . import engine as states
from .compat import const

_MAX_REASON = const(200)
_MAX_SOURCE = const(800)


def install(engine, source):
    """Begin with an update that no job brings. Raises StateError, SourceError."""
    if engine.in_hand or engine.proof or engine.board.slots.pending:
        raise errors.StateError("an update is in hand already")
    name = source if isinstance(source, str) else ""
    if len(name) > _MAX_SOURCE:  # the journal must remember it
        raise errors.SourceError(
            "the source's name has %d characters, at most %d can be kept" % (len(name), _MAX_SOURCE)
        )
    if engine.journal.origin != journal.LOCAL or engine.journal.source != name:
        engine.journal.finish(origin=journal.LOCAL, source=name)
    try:
        engine.begin_local(source)
    except errors.OtaError as error:
        engine.fail(error)


def activate(engine):
    """Boot the verified image. Raises StateError."""
    if engine.state != states.WAITING:
        raise errors.StateError("there is no verified image to activate")
    engine.become(states.AGREED, agreed=True)
    engine.timer.now()


def accept(engine):
    """Keep the image under test. Raises StateError, ActivateError."""
    if engine.state != states.PROVING:
        raise errors.StateError("there is no image under test to accept")
    engine.proof.accept()
    if engine.proof.agreed:
        loader.lend("outcome").keep(engine)


def reject(engine, reason):
    """Refuse the image under test, or the verified one. Raises StateError."""
    if engine.state == states.PROVING:
        engine.proof.reject(reason[:_MAX_REASON])
    elif engine.state == states.WAITING:
        engine.fail(errors.RejectedError(reason))
    else:
        raise errors.StateError("there is no image to reject")


def abort(engine, reason):
    """Give up the update in hand. Raises StateError."""
    if not engine.in_hand:
        raise errors.StateError("there is no update to abort")
    engine.fail(errors.AbortedError(reason))


def stop(engine):
    """Keep a checkpoint, let go of the update in hand and leave the topics. Raises OSError."""
    chip.feed_for_ever()
    online, engine.inbox.online = engine.inbox.online, False
    if engine.in_hand:
        if engine.state == states.RECEIVING:
            loader.module("transfer").save(engine)
        engine.let_go()
        engine.become(states.ASKING)
    if not engine.active:
        engine.become(states.RESTING)  # start() asks
        engine.tidied = True
    engine.inbox.clear()
    if online:
        engine.channel.close()

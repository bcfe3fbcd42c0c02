"""How an update ends: its result is journalled, let go of, and told until the service has answered.

Lent to the engine when that comes, and loaded at a start, which may find an update that has ended.
"""

from . import EVENT_FAIL, EVENT_UPDATE_COMPLETE, chip, errors, journal
from . import engine as states
from .channel import DUE, FAILED, IN_PROGRESS, SENT, SUCCEEDED, TOLD, status_details
from .compat import const

# A sentence, in a journal that must fit a blob of NVS (characters); in the history.
_MAX_DETAIL = const(500)
_MAX_REMEMBERED = const(96)
_RESULTS = const(8)
# Bytes. A broker that drops messages of so many lets no job document pass, either.
_SMALL_BLOCK = const(1024)


def keep(engine):
    """Keep the image under test, which has proved itself. Raises ActivateError, StateError."""
    board = engine.board
    board.slots.mark_valid()
    chip.loosen_watchdog(board.watchdog_ms)
    engine.journal.armed = True
    succeed(engine)
    chip.forget_note()


def succeed(engine):
    """Note that the new image is VALID in otadata; reporting follows."""
    board, noted = engine.board, engine.journal
    detail = noted.detail
    try:
        board.keep_accepted()
    except errors.OtaError as error:
        detail = str(error)  # the trailer of what runs keeps floor and keys meanwhile
    details = status_details("accepted v" + board.version, detail=detail, version=board.version)
    _end(engine, SUCCEEDED, details)
    engine.news = EVENT_UPDATE_COMPLETE, board.version


def fail(engine, error):
    """End the update in hand with `error`, and tell the application.

    Where no large block of a silent stream came, the job begins again with small ones: a broker
    may drop messages above its limit, and tells nobody.
    """
    settings, path = engine.board.settings, engine.path
    size = settings["block_size"]
    silent = isinstance(error, errors.MomentumError) and not path.refusal
    if not silent or engine.received or size <= _SMALL_BLOCK:
        finish(engine, error)
        engine.tell(EVENT_FAIL, error)
        return
    settings["block_size"] = _SMALL_BLOCK
    job_id = engine.job.job_id
    engine.let_go()
    engine.ask_anew()
    said = "no block of %d bytes comes, blocks of %d are tried" % (size, _SMALL_BLOCK)
    engine.channel.report(job_id, IN_PROGRESS, {"receive": said}, qos=0)


def finish(engine, error):
    """End the update in flight with `error`, without telling the application."""
    details = status_details(
        error.reason(),
        detail=str(error)[:_MAX_DETAIL],
        cause=error.cause,
        version=engine.board.version,
    )
    _end(engine, FAILED, details)


def tell_last(engine):
    """Report the result that is not acknowledged yet, if there is one, else ask for a job."""
    engine.tidied = False
    engine.ask_anew()
    noted = engine.journal
    # It may wait for ever, where there is no network; a local installation does not.
    if noted.result and noted.origin != journal.LOCAL and not engine.inbox.alone:
        engine.become(states.REPORTING)


def drop(engine, why):
    """Let go of the job in hand, if any, without a report: the service ended it."""
    engine.tidied = False
    if engine.journal.job:
        engine.journal.finish()
    if engine.in_hand:
        engine.let_go()
        engine.ask_anew()  # first: the application may begin something else when it hears of it
        engine.tell(EVENT_FAIL, errors.AbortedError(why))


def conclude(noted, status, details, **changes):
    """Journal how the update in flight ended, unacknowledged, then the history.

    noted: journal.Journal; status: SUCCEEDED or FAILED of the job service; details: its
    statusDetails; changes: of the journal's keys. An update without a job has no result to tell,
    and an older result stays unacknowledged. Where NVS takes nothing the result is told from
    memory: after a restart the service names the job again.
    """
    result = noted.result
    if noted.job:
        result = {"job": noted.job, "status": status, "details": details}
    entry = {
        "status": status,
        "origin": noted.origin,
        "job": noted.job,
        "sequence": noted.sequence,
        "version": details.get("version"),
        "cause": details.get("cause", ""),
        "detail": details.get("detail", "")[:_MAX_REMEMBERED],
    }
    phase = journal.ACCEPTED if status == SUCCEEDED else journal.NONE
    try:
        noted.finish(phase=phase, result=result, **changes)
        _remember(noted, entry)
    except errors.FlashError:
        pass


def _end(engine, status, details, **changes):
    conclude(engine.journal, status, details, **changes)
    if engine.inbox.stats.report in (SENT, TOLD):
        engine.inbox.stats.report = DUE  # the last cause has changed
    engine.let_go()
    engine.proof = None
    tell_last(engine)


def _remember(noted, entry):
    """Put an entry at the head of the history. If eight do not fit, older details are shortened."""
    entries = ([entry] + noted.history())[:_RESULTS]
    length = _MAX_REMEMBERED
    while not noted.keep_history(entries):
        if length:
            length -= 8
            for older in entries[1:]:
                older["detail"] = older["detail"][:length]
        else:
            entries.pop()

"""The states of `engine` with the job service: ask for a job, agree on a test, report a result."""

from . import EVENT_PARSE_CUSTOM_JOB, EVENT_RECEIVED_JOB, chip, errors, journal
from . import engine as states
from .channel import READY, RESULT, status_details
from .jobs import HTTP, choose


def asking(engine):
    """Take up a local update again, or ask for a job until the service answers."""
    if engine.journal.origin == journal.LOCAL:
        engine.begin_local(engine.journal.source)
        return 0
    if engine.inbox.alone:
        engine.become(states.RESTING)
        return 0
    if engine.timer.left == 0:
        engine.timer.later()
        engine.channel.ask()
    return engine.timer.left


def taking(engine):
    """Begin with the job that the service names, or go on with it."""
    job, engine.job = engine.job, None
    if job.document is not None:
        _offer(engine, job)
        return 0
    if job.job_id != engine.journal.job:
        engine.journal.finish(job=job.job_id)
    if job.in_self_test and engine.journal.phase == journal.NONE:
        _refuse_stale_test(job, engine.board)
    engine.ask_anew()  # where the callback raises
    engine.tell(EVENT_RECEIVED_JOB, job.job_id)
    settings = engine.board.settings
    path = "json" if settings["stream_json"] else "cbor"
    if choose(job, settings["prefer_http"], chip.fits_tls()) == HTTP:
        path = "http"
    engine.begin(journal.JOB, job, "", path)
    return 0


def waiting(engine):
    """Wait with the verified image for the application's `activate()`."""
    engine.ask_again()
    return states.IDLE_MS


def agreed(engine):
    """Tell the service that a self-test comes, until it has answered."""
    if engine.journal.origin == journal.LOCAL:
        engine.become(states.CONFIRMING)
    elif engine.timer.left == 0:
        engine.timer.later()
        board = engine.board
        mine = board.sequence if engine.journal.sequence else board.word  # which a raw image has
        details = status_details(self_test="ready", updatedBy="0x%x" % mine)
        engine.report(details, token=READY)
    return engine.timer.left


def reporting(engine):
    """Report a result again that is not acknowledged yet."""
    if engine.timer.left == 0:
        engine.timer.later()
        result = engine.journal.result
        engine.channel.report(result["job"], result["status"], result["details"], token=RESULT)
    return engine.timer.left


def _offer(engine, job):
    """Offer a job that is no update to the application, which then reports it by itself."""
    inbox = engine.inbox
    offer = job.job_id, job.queued
    engine.ask_anew()  # where the callback raises
    if offer != inbox.offered:
        if not engine.tell(EVENT_PARSE_CUSTOM_JOB, job):
            engine.journal.finish(job=job.job_id)
            raise job.fault or errors.JobError(
                "afr_ota is missing, and the application has no use for it"
            )
        inbox.offered = offer
    if engine.state == states.ASKING:
        engine.become(states.RESTING)


def _refuse_stale_test(job, board):
    """Refuse a job in self-test when no image is: the journal was lost, or it was rolled back."""
    mine = board.sequence
    if job.updated_by in (mine, board.word):
        raise errors.SameVersionError("the test is over: sequence %d runs again" % mine)
    if job.updated_by > mine:
        raise errors.DowngradeError("the test is over: sequence %d runs" % mine)
    raise errors.StateMismatchError("the job is in self-test, but no image is under test here")

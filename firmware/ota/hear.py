"""Messages of the job service, and each state's answer to them. Loaded while one is read."""

from . import clock, errors, journal, loader
from . import engine as states
from .channel import GIVEN_UP, READY, RESULT, SENT, TOLD
from .jobs import answered_update, is_final, parse, token_of


def hear(engine):
    """Act on the oldest control message. Raises OtaError, which ends the job in hand, OSError."""
    inbox = engine.inbox
    control = inbox.take_control()
    if control is None:
        inbox.missed = False
        engine.check()  # the message that found no room may have announced a job
        return
    topic, payload = control
    channel = engine.channel
    if topic in (channel.get + "/accepted", channel.notify):
        try:
            job, timestamp = parse(payload)
        except errors.JobError as error:
            _on_bad_job(engine, error)
            return
        inbox.refused = 0
        board = engine.board
        clock.set_clock(timestamp, board.clock_bounds(clock.built()), board.settings["tls"])
        if job and job.fault and engine.active:
            _on_bad_job(engine, job.fault)
        else:
            _on_job(engine, job)
    elif topic == channel.get + "/rejected":
        _on_refusal(engine, payload)
    elif inbox.stream and topic == inbox.streamed[1]:
        if engine.path:
            engine.path.refused(payload)
    elif topic.startswith(channel.shadow):
        if inbox.stats.report == SENT and token_of(payload) == engine.token:
            channel.told(TOLD if topic.endswith("/accepted") else GIVEN_UP + "refused")
    else:
        answer = answered_update(topic, channel.things)
        if answer:
            _on_answer(engine, answer[0], answer[1], payload)


def _on_job(engine, job):
    """Take the next job that the service names (jobs.Job), or None."""
    state = engine.state
    if state == states.PROVING:
        engine.proof.on_job(job)
    elif state == states.REPORTING or engine.journal.origin == journal.LOCAL:
        pass  # the queue is asked again when that is over
    elif job is None:
        # With a job in hand this may be a late answer: then the service names the job again.
        in_hand = engine.in_hand
        _drop(engine, "the job was cancelled")
        if not in_hand:
            engine.become(states.RESTING)
        engine.timer.now()
    elif not engine.in_hand or job.job_id != engine.job.job_id:
        if job.job_id != engine.journal.job:
            _drop(engine, "the job was cancelled")
        if not engine.active:  # else the application has begun something else meanwhile
            engine.job = job
            engine.become(states.TAKING)
    elif engine.path and job.document is None:
        engine.path.named(job)


def _on_bad_job(engine, error):
    """Fail the job of a document that cannot be read, unless something else is in hand."""
    if error.job_id and not engine.active:
        engine.journal.try_save(job=error.job_id)
        engine.fail(error)
    elif engine.path:
        engine.path.answered()  # the update in hand goes on, as long as its blocks come


def _on_refusal(engine, payload):
    """Come to rest when the service refuses to name a job: it may not know the thing."""
    if is_final(payload):
        engine.inbox.refused += 1
        if engine.state == states.ASKING and engine.journal.origin != journal.LOCAL:
            engine.become(states.RESTING)


def _on_answer(engine, job_id, accepted, payload):
    """Take the service's answer to a report."""
    token = token_of(payload)
    if engine.state == states.REPORTING:
        if token == RESULT and job_id == engine.journal.result["job"]:
            if accepted or is_final(payload):
                engine.journal.try_save(phase=journal.NONE, result=None)
                engine.ask_anew()
    elif engine.state == states.AGREED:
        if token == READY and job_id == engine.journal.job:
            if accepted:
                engine.become(states.CONFIRMING)
            elif is_final(payload):
                _drop(engine, "the job was ended by the service")


def _drop(engine, why):
    loader.lend("outcome").drop(engine, why)

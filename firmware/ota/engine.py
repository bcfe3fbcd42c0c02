"""The agent's state machine: the phases of an update, and what moves it from one to the next.

Rules
- A step does at most one block of work, then returns.
- Nothing is erased before the head is verified; nothing boots before it is read back and hashed;
  nothing is accepted before it has proved itself (`proving`).
- A transition is written to the journal before it is told to anybody. Results are told until they
  are answered.

Phases are methods: `self._phase()` does what is due and returns the milliseconds until it wants
to run again.
"""

from . import (
    EVENT_ACTIVATE,
    EVENT_FAIL,
    EVENT_PARSE_CUSTOM_JOB,
    EVENT_PROCESSED,
    EVENT_RECEIVED_JOB,
    EVENT_SELF_TEST_FAILED,
    EVENT_UPDATE_COMPLETE,
    channel,
    chip,
    errors,
    jobs,
)
from . import journal as phases
from .board import Board
from .compat import VERIFYING, const, forget
from .inbox import Stats
from .timer import Timer

_IDLE_MS = const(1000)
# A sentence, in a journal that must fit a blob of NVS (characters).
_MAX_DETAIL = const(500)
# Loaded for an update, and forgotten with it.
_OF_ONE_UPDATE = (
    "update streaming fetching stream stream_json cbor pulling http download window fill wide "
    "unpack archive flat directory ustar rehash "
)
_NO_ROLLBACK = (
    "this board's bootloader has no rollback: flash the one of MicroPython 1.21 or later by cable"
)


class Engine:
    """What an Agent is made of. client, thing_name, callback, settings, version: as there.

    board: board.Board; journal: its; stats: inbox.Stats.
    """

    def __init__(self, client, thing_name, callback, settings, version):
        self.callback = callback
        self.board = Board(settings, version)
        self.journal = self.board.journal
        self.stats = Stats()
        chosen = self.board.settings
        self._channel = channel.Channel(client, thing_name, chosen["message_size"], self.stats)
        self._timer = Timer(chosen["request_ms"], chosen["retry_max_ms"])
        # The gate of a local update asks for the broker only where there is one.
        self._alone = client is None
        self._online = False
        self._update = None
        self._proof = None
        self._tidying = None
        self._again = False
        self._offered = ""
        self._news = None
        self._phase = self._ask
        self._recover()

    def _tell(self, event, detail):
        """Hand an event to the application. Returns what it says."""
        return self.callback(event, detail)

    # -- at start ---------------------------------------------------------------------------

    def _recover(self):
        """Carry out what `recovery.decide` makes of journal and otadata."""
        from . import recovery

        slots = self.board.slots
        running, other = slots.running, slots.other
        cause = chip.reset_cause()
        action = recovery.decide(
            self.journal,
            (running.label, slots.state(running)),
            (other.label, slots.state(other)),
            slots.active_is_running,
            cause,
        )
        if action == recovery.RESET:
            chip.reset()
        elif action == recovery.NO_ROLLBACK:
            if not self.journal.no_rollback:
                self.journal.save(no_rollback=True)
        elif action == recovery.TEST:
            from .proving import Proving

            self._proof = Proving(self.board, self._channel, self._timer, self._tell, self._offline)
            self._phase = self._prove
        elif action == recovery.ACCEPTED:
            self._accepted()
        elif action == recovery.ACTIVATE and self.journal.origin == phases.PERSON:
            self._fall_back_again()
        elif action == recovery.ACTIVATE:
            self.journal.save(phase=phases.VERIFIED, agreed=True)
        elif action == recovery.FAILED:
            why, sentence = recovery.explain(self.journal, cause, chip.noted())
            chip.forget_note()
            error = errors.RolledBackError(sentence)
            for kind in (errors.RejectedError, errors.DowngradeError):
                if why == kind.cause:
                    error = kind(sentence)
            error.cause = why
            self._finish(error)
            self._news = EVENT_SELF_TEST_FAILED, error
        if self.journal.result and action != recovery.TEST and not self._alone:
            # It may wait for ever, where there is no network; what is installed here does not.
            self._phase = self._ask if self.journal.origin == phases.LOCAL else self._report
        forget("recovery")

    def _fall_back_again(self):
        """A power cut broke off what a person asked for; see `fallback`."""
        from . import fallback

        try:
            board = self.board
            fallback.again(board.slots, self.journal, board.keys(), board.buf)
        except errors.OtaError as error:
            self._finish(error)

    # -- the loop ---------------------------------------------------------------------------

    def _offline(self):
        """Say whether nothing can be done before the next start()."""
        if self._online or self._alone:
            return False
        if self.journal.origin != phases.LOCAL or self._phase == self._prove:
            return True
        return self._phase == self._ask and self.journal.source.startswith("http")

    def _work(self):
        try:
            message = self._channel.take()
        except errors.JobError as error:
            self._on_bad_job(error)
            return 0
        if message:
            self._on_control(*message)
            return 0
        inbox = self._channel.inbox
        payload = inbox.block()
        if payload is not None:
            try:
                if self._phase == self._go_on:
                    self._update.block(payload)
            finally:
                inbox.block_done()
            return 0
        return self._phase()

    def _on_control(self, kind, *said):
        if kind == channel.JOB:
            job, timestamp = said
            chip.set_clock(timestamp)
            self._on_job(job)
        elif kind == channel.ANSWER:
            self._on_answer(*said)
        elif kind == channel.REFUSAL and self._update and self._update.path:
            self._update.path.refused(said[0])

    def _ask_soon(self):
        if self._phase == self._rest:
            self._phase = self._ask
        if self._phase == self._go_on:
            if self._update.path:
                self._update.path.connected()
        if self._phase in (self._go_on, self._wait_for_application):
            self._again = not self._alone
        self._timer.now()

    def _ask_again(self):
        """With a job in hand: is it still the one to do?"""
        if self._again:
            self._again = False
            self._channel.ask()

    # -- phases -----------------------------------------------------------------------------

    def _ask(self):
        """Nothing in hand: take up a local update again, or ask for a job until it is answered."""
        if self.journal.origin == phases.LOCAL:
            self._take_local(self.journal.source)
            return 0
        if self._alone:
            return _IDLE_MS
        if self._timer.left == 0:
            self._timer.later()
            self._channel.ask()
        return self._timer.left

    def _rest(self):
        """The queue is empty; notify-next will tell. What an update left behind goes meanwhile."""
        if self._tidying is None:
            self._tidying = self.board.tidying()
        for _ in self._tidying:
            return 0
        return _IDLE_MS

    def _go_on(self):
        """An update is in hand: a slice of it."""
        self._ask_again()
        update = self._update
        wait = update.step()
        if self._update is not update:
            return 0  # the callback has let go of it
        if update.pair:
            self._verified()
        elif wait is None:
            self._forget()
            self._ask_anew()
        return wait or 0

    def _verified(self):
        """The other slot, and its directory, hold the update."""
        self._timer.now()
        if self.journal.agreed:
            self._phase = self._tell_ready
        else:
            self._phase = self._wait_for_application
            self._tell(EVENT_ACTIVATE, self._update.pair.newest.version)

    def _wait_for_application(self):
        """The image is verified; `activate()` decides when."""
        self._ask_again()
        return _IDLE_MS

    def _tell_ready(self):
        """Tell the service that a self-test comes, until it has answered."""
        if self.journal.origin == phases.LOCAL:
            self._commit()
        elif self._timer.left == 0:
            self._timer.later()
            raw = self._update.pair.newest.proof
            mine = self.board.word if raw else self.board.sequence
            details = jobs.status_details(self_test="ready", updatedBy="0x%x" % mine)
            self._report_progress(details, token=channel.READY)
        return self._timer.left

    def _commit(self):
        """The service knows: make the new slot boot, and reset. Nothing stands between."""
        journal = self.journal
        slots = self.board.slots
        if slots.active not in (None, slots.running.index):
            raise errors.MismatchError(
                "otadata names a slot that does not run; flash the board by cable"
            )
        journal.save(
            phase=phases.ACTIVATED,
            slot=slots.other.label,
            tries=journal.tries + 1,
        )
        chip.forget_note()
        slots.other.set_boot()
        chip.reset()

    def _prove(self):
        """This image is under test."""
        if self._proof.agreed:
            self._keep()
            return 0
        return self._proof.step()

    def _keep(self):
        """The image under test has proved itself."""
        self.board.slots.mark_valid()
        chip.end_test()
        self._accepted()

    def _report(self):
        """A result is not yet acknowledged: tell it again."""
        if self._timer.left == 0:
            self._timer.later()
            result = self.journal.result
            self._channel.report(
                result["job"], result["status"], result["details"], token=channel.RESULT
            )
        return self._timer.left

    # -- what the service says --------------------------------------------------------------

    def _on_job(self, job):
        """The service names the next job, or None."""
        update = self._update
        if self._phase == self._prove:
            self._proof.on_job(job)
        elif self._phase == self._report or self.journal.origin == phases.LOCAL:
            pass  # the queue is asked again when that is over
        elif job is None:
            # With a job in hand this may also be a late answer: then it is named again.
            self._phase = self._rest if update is None else self._ask
            self._drop("the job was cancelled")
            self._timer.now()
        elif update is None or job.job_id != update.job_id:
            if job.job_id != self.journal.job:
                self._drop("the job was cancelled")
            if self._update is None:
                self._take(job)
        elif update.path and not job.custom:
            update.path.named(job)

    def _on_bad_job(self, error):
        """A document that cannot be read fails its own job, unless something else is in hand."""
        if error.job_id and self._phase in (self._ask, self._rest):
            self.journal.save(job=error.job_id)
            self._fail(error)
        elif self._update and self._update.path:
            self._update.path.answered()  # what is in hand goes on, as long as its blocks come

    def _on_answer(self, job_id, token, accepted, final):
        """The service answers a report."""
        if self._phase == self._report:
            if token == channel.RESULT and job_id == self.journal.result["job"]:
                if accepted or final:
                    self.journal.save(phase=phases.NONE, result=None)
                    self._ask_anew()
        elif self._phase == self._tell_ready:
            if token == channel.READY and job_id == self.journal.job:
                if accepted:
                    self._commit()
                elif final:
                    self._drop("the job was ended by the service")

    def _ask_anew(self):
        self._phase = self._ask
        self._timer.now()

    # -- one update -------------------------------------------------------------------------

    def _take(self, job):
        """Begin with `job`, or go on with it. Raises OtaError; the job then fails with it."""
        journal = self.journal
        if job.custom:
            self._offer(job)
            return
        if job.job_id != journal.job:
            journal.finish(job=job.job_id)
        if job.in_self_test and journal.phase == phases.NONE:
            self._refuse_stale_test(job)
        self._tell(EVENT_RECEIVED_JOB, job.job_id)
        self._begin(phases.JOB, job, lambda: self._data_path(job))

    def _offer(self, job):
        """The document is not ours: the application may take it, and then reports it by itself."""
        self._phase = self._rest
        if job.job_id == self._offered:
            return
        if not self._tell(EVENT_PARSE_CUSTOM_JOB, job):
            self.journal.finish(job=job.job_id)
            raise errors.JobError("afr_ota is missing, and the application has no use for it")
        self._offered = job.job_id

    def _data_path(self, job):
        """Return how the job's file comes. Raises DataPathError."""
        settings = self.board.settings
        if jobs.choose(job, settings["prefer_http"], chip.fits_tls()) == jobs.HTTP:
            from .fetching import Fetching

            return Fetching(self._channel, job, settings)
        from .streaming import Streaming

        return Streaming(self._channel, job, settings)

    def _take_local(self, source):
        """Begin with a local update, or go on with it."""
        from .pulling import pulled

        board = self.board
        self._begin(
            phases.LOCAL,
            None,
            lambda: pulled(source, self._channel.inbox.lend(), board.settings),
            self.journal.source,
        )

    def _begin(self, origin, job, connect, source=""):
        if self.journal.no_rollback:
            raise errors.MismatchError(_NO_ROLLBACK)
        from .update import Update

        self._update = Update(self.board, origin, job, connect, self._on_progress, source)
        self._phase = self._go_on
        self._tidying = None
        if self.journal.phase == phases.VERIFIED:
            self._update.go_on()

    def _refuse_stale_test(self, job):
        """The service believes in a test this board knows nothing of: journal lost, rolled back."""
        mine = self.board.sequence
        if job.updated_by in (mine, self.board.word):
            raise errors.SameVersionError("the test is over: sequence %d runs again" % mine)
        if job.updated_by > mine:
            raise errors.DowngradeError("the test is over: sequence %d runs" % mine)
        raise errors.StateMismatchError("the job is in self-test, but no image is under test here")

    def _on_progress(self, before, received, blocks):
        """So many blocks have come, `before` of them earlier."""
        self._tell(EVENT_PROCESSED, received)
        every = self.board.settings["status_blocks"]
        if self.journal.job and received < blocks:
            if not before or received // every != before // every:
                self._report_progress({"receive": "%d/%d" % (received, blocks)}, qos=0)

    def _report_progress(self, details, qos=1, token=None):
        self._channel.report(self.journal.job, jobs.IN_PROGRESS, details, qos, token)

    # -- how it ends ------------------------------------------------------------------------

    def _accepted(self):
        """The new image is VALID in otadata: note it in one write, then tell."""
        version, sequence = self.board.version, self.board.sequence
        details = jobs.status_details(
            "accepted v" + version, detail=self.journal.detail, version=version
        )
        self._end(
            jobs.SUCCEEDED, details, floor=max(self.journal.floor, self.journal.sequence, sequence)
        )
        self._news = EVENT_UPDATE_COMPLETE, version

    def _fail(self, error):
        """The job in hand ends with `error`."""
        self._finish(error)
        self._tell(EVENT_FAIL, error)

    def _finish(self, error):
        details = jobs.status_details(
            error.reason(),
            detail=str(error)[:_MAX_DETAIL],
            cause=error.cause,
            version=self.board.version,
        )
        self._end(jobs.FAILED, details)

    def _end(self, status, details, **changes):
        """Journal how the job ended, unacknowledged; reporting follows."""
        self.journal.conclude(status, details, **changes)
        self._forget()
        if self._proof:
            self._proof = None
            forget("proving")
        self._phase = self._report if self.journal.result and not self._alone else self._ask
        self._timer.now()

    def _drop(self, why):
        """Let go of the job in hand, if any, without a report: the service ended it."""
        if self.journal.job:
            self.journal.finish()
        if self._update:
            self._forget()
            self._ask_anew()  # first: the application may begin something else when it hears of it
            self._tell(EVENT_FAIL, errors.AbortedError(why))

    def _forget(self):
        update, self._update = self._update, None
        if update:
            update.close()
            forget(_OF_ONE_UPDATE + VERIFYING)

"""The agent's state machine: the phases of an update, and what moves it from one to the next.

Loaded while there is something to do; `agent` is what stays.

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
    EVENT_UPDATE_COMPLETE,
    channel,
    chip,
    errors,
    jobs,
)
from . import journal as phases
from .board import Board
from .compat import VERIFYING, const, forget
from .timer import Timer

_IDLE_MS = const(1000)
_MAX_SOURCE = const(800)
_MAX_REASON = const(200)
# A sentence, in a journal that must fit a blob of NVS (characters).
_MAX_DETAIL = const(500)
# Loaded for an update, and forgotten with it.
_OF_ONE_UPDATE = const(
    "update making streaming fetching stream stream_json cbor pulling http download window fill "
    "wide unpack archive room cleanup flat directory ustar rehash "
)
_NO_ROLLBACK = const(
    "this board's bootloader has no rollback: flash the one of MicroPython 1.21 or later by cable"
)


class Engine:
    """What an agent does. Its calls are those of `agent.Agent`, whose lock is held.

    identity: identity.Identity; inbox: inbox.Inbox; client, thing_name: as there; tell(event,
    detail): to the application, returns what that says.
    board: board.Board; journal: its; update, proof: the update in hand and the test under way, else
    None; news: an event to be told first, and its detail, else None.
    """

    def __init__(self, identity, inbox, client, thing_name, tell):
        self.board = Board(identity)
        self.journal = self.board.journal
        self.update = None
        self.proof = None
        self.news = None
        self._inbox = inbox
        self._tell = tell
        self._channel = channel.Channel(client, thing_name, inbox)
        settings = self.board.settings
        self._timer = Timer(settings["request_ms"], settings["retry_max_ms"])
        self._tidying = ()  # done before the last rest
        self._again = False
        self._phase = self._rest

    @property
    def active(self):
        """Whether anything is in hand, under test, or still to be told to the service."""
        return self._phase not in (self._ask, self._rest)

    @property
    def resting(self):
        """Whether only a message or a call brings something to do."""
        done = self._phase == self._rest and self._tidying == ()
        return done and not self._inbox.waiting and not self._inbox.missed

    @property
    def image_state(self):
        """The running image's state in otadata, or None."""
        return self.board.slots.state(self.board.slots.running)

    @property
    def progress(self):
        """(blocks received, blocks in all), None without a download."""
        return self.update and self.update.progress

    @property
    def offline(self):
        """Whether nothing can be done before the next start()."""
        if self._inbox.reached:
            return False
        if self.journal.origin != phases.LOCAL or self._phase == self._prove:
            return True
        return self._phase == self._ask and self.journal.source.startswith("http")

    # -- at start, see restart ----------------------------------------------------------------

    def test(self):
        """What runs has yet to prove itself."""
        from .proving import Proving

        self.proof = Proving(self.board, self._channel, self._timer, self._tell)
        self._phase = self._prove

    def report(self):
        """Nothing is in hand; a result may be that nobody has acknowledged."""
        self._tidying = None
        self._phase = self._ask
        # It may wait for ever, where there is no network; what is installed here does not.
        if self.journal.result and self.journal.origin != phases.LOCAL and not self._inbox.alone:
            self._phase = self._report

    # -- what the application asks ----------------------------------------------------------

    def connect(self):
        """The client has connected. Raises OSError when it fails."""
        self._channel.open()
        if self.update:
            self.update.connected()
        if self.proof:
            self.proof.connected()
        self.check()

    def check(self):
        """Ask the service now."""
        if self._phase == self._rest:
            self._phase = self._ask
        if self._phase == self._go_on:
            if self.update.path:
                self.update.path.connected()
        if self._phase in (self._go_on, self._wait_for_application):
            self._again = not self._inbox.alone
        self._timer.now()

    def install(self, source):
        """Begin with what no job brings. Raises StateError, SourceError."""
        idle = self._phase in (self._ask, self._rest, self._report)
        if not idle or self.board.slots.pending:
            raise errors.StateError("an update is in hand already")
        name = source if isinstance(source, str) else ""
        if len(name) > _MAX_SOURCE:  # the journal must remember it
            raise errors.SourceError("%d characters are no name to be kept" % len(name))
        if self.journal.origin != phases.LOCAL or self.journal.source != name:
            self.journal.finish(origin=phases.LOCAL, source=name)
        try:
            self._take_local(source)
        except errors.OtaError as error:
            self.fail(error)

    def activate(self):
        """Boot what is verified. Raises StateError."""
        if self._phase != self._wait_for_application:
            raise errors.StateError("there is no verified image to activate")
        self.journal.save(agreed=True)
        self._phase = self._tell_ready
        self._timer.now()

    def accept(self):
        """Keep what is under test. Raises StateError, ActivateError."""
        if not self.proof:
            raise errors.StateError("there is no image under test to accept")
        self.proof.accept()
        if self.proof.agreed:
            self._keep()

    def reject(self, reason):
        """Refuse what is under test, or verified. Raises StateError."""
        if self.proof:
            self.journal.save(cause=errors.RejectedError.cause, detail=reason[:_MAX_REASON])
            chip.reset()
        elif self._phase == self._wait_for_application:
            self.fail(errors.RejectedError(reason))
        else:
            raise errors.StateError("there is no image to reject")

    def abort(self, reason):
        """Give up what is in hand. Raises StateError."""
        if self.update is None:
            raise errors.StateError("there is no update to abort")
        self.fail(errors.AbortedError(reason))

    def stop(self):
        """Keep a checkpoint, let go of the update in hand, leave the topics. Raises OSError."""
        online, self._inbox.online = self._inbox.online, False
        if self.update:
            self.update.save()
            self._forget()
            self._phase = self._ask
        if not self.active:
            self._phase = self._rest  # start() asks
            self._tidying = ()
        self._inbox.clear()
        if online:
            self._channel.close()

    # -- the loop ---------------------------------------------------------------------------

    def work(self):
        """Do at most one block of work. Returns the milliseconds until it wants to run again.

        Raises OSError of the client, OtaError, which ends the job: `fail` is to be called.
        """
        try:
            message = self._channel.take()
        except errors.JobError as error:
            self._on_bad_job(error)
            return 0
        if message:
            self._on_control(*message)
            return 0
        if self._inbox.missed:
            self._inbox.missed = False
            self.check()  # it may have been the news of a job
        inbox = self._inbox
        payload = inbox.block()
        if payload is not None:
            try:
                if self._phase == self._go_on:
                    self.update.block(payload)
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
        elif kind == channel.REFUSAL and self.update and self.update.path:
            self.update.path.refused(said[0])

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
        if self._inbox.alone:
            self._phase = self._rest
            return 0
        if self._timer.left == 0:
            self._timer.later()
            self._channel.ask()
        return self._timer.left

    def _rest(self):
        """The queue is empty; notify-next will tell. What an update left behind goes meanwhile."""
        if self._tidying is None:
            # What a download has brought so far is named by no trailer either.
            receiving = self.journal.phase == phases.RECEIVING
            self._tidying = () if receiving else self.board.tidying()
        for _ in self._tidying:
            return 0
        self._tidying = ()
        return _IDLE_MS

    def _go_on(self):
        """An update is in hand: a slice of it."""
        self._ask_again()
        update = self.update
        wait = update.step()
        if self.update is not update:
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
            self._tell(EVENT_ACTIVATE, self.update.pair.newest.version)

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
            raw = self.update.pair.newest.proof
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
        if self.proof.agreed:
            self._keep()
            return 0
        return self.proof.step()

    def _keep(self):
        """The image under test has proved itself."""
        self.board.slots.mark_valid()
        chip.end_test()
        self.succeed()

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
        update = self.update
        if self._phase == self._prove:
            self.proof.on_job(job)
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
            if self.update is None:
                self._take(job)
        elif update.path and not job.custom:
            update.path.named(job)

    def _on_bad_job(self, error):
        """A document that cannot be read fails its own job, unless something else is in hand."""
        if error.job_id and self._phase in (self._ask, self._rest):
            self.journal.save(job=error.job_id)
            self.fail(error)
        elif self.update and self.update.path:
            self.update.path.answered()  # what is in hand goes on, as long as its blocks come

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
        self._ask_anew()  # where the callback raises
        self._tell(EVENT_RECEIVED_JOB, job.job_id)
        self._begin(phases.JOB, job, lambda: self._data_path(job))

    def _offer(self, job):
        """The document is not ours: the application may take it, and then reports it by itself."""
        offer = job.job_id, job.queued
        self._ask_anew()  # where the callback raises
        if offer != self._inbox.offered:
            if not self._tell(EVENT_PARSE_CUSTOM_JOB, job):
                self.journal.finish(job=job.job_id)
                raise errors.JobError("afr_ota is missing, and the application has no use for it")
            self._inbox.offered = offer
        if self._phase == self._ask:
            self._phase = self._rest

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
        self._ask_anew()  # where memory is short in what follows
        from .pulling import pulled

        board = self.board
        again = self.journal.phase != phases.NONE
        self._begin(
            phases.LOCAL,
            None,
            lambda: pulled(source, self._inbox, board.settings, again),
            self.journal.source,
        )

    def _begin(self, origin, job, connect, source=""):
        if self.journal.no_rollback:
            raise errors.MismatchError(_NO_ROLLBACK)
        self._ask_anew()  # where memory is short in what follows
        from .update import Update

        self.update = Update(self.board, origin, job, connect, self._on_progress, source)
        self._phase = self._go_on
        self._tidying = None
        if self.journal.phase == phases.VERIFIED:
            self.update.go_on()

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

    def succeed(self):
        """The new image is VALID in otadata: note it in one write, then tell."""
        version, sequence = self.board.version, self.board.sequence
        details = jobs.status_details(
            "accepted v" + version, detail=self.journal.detail, version=version
        )
        self._end(
            jobs.SUCCEEDED, details, floor=max(self.journal.floor, self.journal.sequence, sequence)
        )
        self.news = EVENT_UPDATE_COMPLETE, version

    def fail(self, error):
        """The job in hand ends with `error`."""
        self.finish(error)
        self._tell(EVENT_FAIL, error)

    def finish(self, error):
        """The update in flight has ended with `error`; the application is not told."""
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
        if self.proof:
            self.proof = None
            forget("proving")
        self.report()
        self._timer.now()

    def _drop(self, why):
        """Let go of the job in hand, if any, without a report: the service ended it."""
        self._tidying = None
        if self.journal.job:
            self.journal.finish()
        if self.update:
            self._forget()
            self._ask_anew()  # first: the application may begin something else when it hears of it
            self._tell(EVENT_FAIL, errors.AbortedError(why))

    def _forget(self):
        update, self.update = self.update, None
        if update:
            update.close()
            self._inbox.close()  # of a data path that could not be made
            forget(_OF_ONE_UPDATE + VERIFYING)

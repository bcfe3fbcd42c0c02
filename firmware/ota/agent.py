"""The OTA agent: one update from job to acceptance, beside the running application.

Rules
- The MQTT callback only queues; `step()` does at most one block of work, then returns.
- Nothing is erased before the head is verified; nothing boots before it is read back and hashed;
  nothing is accepted before the job service, reached over the network, still names the job and
  the application agrees.
- A transition is written to the journal before it is told to anybody. Results are told until they
  are answered.
- An OSError of the client passes through `step()`: it means a lost link. The application
  connects again and calls `start()`; the update goes on where it was.

Phases are methods: `self._phase()` does what is due and returns the milliseconds until it wants
to run again.
"""

from . import channel, chip, jobs, package, recovery, slots, trust
from . import journal as phases
from .compat import const, sleep_ms, ticks_ms
from .download import Download, Readback
from .errors import (
    AbortedError,
    DowngradeError,
    JobError,
    MismatchError,
    MomentumError,
    OtaError,
    RejectedError,
    RolledBackError,
    SameVersionError,
    StateError,
    StateMismatchError,
)
from .inbox import Stats
from .settings import agent_settings, require, trusted_keys
from .slices import finish
from .timer import Timer

NOT_READY = "NotReady"
READY = "Ready"
ACTIVE = "Active"
SHUTTING_DOWN = "ShuttingDown"
SUSPENDED = "Suspended"

EVENT_ACTIVATE = "Activate"
EVENT_FAIL = "Fail"
EVENT_START_TEST = "StartTest"

_IDLE_MS = const(1000)
# Longest sleep of run() and the thread, so that a message is not kept waiting (ms).
_LOOP_MS = const(20)
_NO_ROLLBACK = (
    "this board's bootloader has no rollback: flash the one of MicroPython 1.21 or later by cable"
)


class Agent:
    """The agent of one board. `Agent.current` is the newest one made.

    client: anything with `publish(topic, msg, qos=)` and `subscribe(topic, qos)`; thing_name (str);
    callback(event, detail): the application's, None for the default one, which activates and
    accepts at once; settings: dict as `load_settings` returns it.
    running: (version, sequence) of the running image, from its trailer; ("0.0.0", 0) without one.
    stepped: ticks_ms of the last step().
    Raises SettingsError.
    """

    current = None

    def __init__(self, client, thing_name, callback=None, *, settings=None):
        given = settings or {}
        self._settings = agent_settings(given)
        self._product = require(given, "product")
        self._callback = callback or self._default_callback
        self.stats = Stats()
        self._channel = channel.Channel(
            client, thing_name, self._settings["block_size"], self.stats
        )
        self._timer = Timer(self._settings["request_ms"], self._settings["retry_max_ms"])
        self._buf = bytearray(slots.SECTOR)
        self._slots = slots.Slots()
        self.journal = phases.Journal()
        # Verifying takes a while: what runs is read before the first step.
        manifest = finish(self._reading_trailer(self._slots.running))
        self.running = (manifest.version, manifest.sequence) if manifest else ("0.0.0", 0)
        self._slices = None
        self._online = False
        self._gate = READY
        self._job = None
        self._download = None
        self._readback = None
        self._manifest = None
        self._silent = False
        self._momentum = 0
        self._refusal = ""
        self._named = False
        self._consent = False
        self._tested = False
        self.stepped = ticks_ms()
        self._phase = self._ask
        self._recover()
        Agent.current = self

    # -- what the application calls ---------------------------------------------------------

    @property
    def state(self):
        """NotReady before start(); then Ready without a job, Active with one; Suspended."""
        if self._gate != READY:
            return self._gate
        if not self._online:
            return NOT_READY
        return READY if self._phase in (self._ask, self._rest) else ACTIVE

    @property
    def image_state(self):
        """The running image's otadata state, one of `slots.NEW` ... `slots.ABORTED`, or None."""
        return self._slots.state(self._slots.running)

    @property
    def slot(self):
        """Label of the slot that runs, as "ota_0"."""
        return self._slots.running.label

    @property
    def progress(self):
        """(blocks received, blocks in all) of the download in hand, None without one."""
        download = self._download
        return None if download is None else (download.received, download.blocks)

    @property
    def missing(self):
        """What the image under test lacks beside the application's yes.

        "self-test": boot.py's own was broken off, so that it can not be accepted; "job": the job
        service has not named the job yet; None. A rollback by a person needs no job.
        """
        if not self._tested:
            return "self-test"
        return None if self._named or self.journal.origin == phases.PERSON else "job"

    def start(self):
        """Subscribe and begin, or go on. To be called after every successful connect.

        Raises OSError when the client does.
        """
        self._channel.open()
        if self._gate != SUSPENDED:
            self._gate = READY
        self._online = True
        self._named = False
        self._ask_soon()

    def on_message(self, topic, payload):
        """Take a message from the MQTT callback. Only copies. False: the topic is not ours.

        topic: bytes; payload: bytes or a view that is valid during the call.
        """
        return self._channel.put(topic, payload)

    def step(self):
        """Do at most one block of work. Returns the milliseconds until it wants to run again.

        Raises OSError when the client does, FlashError when the journal cannot be written.
        """
        chip.feed()
        self.stepped = ticks_ms()
        if self._gate != READY or not self._online:
            return _IDLE_MS
        try:
            return self._work()
        except OSError:
            self._online = False
            raise
        except StateError:
            raise  # the application's own call was out of season; no job ends for that
        except OtaError as error:
            self._fail(error)
            return 0

    async def run(self):
        """Step for ever, in asyncio. Whoever feeds `on_message` runs beside it.

        Raises OSError when the client does; await it again after the next start().
        """
        import asyncio

        while True:
            await asyncio.sleep(min(self.step(), _LOOP_MS) / 1000)

    def start_thread(self):
        """Step in a thread of its own until the agent stops or the client fails.

        For clients that may be used from several threads.
        """
        import _thread

        _thread.start_new_thread(self._loop, ())

    def _loop(self):
        while self._online:
            try:
                sleep_ms(min(self.step(), _LOOP_MS))
            except OSError:
                return  # step() has noted it: state is NotReady until the next start()

    def check_for_update(self):
        """Ask the job service now. Raises StateError before start()."""
        if not self._online:
            raise StateError("call start() after connecting first")
        self._ask_soon()

    def activate(self):
        """Boot into the verified image as soon as the service has heard of it.

        Raises StateError when no verified image waits.
        """
        if self._phase != self._wait_for_application:
            raise StateError("there is no verified image to activate")
        self.journal.save(agreed=True)
        self._phase = self._tell_ready
        self._timer.now()

    def accept(self):
        """Agree to keep the image under test. Final once nothing is `missing`.

        Raises StateError when no image is being tested, ActivateError.
        """
        if self._phase != self._prove:
            raise StateError("there is no image under test to accept")
        if self.missing:
            self._consent = True
        else:
            self._keep()

    def reject(self, reason="rejected by the application"):
        """Refuse the image under test (resets, the old image returns), or the verified one."""
        if self._phase == self._prove:
            self.journal.save(cause=RejectedError.cause, detail=reason)
            chip.reset()
        elif self._phase == self._wait_for_application:
            self._fail(RejectedError(reason))
        else:
            raise StateError("there is no image to reject")

    def abort(self, reason="aborted by the application"):
        """Give up the update in hand before it is activated. Raises StateError without one."""
        if self._job is None or self._phase in (self._prove, self._report):
            raise StateError("there is no update to abort")
        self._fail(AbortedError(reason))

    def suspend(self):
        """Stop working until resume(); what was received stays."""
        self._gate = SUSPENDED

    def resume(self):
        """Go on after suspend(). Raises StateError when not suspended."""
        if self._gate != SUSPENDED:
            raise StateError("the agent is not suspended")
        self._gate = READY
        self._ask_soon()

    def shutdown(self):
        """Stop for good; the journal keeps an update in flight. `start()` begins again."""
        self._online = False
        self._gate = NOT_READY

    # -- what runs --------------------------------------------------------------------------

    def _reading_trailer(self, slot):
        """Return the verified manifest in `slot`'s trailer, or None. A generator of slices."""
        trailer = slot.read_trailer(self._buf)
        if trailer is None:
            return None
        try:
            return (yield from package.parsing_record(trailer[0], self._keys()))
        except OtaError:
            return None

    def _keys(self):
        return trust.load_keys(trusted_keys())

    def _floor(self):
        """The highest sequence this board has accepted: journal or running, valid trailer."""
        if self.image_state == slots.VALID:
            return max(self.journal.floor, self.running[1])
        return self.journal.floor

    # -- at start ---------------------------------------------------------------------------

    def _recover(self):
        """Carry out what `recovery.decide` makes of journal and otadata."""
        running, other = self._slots.running, self._slots.other
        cause = chip.reset_cause()
        action = recovery.decide(
            self.journal,
            (running.label, self._slots.state(running)),
            (other.label, self._slots.state(other)),
            self._slots.active_is_running,
            cause,
        )
        if action == recovery.RESET:
            chip.reset()
        elif action == recovery.NO_ROLLBACK:
            if not self.journal.no_rollback:
                self.journal.save(no_rollback=True)
        elif action == recovery.TEST:
            note = chip.noted()
            self._tested = note is None or note[0] not in ("boot", "selftest")
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
            rejected = why == RejectedError.cause
            error = RejectedError(sentence) if rejected else RolledBackError(sentence, why)
            self._finish(jobs.FAILED, error)
        if self.journal.result and action != recovery.TEST:
            self._phase = self._report

    def _fall_back_again(self):
        """A power cut broke off what a person asked for; see `fallback`."""
        from . import fallback

        try:
            fallback.again(self._slots, self.journal, self._keys(), self._buf)
        except OtaError as error:
            self._finish(jobs.FAILED, error)

    # -- the loop ---------------------------------------------------------------------------

    def _work(self):
        try:
            message = self._channel.take()
        except JobError as error:
            self._on_bad_job(error)
            return 0
        if message:
            self._on_message(*message)
            return 0
        inbox = self._channel.inbox
        payload = inbox.block()
        if payload is not None:
            try:
                self._on_block(payload)
            finally:
                inbox.block_done()
            return 0
        return self._phase()

    def _on_message(self, kind, *said):
        if kind == channel.JOB:
            job, timestamp = said
            chip.set_clock(timestamp)
            self._on_job(job)
        elif kind == channel.ANSWER:
            self._on_answer(*said)
        elif kind == channel.REFUSAL:
            self._refusal = said[0]

    def _ask_soon(self):
        if self._phase == self._rest:
            self._phase = self._ask
        self._silent = False
        if self._phase in (self._receive, self._verify):
            self._channel.ask()
        self._timer.now()

    # -- phases -----------------------------------------------------------------------------

    def _ask(self):
        """No job in hand: ask for one until there is an answer."""
        if self._timer.left == 0:
            self._timer.later()
            self._channel.ask()
        return self._timer.left

    def _rest(self):
        """The queue is empty; notify-next will tell."""
        return _IDLE_MS

    def _receive(self):
        """Blocks are on their way: ask for more when all have come, or when it stays silent."""
        if self._download.idle or self._channel.inbox.lost_block:
            self._request_blocks()
            return 0  # while the blocks are on their way, the flash has work
        if self._timer.left == 0:
            self._silent = True
            self._channel.ask()
            self._request_blocks()
        elif self._download.work():
            return 0
        return self._timer.left

    def _request_blocks(self):
        self._timer.after(self._settings["request_ms"])
        self._channel.request(self._download)

    def _verify(self):
        """A signature is being verified, a slice per step; the last one sets the next phase."""
        try:
            next(self._slices)
        except StopIteration:
            self._slices = None
            if self._phase == self._verify:
                # Broken off earlier by an error that ends no job, as of memory: begin anew.
                self._forget_job()
                self._ask_anew()
        return 0

    def _check(self):
        """Read the image back and hash it, a sector per step."""
        if not self._readback.step():
            return 0
        self._readback = None
        journal = self.journal
        if journal.phase != phases.VERIFIED:
            directory = self._slots.running.read_trailer(self._buf)
            self._slots.other.write_trailer(
                self._manifest.record, directory[1] if directory else "", self._buf
            )
            journal.save(phase=phases.VERIFIED, next=0)
        self._download = None
        if journal.agreed:
            self._phase = self._tell_ready
        else:
            self._phase = self._wait_for_application
            self._callback(EVENT_ACTIVATE, self._manifest.version)
        self._timer.now()
        return 0

    def _wait_for_application(self):
        """The image is verified; `activate()` decides when."""
        return _IDLE_MS

    def _tell_ready(self):
        """Tell the service that a self-test comes, until it has answered."""
        if self._timer.left == 0:
            self._timer.later()
            details = jobs.status_details(self_test="ready", updatedBy="0x%x" % self.running[1])
            self._report_progress(details, token=channel.READY)
        return self._timer.left

    def _commit(self):
        """The service knows: make the new slot boot, and reset. Nothing stands between."""
        journal = self.journal
        other = self._slots.other
        if self._slots.active not in (None, self._slots.running.index):
            raise MismatchError("otadata names a slot that does not run; flash the board by cable")
        journal.save(
            phase=phases.ACTIVATED,
            slot=other.label,
            tries=journal.tries + 1,
        )
        chip.forget_note()
        other.set_boot()
        chip.reset()

    def _prove(self):
        """This image is under test: reach the service, hear the job named, ask the application."""
        if not self._tested:
            return _IDLE_MS  # boot.py's self-test was broken off: only the deadline follows
        if self._consent and not self.missing:
            self._keep()
            return 0
        if self.journal.origin == phases.PERSON and not self._named:
            self._named = True  # by a person, not by the service
            self._callback(EVENT_START_TEST, self.running[0])
            return 0
        chip.note("handler" if self._named else "broker")
        if self._timer.left == 0 and not self._named:
            self._timer.later()
            self._channel.ask()
        return min(self._timer.left, _IDLE_MS)

    def _keep(self):
        """The image under test has proved itself."""
        self._slots.mark_valid()
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
        if self._phase == self._prove:
            self._on_job_under_test(job)
        elif self._phase == self._report:
            pass  # the queue is asked again once the result is acknowledged
        elif job is None:
            # With a job in hand this may also be a late answer: then it is named again.
            self._phase = self._rest if self._job is None else self._ask
            self._drop("the job was cancelled")
            self._timer.now()
        elif self._job is None or job.job_id != self._job.job_id:
            if job.job_id != self.journal.job:
                self._drop("the job was cancelled")
            self._take(job)
        elif self._silent and self._phase == self._receive:
            self._silent = False
            self._momentum += 1
            if self._momentum >= self._settings["momentum"]:
                raise MomentumError(
                    "the service names the job, but sends no block of its stream (%s)"
                    % self._refusal
                )

    def _on_job_under_test(self, job):
        known = self.journal.job
        if job is None or self._named or (known and job.job_id != known):
            return
        if self.journal.origin == phases.PERSON:
            return  # jobs come after the test
        if not known:
            if not job.in_self_test:
                return
            self.journal.save(phase=phases.TESTING, job=job.job_id, slot=self._slots.running.label)
        self._named = True
        self._job = job
        details = jobs.status_details(self_test="active", updatedBy="0x%x" % self.running[1])
        self._report_progress(details)
        if not self._consent:
            self._callback(EVENT_START_TEST, self.running[0])

    def _on_bad_job(self, error):
        """A document that cannot be read fails its own job, unless something else is in hand."""
        if error.job_id and self._phase in (self._ask, self._rest):
            self.journal.save(job=error.job_id)
            self._fail(error)

    def _on_answer(self, job_id, token, accepted, final):
        """The service answers a report."""
        if self._phase == self._report:
            if token == channel.RESULT and job_id == self.journal.result["job"]:
                if accepted or final:
                    self.journal.save(phase=phases.NONE, result=None)
                    self._ask_anew()
        elif self._phase == self._tell_ready:
            if token == channel.READY and job_id == self._job.job_id:
                if accepted:
                    self._commit()
                elif final:
                    self._drop("the job was ended by the service")
                    self._ask_anew()

    def _ask_anew(self):
        self._phase = self._ask
        self._timer.now()

    # -- one job ----------------------------------------------------------------------------

    def _take(self, job):
        """Begin with `job`, or go on with it. Raises OtaError; the job then fails with it."""
        journal = self.journal
        self._job = job
        self._momentum = 0
        self._silent = False
        self._refusal = "no answer"
        mine = job.job_id == journal.job
        if mine and journal.phase == phases.VERIFIED:
            self._slices = self._going_on(job)
            self._phase = self._verify
            return
        if not mine:
            journal.finish(job=job.job_id)
        self._begin(job)

    def _going_on(self, job):
        """The other slot holds this job's image, says the journal. A generator of slices."""
        manifest = yield from self._reading_trailer(self._slots.other)
        if manifest and manifest.identity.hex() == self.journal.identity:
            self._manifest = manifest
            firmware = manifest.component(package.FIRMWARE)
            self._readback = Readback(self._slots.other, firmware, self._buf)
            self._phase = self._check
        else:
            self._begin(job)

    def _begin(self, job):
        """Start with the head of what `job` offers. Raises OtaError."""
        journal = self.journal
        if job.in_self_test and journal.phase == phases.NONE:
            self._refuse_stale_test(job)
        if journal.no_rollback:
            raise MismatchError(_NO_ROLLBACK)
        if job.stream is None or "MQTT" not in job.protocols:
            raise JobError("the job offers no MQTT stream")
        self._download = Download(
            job,
            self._slots.other,
            self._keys(),
            self._admit,
            self._settings["block_size"],
            self._settings["window"],
            self._settings["wide_writes"],
            self._buf,
        )
        self._phase = self._receive
        self._timer.now()
        self._channel.open_stream(job.stream)

    def _refuse_stale_test(self, job):
        """The service believes in a test this board knows nothing of: journal lost, rolled back."""
        mine = self.running[1]
        if job.updated_by == mine:
            raise SameVersionError("the test is over: sequence %d runs again" % mine)
        if job.updated_by > mine:
            raise DowngradeError("the test is over: sequence %d runs" % mine)
        raise StateMismatchError("the job is in self-test, but no image is under test here")

    def _admit(self, manifest):
        """Decide on a verified head; returns the bytes of the package already in the slot."""
        journal = self.journal
        identity = manifest.identity.hex()
        package.admit(
            manifest,
            product=self._product,
            chip=self._slots.running.chip_id(),
            capacity=self._slots.other.capacity,
            floor=self._floor(),
            now=chip.unix_time(),
            retry_of=manifest.identity if journal.identity == identity else None,
        )
        present = 0
        if journal.phase == phases.RECEIVING and journal.identity == identity:
            present = journal.next
        else:
            journal.finish(
                phase=phases.RECEIVING,
                job=self._job.job_id,
                slot=self._slots.other.label,
                identity=identity,
                sequence=manifest.sequence,
            )
        self._manifest = manifest
        return present

    def _on_block(self, payload):
        if self._phase != self._receive:
            return
        download = self._download
        before = download.received
        if not download.block(payload):
            return
        self._momentum = 0
        self._silent = False
        self._timer.after(self._settings["request_ms"])
        if download.head_here:
            self._slices = self._opening()
            self._phase = self._verify
        else:
            self._on_progress(before)

    def _opening(self):
        """The head has come. A generator of slices."""
        yield from self._download.open()
        self._phase = self._receive
        self._on_progress(0)

    def _on_progress(self, before):
        """Blocks have come, `before` were here already."""
        received = self._download.received
        if self._download.complete:
            self._readback = self._download.readback()
            self._phase = self._check
            return
        if not received:
            return
        every = self._settings["checkpoint_blocks"]
        if before and received // every != before // every:
            self.journal.save(next=self._download.checkpoint)
        every = self._settings["status_blocks"]
        if not before or received // every != before // every:
            progress = "%d/%d" % (received, self._download.blocks)
            self._report_progress({"receive": progress}, qos=0)

    def _report_progress(self, details, qos=1, token=None):
        self._channel.report(self._job.job_id, jobs.IN_PROGRESS, details, qos, token)

    # -- how it ends ------------------------------------------------------------------------

    def _accepted(self):
        """The new image is VALID in otadata: note it in one write, then tell."""
        version, sequence = self.running
        details = jobs.status_details(
            "accepted v" + version, detail=self.journal.detail, version=version
        )
        self._end(
            jobs.SUCCEEDED, details, floor=max(self.journal.floor, self.journal.sequence, sequence)
        )

    def _fail(self, error):
        """The job in hand ends with `error`."""
        self._finish(jobs.FAILED, error)
        self._callback(EVENT_FAIL, error)

    def _finish(self, status, error):
        details = jobs.status_details(
            error.reason(), detail=str(error), cause=error.cause, version=self.running[0]
        )
        self._end(status, details)

    def _end(self, status, details, **changes):
        """Journal how the job ended, unacknowledged; reporting follows."""
        self.journal.conclude(status, details, **changes)
        self._forget_job()
        self._phase = self._report if self.journal.result else self._ask
        self._timer.now()

    def _drop(self, why):
        """Let go of the job in hand, if any, without a report: the service ended it."""
        if self.journal.job:
            self.journal.finish()
        if self._job is not None:
            self._forget_job()
            self._callback(EVENT_FAIL, AbortedError(why))

    def _forget_job(self):
        self._job = None
        self._download = None
        self._readback = None
        self._slices = None
        self._manifest = None
        self._channel.close_stream()

    def _default_callback(self, event, _detail):
        if event == EVENT_ACTIVATE:
            self.activate()
        elif event == EVENT_START_TEST:
            self.accept()

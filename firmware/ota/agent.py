"""The OTA agent as the application sees it. What happens in between is in `engine`.

Rules
- The MQTT callback only queues (`on_message`); `step()` does at most one block of work.
- Events and calls are FreeRTOS's: docs/agent.md. A call out of season raises StateError and
  changes nothing.
- An OSError of the client passes through `step()`: it means a lost link. The application
  connects again and calls `start()`; the update goes on where it was.
- Calls may come from any thread: a lock lets in one of them, or a step, at a time. `on_message`
  needs none. An interpreter without a global lock (GIL) is not supported.
"""

from . import (
    ACTIVE,
    EVENT_ACTIVATE,
    EVENT_START_TEST,
    NOT_READY,
    READY,
    SHUTTING_DOWN,
    SUSPENDED,
    chip,
    errors,
)
from . import journal as phases
from .compat import Lock, const, sleep_ms, ticks_add, ticks_diff, ticks_ms
from .engine import Engine

_IDLE_MS = const(1000)
_MAX_SOURCE = const(800)
_MAX_REASON = const(200)
# Longest sleep of run() and the thread, so that a message is not kept waiting (ms).
_LOOP_MS = const(20)


class Agent(Engine):
    """The agent of one board. `Agent.current` is the newest one made.

    client: anything with `publish(topic, msg, qos=)` and `subscribe(topic, qos)`, None on a board
    without a network; thing_name (str); callback(event, detail): the application's, None for the
    default one, which activates and accepts at once; settings: dict as `load_settings` returns it;
    version: the application's own, as "0.9.1", without which no raw image is taken.
    board: board.Board; callback: may be replaced; stats: counts of messages; stepped: ticks_ms of
    the last step(). Raises SettingsError. FreeRTOS: OTA_AgentInit.
    """

    current = None

    def __init__(self, client, thing_name, callback=None, *, settings=None, version=None):
        self._lock = Lock()
        self._gate = READY
        self.stepped = ticks_ms()
        callback = callback or self._default_callback
        super().__init__(client, thing_name, callback, settings or {}, version)
        Agent.current = self

    # -- what there is to see ---------------------------------------------------------------

    @property
    def state(self):
        """NotReady before start() and after shutdown(); Ready without a job, Active with one.

        Also Suspended and ShuttingDown. FreeRTOS: OTA_GetAgentState.
        """
        if self._gate != READY:
            return self._gate
        if self._offline():
            return NOT_READY
        return READY if self._phase in (self._ask, self._rest) else ACTIVE

    @property
    def image_state(self):
        """The running image's otadata state, one of `slots.NEW` ... `slots.ABORTED`, or None.

        FreeRTOS: OTA_GetImageState.
        """
        return self.board.slots.state(self.board.slots.running)

    @property
    def running(self):
        """(version, sequence) of what runs, from its trailer; without one its own, and 0."""
        return self.board.version, self.board.sequence

    @property
    def slot(self):
        """Label of the slot that runs, as "ota_0"."""
        return self.board.slots.running.label

    @property
    def progress(self):
        """(blocks received, blocks in all) of the download in hand, None without one."""
        return self._update.progress if self._update else None

    @property
    def missing(self):
        """What the image under test lacks beside the application's yes; None for nothing.

        "self-test": boot.py's own was broken off, so that it can not be accepted; "job": the job
        service has not named the job yet; "broker": a local update needs it reached, where there is
        one. A rollback by a person needs neither.
        """
        return self._proof and self._proof.missing

    # -- the loop ---------------------------------------------------------------------------

    def start(self):
        """Subscribe and begin, or go on. To be called after every successful connect.

        Raises OSError when the client does.
        """
        with self._lock:
            self._channel.open()
            if self._gate != SUSPENDED:
                self._gate = READY
            self._online = True
            if self._proof:
                self._proof.connected()
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
        with self._lock:
            chip.feed()
            self.stepped = ticks_ms()
            if self._news:
                news, self._news = self._news, None
                self._tell(*news)
            if self._gate == SHUTTING_DOWN:
                self._stop()
            if self._gate != READY or self._offline():
                return _IDLE_MS
            try:
                return self._work()
            except OSError:
                self._online = False
                raise
            except errors.StateError:
                raise  # the application's own call was out of season; no job ends for that
            except errors.OtaError as error:
                self._fail(error)
                return 0

    async def run(self):
        """Step until shutdown(), in asyncio. Whoever feeds `on_message` runs beside it.

        Raises OSError when the client does; await it again after the next start().
        """
        import asyncio

        while self._gate != NOT_READY:
            await asyncio.sleep(min(self.step(), _LOOP_MS) / 1000)

    def start_thread(self):
        """Step in a thread of its own until shutdown(), or until the client fails.

        For clients that may be used from several threads.
        """
        import _thread

        _thread.start_new_thread(self._loop, ())

    def _loop(self):
        try:
            while self._online:
                sleep_ms(min(self.step(), _LOOP_MS))
        except OSError:
            pass  # the link's
        finally:
            self._online = False  # nobody steps: NotReady until the next start()

    # -- what the application asks ----------------------------------------------------------

    def check_for_update(self):
        """Ask the job service now. FreeRTOS: OTA_CheckForUpdate.

        Raises StateError before start(), and while suspended.
        """
        with self._lock:
            if not self._online:
                raise errors.StateError("call start() after connecting first")
            self._check_running()
            self._ask_soon()

    def install(self, source):
        """Begin an update that no job brings: the same checks, test and way back.

        source: path of a package ("/sd/x.ota"), its address ("http://..."), or an object as
        `pulling.File` is one. What is wrong with it is told by EVENT_FAIL. Raises StateError with
        something else in hand, SourceError for a name of more than 800 characters.
        """
        with self._lock:
            idle = self._phase in (self._ask, self._rest, self._report)
            if not idle or self.board.slots.pending:
                raise errors.StateError("an update is in hand already")
            self._check_running()
            name = source if isinstance(source, str) else ""
            if len(name) > _MAX_SOURCE:  # the journal must remember it
                raise errors.SourceError("%d characters are no name to be kept" % len(name))
            if self.journal.origin != phases.LOCAL or self.journal.source != name:
                self.journal.finish(origin=phases.LOCAL, source=name)
            self._take_local(source)

    def activate(self):
        """Boot into the verified image as soon as the service has heard of it.

        Suspended, or without a link, it is remembered. Raises StateError when no verified image
        waits. FreeRTOS: OTA_ActivateNewImage.
        """
        with self._lock:
            if self._phase != self._wait_for_application:
                raise errors.StateError("there is no verified image to activate")
            self.journal.save(agreed=True)
            self._phase = self._tell_ready
            self._timer.now()

    def accept(self):
        """Agree to keep the image under test. Final once nothing is `missing`.

        Raises StateError when no image is being tested, ActivateError.
        FreeRTOS: OTA_SetImageState(eOTA_ImageState_Accepted).
        """
        with self._lock:
            if not self._proof:
                raise errors.StateError("there is no image under test to accept")
            self._proof.accept()
            if self._proof.agreed:
                self._keep()

    def reject(self, reason="rejected by the application"):
        """Refuse the image under test (resets, the old image returns), or the verified one.

        Raises StateError when there is neither.
        FreeRTOS: OTA_SetImageState(eOTA_ImageState_Rejected).
        """
        with self._lock:
            if self._proof:
                self.journal.save(cause=errors.RejectedError.cause, detail=reason[:_MAX_REASON])
                chip.reset()
            elif self._phase == self._wait_for_application:
                self._fail(errors.RejectedError(reason))
            else:
                raise errors.StateError("there is no image to reject")

    def abort(self, reason="aborted by the application"):
        """Give up the update in hand before it is activated. Raises StateError without one.

        FreeRTOS: OTA_SetImageState(eOTA_ImageState_Aborted).
        """
        with self._lock:
            if self._update is None:
                raise errors.StateError("there is no update to abort")
            self._fail(errors.AbortedError(reason))

    def suspend(self):
        """Stop working until resume(); what was received stays. FreeRTOS: OTA_Suspend.

        Raises StateError after shutdown().
        """
        with self._lock:
            if self._gate != SUSPENDED:
                self._check_running()
            self._gate = SUSPENDED

    def resume(self):
        """Go on after suspend(). Raises StateError when not suspended. FreeRTOS: OTA_Resume."""
        with self._lock:
            if self._gate != SUSPENDED:
                raise errors.StateError("the agent is not suspended")
            self._gate = READY
            self._ask_soon()

    def shutdown(self, timeout_ms=0):
        """Stop, and leave the topics; `start()` begins again. FreeRTOS: OTA_AgentShutdown.

        The journal keeps an update in flight, which goes on then; an image under test stays so, and
        its deadline too. timeout_ms: how long to wait for a step in another thread. Returns the
        state: ShuttingDown when such a step, or the one that called this, has yet to end. Raises
        OSError when the client does; the agent is stopped all the same.
        """
        if self._gate != NOT_READY:
            self._gate = SHUTTING_DOWN
        due = ticks_add(ticks_ms(), timeout_ms)
        while not self._lock.acquire(False):
            if ticks_diff(due, ticks_ms()) <= 0:
                return self.state
            sleep_ms(1)
        try:
            if self._lock.depth == 1 and self._gate == SHUTTING_DOWN:
                self._stop()
        finally:
            self._lock.release()
        return self.state

    def _check_running(self):
        if self._gate != READY:
            raise errors.StateError("the agent is suspended or shut down")

    def _stop(self):
        self._gate = NOT_READY
        online, self._online = self._online, False
        if self._update:
            self._update.save()
            self._forget()
            self._phase = self._ask
        if online:
            self._channel.close()

    def _default_callback(self, event, _detail):
        if event == EVENT_ACTIVATE:
            self.activate()
        elif event == EVENT_START_TEST:
            self.accept()

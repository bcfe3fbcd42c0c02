"""The OTA agent as the application sees it. `engine` is its state machine.

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
    loader,
)
from .compat import Lock, const, sleep_ms, ticks_add, ticks_diff, ticks_ms
from .inbox import Inbox, Stats

_IDLE_MS = const(1000)
# Longest sleep of run() and the thread, so that a message is not kept waiting (ms).
_LOOP_MS = const(20)


class Agent:
    """The agent of one board. `Agent.current` is the newest one made.

    client: anything with `publish(topic, msg, qos=)` and `subscribe(topic, qos)`, None on a board
    without a network; thing_name (str); callback(event, detail): the application's, None for the
    default one, which activates and accepts at once; settings: dict as `load_settings` returns it;
    version: the application's own, as "0.9.1", without which no raw image is taken; watchdog_ms:
    timeout of the application's own `machine.WDT`, if it has one.
    callback: may be replaced; lock: compat.Lock, which lets in one call or step; running: (version,
    sequence) of what runs, from its trailer; without one its own, and 0; slot: the running one, as
    "ota_0"; stats: inbox.Stats; thing: its name; stepped: ticks_ms of the last step(). Raises
    SettingsError. FreeRTOS: OTA_AgentInit.
    """

    current = None

    def __init__(
        self, client, thing_name, callback=None, *, settings=None, version=None, watchdog_ms=None
    ):
        self.callback = callback or self._default_callback
        self.stats = Stats()
        self.stepped = ticks_ms()
        self.lock = Lock()
        self._mode = READY
        self._client = client
        self.thing = thing_name
        self._inbox = Inbox(self.stats, client is None)
        self._engine = self._image_state = None
        ring = loader.ask("trust", "look")
        loader.enter_now("look")
        self._watchdog_ms = watchdog_ms
        facts = self._facts = loader.module("facts").read(settings or {}, ring, version)
        self.slot, self.running = facts.slot, (facts.version, facts.sequence)
        loader.unloads = bool(facts.settings["unload"])
        self._settled = facts.known
        if facts.due:
            loader.enter_now("settle")
            self._settled = loader.module("board").settled(facts)
        loader.enter_now("start")
        loader.module("start").recover(self._make_engine())
        Agent.current = self

    # -- the state, for the application to read ---------------------------------------------

    @property
    def state(self):
        """Return the agent's state: NotReady, Ready, Active, Suspended or ShuttingDown.

        NotReady before start() and after shutdown(); Ready without a job, Active with one.
        FreeRTOS: OTA_GetAgentState.
        """
        if self._mode != READY:
            return self._mode
        engine = self._engine
        if engine is None:
            return READY if self._inbox.reached else NOT_READY
        if engine.offline:
            return NOT_READY
        return ACTIVE if engine.active else READY

    @property
    def image_state(self):
        """Return the running image's otadata state, `slots.NEW` ... `slots.ABORTED`, or None.

        FreeRTOS: OTA_GetImageState.
        """
        engine = self._engine
        return engine.image_state if engine else self._image_state

    @property
    def progress(self):
        """Return (blocks received, blocks in all) of the transfer in hand, None without one."""
        return self._engine and self._engine.progress

    @property
    def missing(self):
        """Say what the image under test lacks beside the application's yes; None for nothing.

        "self-test": boot.py's own was broken off, so that the image cannot be accepted; "job": the
        job service has not named the job yet; "broker": a local update must reach the broker, where
        there is one. A rollback by a person needs neither.
        """
        return self._engine and self._engine.proof and self._engine.proof.missing

    def sleep_cost(self):
        """Return how many bytes come again if it sleeps now. Raises StateError, with the why."""
        engine = self._engine
        return engine.sleep_cost() if engine else 0

    @property
    def board(self):
        """Return the board.Board, loaded until the next step if the agent was at rest."""
        with self.lock:
            return self._awake().board

    @property
    def journal(self):
        """Return the journal.Journal, loaded until the next step if the agent was at rest."""
        return self.board.journal

    # -- the loop ---------------------------------------------------------------------------

    def start(self):
        """Subscribe and begin, or go on. Call it after every successful connect.

        Raises OSError when the client does.
        """
        with self.lock:
            self._awake().connect()
            if self._mode != SUSPENDED:
                self._mode = READY

    def on_message(self, topic, payload):
        """Copy a message of the MQTT callback into the inbox. Returns False for other topics.

        topic: bytes; payload: bytes or a view that is valid during the call.
        """
        return self._inbox.put(topic, payload)

    def step(self):
        """Do at most one block of work. Returns the milliseconds until it wants to run again.

        Raises OSError when the client does, FlashError when the journal cannot be written.
        """
        with self.lock:
            chip.feed()
            self.stepped = ticks_ms()
            engine = self._engine
            if engine and engine.news:
                news, engine.news = engine.news, None
                self._tell(*news)
            if self._mode == SHUTTING_DOWN:
                self._stop()
            if self._mode != READY:
                return _IDLE_MS
            self._ask_again()
            engine = self._engine
            if engine is None and not (self._inbox.waiting and self._inbox.reached):
                return _IDLE_MS
            try:
                if engine is None:
                    self._load_engine(loader.enter)
                    return 0
                if engine.proof:
                    chip.note("stepped")
                if engine.offline:
                    self._rest_if_done(engine)
                    return _IDLE_MS
                wait = engine.step()
            except OSError:
                self._inbox.online = False
                raise
            except errors.StateError:
                raise  # the application's own call was out of season; no job ends for that
            except errors.OtaError as error:
                engine.fail(error)
                return 0
            self._rest_if_done(engine)
            return wait

    async def run(self):
        """Step until shutdown(), in asyncio. The task that feeds `on_message` runs beside it.

        Raises OSError when the client does; await it again after the next start().
        """
        import asyncio

        while self._mode != NOT_READY:
            await asyncio.sleep(min(self.step(), _LOOP_MS) / 1000)

    def start_thread(self):
        """Step in a thread of its own until shutdown(), or until the client fails.

        For clients that may be used from several threads.
        """
        import _thread

        _thread.start_new_thread(self._loop, ())

    def _loop(self):
        try:
            while self._mode != NOT_READY and self._inbox.reached:
                sleep_ms(min(self.step(), _LOOP_MS))
        except OSError:
            pass  # the link is lost
        finally:
            self._inbox.online = False  # nobody steps: NotReady until the next start()

    # -- calls of the application -----------------------------------------------------------

    def report(self, job_id, status, details=None):
        """Tell the job service about a job of the application's own (`EVENT_PARSE_CUSTOM_JOB`).

        status: "IN_PROGRESS", "SUCCEEDED" or "FAILED"; details: dict of at most ten texts. Raises
        OSError when the client does.
        """
        with self.lock:
            self._awake().report_custom(job_id, status, details or {})

    def check_for_update(self):
        """Ask the job service now. FreeRTOS: OTA_CheckForUpdate.

        Raises StateError before start(), and while suspended.
        """
        with self.lock:
            if not self._inbox.online:
                raise errors.StateError("call start() after connecting first")
            self._check_running()
            self._awake().check()

    def install(self, source):
        """Begin an update that no job brings: the same checks, test and way back.

        source: path of a package ("/sd/x.ota"), its address ("http://..."), or an object as
        `source.File` is one. EVENT_FAIL tells its faults. Raises StateError with something else in
        hand, SourceError for a name of more than 800 characters.
        """
        with self.lock:
            self._check_running()
            self._call("install", source)

    def activate(self):
        """Boot into the verified image as soon as the service has heard of it.

        Suspended, or without a link, it is remembered. Raises StateError when no verified image
        waits. FreeRTOS: OTA_ActivateNewImage.
        """
        with self.lock:
            self._call("activate")

    def accept(self):
        """Agree to keep the image under test. Final once nothing is `missing`.

        Raises StateError when no image is being tested, ActivateError.
        FreeRTOS: OTA_SetImageState(eOTA_ImageState_Accepted).
        """
        with self.lock:
            self._call("accept")

    def reject(self, reason="rejected by the application"):
        """Refuse the image under test (resets, the old image returns), or the verified one.

        Raises StateError when there is neither.
        FreeRTOS: OTA_SetImageState(eOTA_ImageState_Rejected).
        """
        with self.lock:
            self._call("reject", reason)

    def abort(self, reason="aborted by the application"):
        """Give up the update in hand before it is activated. Raises StateError without one.

        FreeRTOS: OTA_SetImageState(eOTA_ImageState_Aborted).
        """
        with self.lock:
            self._call("abort", reason)

    def suspend(self):
        """Stop working until resume(); received blocks stay. FreeRTOS: OTA_Suspend.

        Raises StateError after shutdown().
        """
        with self.lock:
            if self._mode != SUSPENDED:
                self._check_running()
            self._mode = SUSPENDED

    def resume(self):
        """Go on after suspend(). Raises StateError when not suspended. FreeRTOS: OTA_Resume."""
        with self.lock:
            if self._mode != SUSPENDED:
                raise errors.StateError("the agent is not suspended")
            engine = self._awake()
            self._mode = READY
            engine.check()

    def shutdown(self, timeout_ms=0):
        """Stop, and leave the topics; `start()` begins again. FreeRTOS: OTA_AgentShutdown.

        The journal keeps an update in flight, which goes on then; an image under test stays so, and
        its deadline too. timeout_ms: how long to wait for a step in another thread. Returns the
        state: ShuttingDown when such a step, or the one that called this, has yet to end. Raises
        OSError when the client does; the agent is stopped all the same.
        """
        if self._mode != NOT_READY:
            self._mode = SHUTTING_DOWN
        due = ticks_add(ticks_ms(), timeout_ms)
        while not self.lock.acquire(False):
            if ticks_diff(due, ticks_ms()) <= 0:
                return self.state
            sleep_ms(1)
        try:
            if self.lock.depth == 1 and self._mode == SHUTTING_DOWN:
                self._stop()
        finally:
            self.lock.release()
        return self.state

    def _check_running(self):
        if self._mode != READY:
            raise errors.StateError("the agent is suspended or shut down")

    def _call(self, name, *arguments):
        """Let the engine do a call of the application."""
        engine = self._awake()
        engine.load("calling")
        getattr(loader.module("calls"), name)(engine, *arguments)

    def _stop(self):
        engine = self._awake()
        self._mode = NOT_READY
        self._call("stop")
        self._rest_if_done(engine)

    def _tell(self, event, detail):
        """Hand an event to the application. Returns its answer."""
        return self.callback(event, detail)

    def _default_callback(self, event, _detail):
        if event == EVENT_ACTIVATE:
            self.activate()
        elif event == EVENT_START_TEST:
            self.accept()

    # -- at rest, and back ------------------------------------------------------------------

    def _rest_if_done(self, engine):
        """Unload the engine when only a message or a call brings something to do."""
        if engine.resting and self.lock.depth == 1 and loader.unloads:
            try:
                self._image_state = engine.image_state
            except errors.FlashError:
                return  # the next call that reads it raises the error
            self._engine = None
            loader.enter_now("rest")

    def _ask_again(self):
        """Ask a service that was silent for long, or refused to name a job."""
        inbox, engine = self._inbox, self._engine
        if not inbox.online or (engine and (engine.path or engine.proof)):
            return
        if inbox.refused:
            if (engine is None or engine.resting) and inbox.is_refusal_over():
                self._awake().check()
        elif inbox.is_silent(self._facts.settings["silence_s"] * 1000):
            self._awake().connect()  # the client may have connected again by itself

    def _awake(self):
        """Return the engine, loaded at once if it is not."""
        if self._engine is None:
            self._load_engine(loader.enter_now)
        return self._engine

    def _load_engine(self, enter):
        """Make the engine if its modules are here. enter: loader.enter, which loads one, or all."""
        try:
            if enter("serve"):
                self._make_engine()
        except MemoryError:
            loader.enter_now("rest")
            raise

    def _make_engine(self):
        """Make the engine, whose modules are loaded."""
        board = loader.module("board").Board(self._facts, self._settled, self._watchdog_ms)
        make = loader.module("engine").Engine
        self._engine = make(board, self._inbox, self._client, self.thing, self._tell)
        return self._engine

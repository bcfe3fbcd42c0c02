"""The state machine of an update. docs/architecture.md has its picture.

Rules
- `state` is the only place that says how far an update is. A state has a function of its name in
  the module that STATES names. `step()` calls it, and it returns the milliseconds until it wants to
  run again.
- The phase of the journal follows from the state: `become` writes it before the state changes.
- A step does at most one block of work.
- Nothing is erased before the head is verified; nothing boots before it is read back and hashed;
  nothing is accepted before it has proved itself (`trial`).
- Results are told until the service has answered.
"""

from . import (
    EVENT_ACTIVATE,
    EVENT_PROCESSED,
    errors,
    journal,
    loader,
)
from .channel import DUE, GIVEN_UP, IN_PROGRESS, SENT, Channel, Timer, status_details
from .compat import const, ticks_diff, ticks_ms

# Nothing in hand.
RESTING = "resting"
ASKING = "asking"
TIDYING = "tidying"
TAKING = "taking"
# An update in hand.
CONNECTING = "connecting"
FETCHING = "fetching"
OPENING = "opening"
VERIFYING = "verifying"
ADMITTING = "admitting"
MEASURING = "measuring"
PREPARING = "preparing"
RECEIVING = "receiving"
FINISHING = "finishing"
CHECKING = "checking"
REHASHING = "rehashing"
WAITING = "waiting"
AGREED = "agreed"
CONFIRMING = "confirming"
ACTIVATING = "activating"
# The running image is under test, or a result is to be told.
PROVING = "proving"
REPORTING = "reporting"

# State -> (phase of the loader, module of its function, phase of the journal or None, which leaves
# it as it is). RESTING has no function: it needs no module.
STATES = {
    RESTING: ("serve", "", None),
    ASKING: ("serve", "serve", None),
    TIDYING: ("tidy", "tidy", None),
    TAKING: ("serve", "serve", None),
    CONNECTING: ("connect", "prepare", None),
    FETCHING: ("connect", "transfer", None),
    OPENING: ("open", "admission", None),
    VERIFYING: ("verify", "admission", None),
    ADMITTING: ("admit", "admission", None),
    MEASURING: ("measure", "admission", None),
    PREPARING: ("prepare", "prepare", journal.RECEIVING),
    RECEIVING: ("transfer", "transfer", journal.RECEIVING),
    FINISHING: ("finish", "finalize", journal.RECEIVING),
    CHECKING: ("check", "finalize", journal.VERIFIED),
    REHASHING: ("finish", "finalize", journal.VERIFIED),
    WAITING: ("serve", "serve", journal.VERIFIED),
    AGREED: ("serve", "serve", journal.VERIFIED),
    CONFIRMING: ("check", "finalize", journal.VERIFIED),
    ACTIVATING: ("finish", "finalize", journal.ACTIVATED),
    PROVING: ("trial", "trial", None),
    REPORTING: ("serve", "serve", None),
}

# What is fetched first, and again at each new start, before anything is believed (bytes).
HEAD = const(4096)
# The size of a file of which the head alone says how long it is: more than any slot has.
UNTOLD = const(0x3FFFFFFF)
# A state function that has nothing to do asks to be called again after so long (ms).
IDLE_MS = const(1000)
_NO_ROLLBACK = const(
    "this board's bootloader has no rollback: flash the one of MicroPython 1.21 or later by cable"
)


class Engine:
    """An agent at work. Its calls are those of `agent.Agent`, whose lock is held.

    board: board.Board; inbox: inbox.Inbox; client, thing_name: as there; tell(event, detail): to
    the application, returns the application's answer.
    state: one of the above; channel: channel.Channel; timer: when the job service is asked or told
    again; news: an event to be told first, and its detail, else None.
    Of the update in hand: origin: of the journal; job: jobs.Job, None without one; source: its
    path, address or object, "" when the job says it; path: its data path, see `transfer`; modules:
    names of those that path and writers need; transfer: transfer.Transfer; work: a generator of
    slices; claim: of a signature, see `admission`; manifest: manifest.Manifest, once it is
    verified; target: the later content of the other slot, see `finalize`; received: blocks that
    have come.
    """

    def __init__(self, board, inbox, client, thing_name, tell):
        settings = board.settings
        self.board = board
        self.journal = board.journal
        self.inbox = inbox
        self.tell = tell
        self.channel = Channel(client, thing_name, inbox)
        self.timer = Timer(settings["request_ms"], settings["retry_max_ms"])
        self.state = RESTING
        self.news = None
        self.proof = None
        self.tidied = True
        self.asks_again = False
        self.token = ""
        self.answer_due = 0
        self._clear()

    def _clear(self):
        """Forget the update in hand."""
        self.job = self.path = self.transfer = self.work = None
        self.claim = self.manifest = self.target = None
        self.origin = self.source = self.modules = ""
        self.received = 0

    # -- the state, for the agent to read ---------------------------------------------------

    @property
    def active(self):
        """Say whether an update is in hand or under test, or a result still to be told."""
        return self.state not in (RESTING, ASKING, TIDYING, TAKING)

    @property
    def in_hand(self):
        """Say whether an update is in hand, from its first request to its activation."""
        return self.active and self.state not in (PROVING, REPORTING)

    @property
    def resting(self):
        """Say whether only a message or a call brings something to do."""
        inbox = self.inbox
        told = not inbox.waiting and not inbox.missed and inbox.stats.report not in (DUE, SENT)
        return self.state == RESTING and self.tidied and told

    @property
    def image_state(self):
        """Return the running image's state in otadata, or None."""
        slots = self.board.slots
        return slots.state(slots.running)

    @property
    def progress(self):
        """Return (blocks received, blocks in all), None while nothing is transferred."""
        size = self.path and self.path.size
        if not size or size == UNTOLD:
            return None
        block = self.board.settings["block_size"]
        return self.received, (size + block - 1) // block

    @property
    def offline(self):
        """Say whether nothing can be done before the next start()."""
        if self.inbox.reached:
            return False
        if self.journal.origin != journal.LOCAL or self.state == PROVING:
            return True
        return self.state == ASKING and "://" in self.journal.source

    def sleep_cost(self):
        """Return the bytes that come again if the agent is shut down now. Raises StateError."""
        transfer, state = self.transfer, self.state  # in this order, as no lock is held
        if state == PROVING:
            raise errors.StateError("%s is under test: asleep it fails" % self.board.version)
        if state in (AGREED, CONFIRMING, ACTIVATING) and not self.offline:
            raise errors.StateError("the restart into the new version is about to come")
        if not self.in_hand or self.journal.phase == journal.VERIFIED:
            return 0
        return HEAD + (transfer.again if transfer and state == RECEIVING else 0)

    # -- how it moves -----------------------------------------------------------------------

    def become(self, state, fresh=False, **changes):
        """Move on to `state`, and let the journal say so first, with these changes.

        fresh: the journal forgets the update before. Raises FlashError.
        """
        phase = STATES[state][2] or self.journal.phase
        if state == ACTIVATING:
            changes["tries"] = self.journal.tries + 1
        if fresh:
            self.journal.finish(phase=phase, **changes)
        elif changes or phase != self.journal.phase:
            self.journal.save(phase=phase, **changes)
        self.work = None
        self.state = state
        self.inbox.answers = state in (AGREED, REPORTING)

    def step(self):
        """Do at most one block of work. Returns the milliseconds until it wants to run again.

        Raises OSError of the client, OtaError, which ends the job: `fail` is to be called.
        """
        if self.inbox.waiting or self.inbox.missed:
            self.load("hearing")
            loader.module("hear").hear(self)
            return 0
        phase, module, _ = STATES[self.state]
        if self.state == RESTING:
            if not self.tidied:
                self.become(TIDYING)  # what an update left behind goes first
                return 0
            self._report()
            return IDLE_MS
        also = self.modules + " " + self.claim[0] if self.claim else self.modules
        if not loader.enter(phase, also):
            return 0
        return getattr(loader.module(module), self.state)(self)

    def _report(self):
        """Say what runs here, if that is due. Where it cannot be, an update still can."""
        stands = self.inbox.stats.report
        if stands == SENT and ticks_diff(ticks_ms(), self.answer_due) > 0:
            self.channel.told(GIVEN_UP + "no answer")
        if stands != DUE:
            return
        try:
            loader.ask("report", "send", self)
        except (errors.OtaError, MemoryError) as error:
            self.inbox.stats.report = GIVEN_UP + str(error)

    def load(self, more):
        """Load modules beside those of the state until the next step. more: of `phases.MORE`."""
        loader.enter_now(STATES[self.state][0], self.modules, more)

    def slices(self, work):
        """Do one slice of a state's work, begun by `work(self)`. Returns whether it is through.

        The state function is called again for each slice.
        """
        if self.work is None:
            self.work = work(self)
        work, going_on = self.work, False
        try:
            next(work)
            going_on = True
        except StopIteration:
            return self.work is work
        finally:
            if not going_on and self.work is work:
                self.work = None  # an error that ends no job, as of memory, lets it begin again
        return False

    def bare_manifest(self):
        """Return the manifest.Manifest of a head without a package in `board.buf`, None of others.

        Raises what the `manifest_of` of its module raises.
        """
        reader = loader.table().HEADS.get(self.board.buf[0])
        if reader is None:
            return None
        loader.enter_now(reader, self.modules)
        return loader.module(reader).manifest_of(self.job, self.board)

    def begin(self, origin, job, source, path):
        """Begin with an update, or go on with it. Raises MismatchError.

        origin: of the journal; job, source: as above; path: a name in `loader.table().PATHS`.
        """
        if self.journal.no_rollback:
            raise errors.MismatchError(_NO_ROLLBACK)
        self.origin, self.job, self.source = origin, job, source
        self.modules = loader.table().PATHS[path]
        self.tidied = False
        self.become(CHECKING if self.journal.phase == journal.VERIFIED else CONNECTING)

    def begin_local(self, source):
        """Begin with a local update, or go on with it. Raises MismatchError."""
        self.ask_anew()
        self.begin(journal.LOCAL, None, source, loader.table().path_of(source))

    def prove(self):
        """Begin with the test of the running image."""
        self.become(PROVING)
        loader.enter_now(STATES[PROVING][0])
        self.proof = loader.module("trial").Trial(self)

    def verified(self, version):
        """Go on when the other slot and its directory hold the update. Raises FlashError."""
        self.timer.now()
        self.become(AGREED if self.journal.agreed else WAITING, next=0)
        if self.state == WAITING:
            self.tell(EVENT_ACTIVATE, version)

    def ask_anew(self):
        """Ask the job service now, with nothing in hand."""
        self.become(ASKING)
        self.timer.now()

    def ask_again(self):
        """Ask once, after a call or a new link, whether the job in hand is still the next one."""
        if self.asks_again:
            self.asks_again = False
            self.channel.ask()

    # -- a new link -------------------------------------------------------------------------

    def connect(self):
        """Subscribe and go on over the client's new link. Raises OSError when it fails."""
        self.channel.open()
        if self.state == RECEIVING:
            self.transfer.window.narrow()  # so many blocks at once may have been too much
        if self.proof:
            self.proof.connected()
        self.check()

    def check(self):
        """Ask the service now."""
        if self.state in (RESTING, TIDYING):
            self.become(ASKING)
        if self.path:
            self.path.connected()
        if self.in_hand and self.state != AGREED:
            self.asks_again = not self.inbox.alone
        self.timer.now()

    # -- how an update ends -----------------------------------------------------------------

    def progressed(self, before, received, blocks):
        """Tell how many blocks have come. before: as many as at the last call."""
        self.tell(EVENT_PROCESSED, received)
        every = self.board.settings["status_blocks"]
        if self.journal.job and received < blocks:
            if not before or received // every != before // every:
                self.report({"receive": "%d/%d" % (received, blocks)}, qos=0)

    def report(self, details, qos=1, token=None):
        """Report that the job in hand is in progress."""
        self.channel.report(self.journal.job, IN_PROGRESS, details, qos, token)

    def report_custom(self, job_id, status, details):
        """Report a job of the application's own. details: dict of texts."""
        self.channel.report(job_id, status, status_details(**details))

    def fail(self, error):
        """End the update in hand with `error`, and tell the application. Raises FlashError."""
        loader.lend("outcome").fail(self, error)

    def let_go(self):
        """Close everything of the update in hand; it may be in the middle of a step."""
        if self.path:
            self.path.close()
        if self.transfer:
            self.transfer.abandon()
        self.board.give_back()
        self.inbox.close()  # of a data path that could not be made
        self._clear()

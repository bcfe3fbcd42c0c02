"""The trial of an image: its proofs before the board keeps it (the gate).

It is kept only when boot.py's self-test was not broken off, the job service, reached over the
network, still names the job, and the application agrees. Everything else ends in the watchdog's
deadline, and the old image returns. An update without a job needs the broker only, where there is
one. A rollback by a person needs neither.
"""

from . import EVENT_START_TEST, chip, errors, journal, loader
from .channel import IN_PROGRESS, status_details
from .compat import const
from .slots import Slots

_IDLE_MS = const(1000)
_DEADLINE = const("deadline")  # as boot.py's thread notes it


def proving(engine):
    """Go on with the test. Returns the milliseconds until it wants to run again."""
    if engine.proof.agreed:
        loader.lend("outcome").keep(engine)
        return 0
    return engine.proof.step()


class Trial:
    """The test of the running image. engine: engine.Engine."""

    def __init__(self, engine):
        note = chip.noted()
        self._tested = note is None or note[0] != "selftest"
        chip.note("agent")
        self._named = False
        self._consent = False
        self._engine = engine
        self._board = engine.board

    @property
    def missing(self):
        """Say what lacks beside the application's yes: "self-test", "job", "broker" or None."""
        origin = self._board.journal.origin
        if not self._tested:
            return "self-test"
        if self._named or origin == journal.PERSON:
            return None
        if origin == journal.LOCAL:
            return None if self._engine.inbox.reached else "broker"
        return "job"

    @property
    def agreed(self):
        """Say whether the image is to be kept."""
        return self._consent and not self.missing

    def accept(self):
        """Take the application's yes."""
        self._consent = True

    def reject(self, reason):
        """Reset for the application's no: the old image returns and reports `reason`."""
        self._board.journal.try_save(cause=errors.RejectedError(reason).cause, detail=reason)
        chip.reset()

    def connected(self):
        """Wait for the service to name the job over the new link, too."""
        chip.note("started")
        self._named = False

    def step(self):
        """Ask the service for the job. Returns the milliseconds until it wants to run again.

        Ends the trial at its deadline, where no thread of boot.py does.
        """
        timer = self._engine.timer
        left = chip.test_ends_in()
        if left is not None and left <= 0:
            self._board.journal.try_save(cause=_DEADLINE, detail="")
            chip.reset()
        if not self._tested:
            return _IDLE_MS  # boot.py's self-test was broken off: only the deadline follows
        if self._board.journal.origin != journal.JOB and not self._named:
            self._named = True  # no service will
            self._engine.tell(EVENT_START_TEST, self._board.version)
            return 0
        if self._named:
            chip.note("named")
        if timer.left == 0 and not self._named:
            timer.later()
            self._engine.channel.ask()
        return min(timer.left, _IDLE_MS)

    def on_job(self, job):
        """Take the job that the service names (jobs.Job), or None."""
        board, noted = self._board, self._board.journal
        known = noted.job
        if job is None or self._named or (known and job.job_id != known):
            return
        if noted.origin != journal.JOB:
            return  # jobs come after the test
        if not known:
            if not job.in_self_test:
                return
            noted.try_save(phase=journal.TESTING, job=job.job_id, slot=board.slots.running.label)
        mine = board.sequence
        if not mine and not noted.sequence:  # a raw image
            mine = board.word or 0
            if job.details.get("self_test") != "active":
                self._check_version(job.updated_by, mine)
        self._named = True
        details = status_details(self_test="active", updatedBy="0x%x" % mine)
        self._engine.channel.report(noted.job, IN_PROGRESS, details)
        if not self._consent:
            self._engine.tell(EVENT_START_TEST, board.version)

    def _check_version(self, before, mine):
        """Reset, and so return to the old image, unless this raw one is newer.

        before, mine: version words. A job that says "active" has passed this already.
        """
        if before >= mine:
            kind = errors.SameVersionError if before == mine else errors.DowngradeError
            said = "the new image says version word 0x%x, the old one 0x%x" % (mine, before)
            self._board.journal.try_save(cause=kind(said).cause, detail=said)
            chip.reset()


def crashed(error):
    """Roll an image under test back at once, because the application died of `error`."""
    if Slots().pending:
        detail = "%s: %s" % (type(error).__name__, error)
        journal.Journal().try_save(cause="crash", detail=detail[:200])
        chip.reset()

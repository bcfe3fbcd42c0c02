"""An image under test: what it must show before it is kept (the gate).

Kept only when boot.py's self-test was not broken off, the job service, reached over the network,
still names the job, and the application agrees. Everything else ends in the watchdog's deadline,
and the old image returns. An update without a job asks for the broker only, where there is one;
a rollback by a person for neither.
"""

from . import EVENT_START_TEST, chip, errors, jobs
from . import journal as phases
from .compat import const

_IDLE_MS = const(1000)


class Proving:
    """The test of what runs.

    board: board.Board; channel: channel.Channel; timer: timer.Timer; tell(event, detail): to the
    application.
    """

    def __init__(self, board, channel, timer, tell):
        note = chip.noted()
        self._tested = note is None or note[0] not in ("boot", "selftest")
        self._named = False
        self._consent = False
        self._board = board
        self._channel = channel
        self._timer = timer
        self._tell = tell

    @property
    def missing(self):
        """What is lacking beside the application's yes: "self-test", "job", "broker" or None."""
        origin = self._board.journal.origin
        if not self._tested:
            return "self-test"
        if self._named or origin == phases.PERSON:
            return None
        if origin == phases.LOCAL:
            return None if self._channel.inbox.reached else "broker"
        return "job"

    @property
    def agreed(self):
        """Whether the image is to be kept."""
        return self._consent and not self.missing

    def accept(self):
        """The application says yes."""
        self._consent = True

    def connected(self):
        """The link is a new one: the job must be named over it."""
        self._named = False

    def step(self):
        """Ask who has not answered. Returns the milliseconds until it wants to run again."""
        if not self._tested:
            return _IDLE_MS  # boot.py's self-test was broken off: only the deadline follows
        if self._board.journal.origin != phases.JOB and not self._named:
            self._named = True  # nobody else will
            self._tell(EVENT_START_TEST, self._board.version)
            return 0
        chip.note("handler" if self._named else "broker")
        if self._timer.left == 0 and not self._named:
            self._timer.later()
            self._channel.ask()
        return min(self._timer.left, _IDLE_MS)

    def on_job(self, job):
        """The service names a job (jobs.Job), or None."""
        board, journal = self._board, self._board.journal
        known = journal.job
        if job is None or self._named or (known and job.job_id != known):
            return
        if journal.origin != phases.JOB:
            return  # jobs come after the test
        if not known:
            if not job.in_self_test:
                return
            journal.save(phase=phases.TESTING, job=job.job_id, slot=board.slots.running.label)
        mine = board.sequence
        if not mine and not journal.sequence:  # a raw image
            mine = board.word or 0
            if job.details.get("self_test") != "active":
                self._check_version(job.updated_by, mine)
        self._named = True
        details = jobs.status_details(self_test="active", updatedBy="0x%x" % mine)
        self._channel.report(journal.job, jobs.IN_PROGRESS, details)
        if not self._consent:
            self._tell(EVENT_START_TEST, board.version)

    def _check_version(self, before, mine):
        """Reset, and so return to the old image, unless this raw one is newer.

        before, mine: version words. "active" has been said already by who passed this.
        """
        if before >= mine:
            kind = errors.SameVersionError if before == mine else errors.DowngradeError
            said = "the new image says version word 0x%x, the old one 0x%x" % (mine, before)
            self._board.journal.save(cause=kind.cause, detail=said)
            chip.reset()

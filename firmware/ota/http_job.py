"""The data path over HTTP: the file of a job at an address that is good for a while.

When an address no longer works, the service is asked for the job again: it signs a new address
whenever it names the job (AWS IoT Jobs, pre-signed URLs of S3). The blocks that came stay. After
the first failure the agent asks at once, later when the pause is over, so that the new address is
still good then.
"""

from . import errors
from .engine import UNTOLD
from .http import Http
from .source import Pulled


def make(engine):
    """Return the data path of the job in hand."""
    return HttpJob(engine)


class HttpJob(Pulled):
    """The file of a jobs.Job, see `transfer`."""

    def __init__(self, engine):
        settings = engine.board.settings
        super().__init__(engine.job.file_size, None, engine.inbox, settings)
        self._channel = engine.channel
        self._url = engine.job.url
        self._request_ms = settings["request_ms"]
        self._refused = False
        self._awaited = False

    def poll(self, window):
        """Read on, as `Pulled.poll`. After a failure the service is asked for the job again.

        Raises OSError when the client does.
        """
        first = self.left == self.tries - 1
        if self._refused and (first or not self.timer.left):
            self._refused = False
            self._awaited = True
            self._channel.ask()
            if not first:
                self.timer.after(self._request_ms)
        return super().poll(window)

    def __str__(self):
        return self._url.split("?", 1)[0]  # the rest is a signature

    def named(self, job):
        """Take the job that the service names again. A new address is tried at once."""
        fresh = job.url and job.url != self._url
        if fresh:
            self._url = job.url
        if self._awaited and (fresh or self.left < self.tries - 1):
            self._awaited = False
            self.timer.after(0)  # the pauses go on growing where the server is at fault

    def read(self, offset, piece):
        """Read at the job's address, as `Pulled.read`. Raises SourceError for another size."""
        source = self.source
        if source is None:
            source = self.source = Http(self._url)
        try:
            count = source.read(offset, piece)
        except OSError:
            self.source = None
            self._refused, self._awaited = True, False
            raise
        if source.size not in (0, UNTOLD, self.size):
            raise errors.SourceError(
                "%s has %d bytes, the job says %d" % (self, source.size, self.size)
            )
        return count

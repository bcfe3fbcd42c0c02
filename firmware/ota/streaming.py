"""The data path over MQTT: blocks are asked for by stream messages and come through the inbox.

channel: channel.Channel; job: jobs.Job; settings: of the agent.
Momentum counts a silent request only after the service has named the job again in answer to a
question, so that a dead link or service is never taken for a dead stream.
"""

from . import errors
from .timer import Timer


class Topics:
    """The topics of one stream of one thing.

    things: the `$aws/things/<thing>/` prefix; form: "cbor" or "json".
    """

    def __init__(self, things, stream, form):
        prefix = "%sstreams/%s/" % (things, stream)
        self.get = prefix + "get/" + form
        self.data = prefix + "data/" + form
        self.rejected = prefix + "rejected/" + form


class Streaming:
    """One file of one stream. size: bytes of it."""

    def __init__(self, channel, job, settings):
        self.size = job.file_size
        self._channel = channel
        self._job = job
        self._period = settings["request_ms"]
        self._most = settings["momentum"]
        self._timer = Timer(self._period, self._period)
        self._momentum = 0
        self._silent = self._again = False
        self._refusal = "no answer"
        self._form = _form(settings["stream_json"])
        self._topics = Topics(channel.things, job.stream, self._form.NAME)
        self._out = bytearray()
        self._longest = settings["message_size"]
        self.resume()
        channel.open_stream(self._topics.data, self._topics.rejected)

    def step(self, taking):
        """Ask for more when all has come, or when it stays silent. Returns ms until it is due.

        taking: a update.Head or download.Download.
        """
        if self._again or taking.window.idle(self._channel.inbox.lost):
            self._request(taking)
            return 0  # while the blocks are on their way, the flash has work
        if self._timer.left == 0:
            self._silent = True
            self._channel.ask()
            self._request(taking)
        elif taking.work():
            return 0
        return self._timer.left

    def take(self, taking, payload):
        """Take a message of the stream, a memoryview. Returns whether it brought something new.

        Raises OtaError.
        """
        file_id, index, start, end = self._form.parse_data(payload)
        if file_id != self._job.file_id or not taking.take(index, payload[start:end]):
            return False
        self._momentum = 0
        self._silent = False
        self._timer.after(self._period)
        return True

    def connected(self):
        """The link is a new one: ask at once."""
        self._silent = False
        self._again = True

    def named(self, _job):
        """The service names the job again. Raises MomentumError as `answered`."""
        self.answered()

    def answered(self):
        """The service is there. Raises MomentumError when only blocks never come."""
        if self._silent:
            self._silent = False
            self._momentum += 1
            if self._momentum >= self._most:
                raise errors.MomentumError(
                    "the service answers, but sends no block of the job's stream (%s)"
                    % self._refusal
                )

    def refused(self, payload):
        """The stream service answered with an error."""
        self._refusal = self._form.parse_rejected(payload)

    def suspend(self):
        """Nothing is wanted for a while: the heap may have the buffers."""
        self._channel.inbox.give_back()

    def resume(self):
        """Make them again."""
        self._channel.inbox.open(self._longest)

    def close(self):
        """No more is wanted."""
        self._channel.close_stream()

    def _request(self, taking):
        self._again = False
        self._timer.after(self._period)
        self._form.get_request(self._out, self._job.file_id, taking.window.ask())
        self._channel.request(self._topics.get, self._out)


def _form(as_json):
    """Return the module of the messages, `stream` or `stream_json`; the other one is not loaded."""
    if as_json:
        from . import stream_json

        return stream_json
    from . import stream

    return stream

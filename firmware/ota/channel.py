"""The agent's end of the conversation with the job service, over the application's MQTT client.

Messages that come are queued by the callback and taken by `step()`; messages that go are built and
published here. What they mean is decided in agent.py.
"""

from . import jobs, stream
from .inbox import Inbox

# Tokens of the two reports whose answers the agent waits for.
READY = "ready"
RESULT = "result"

# What `take` returns first.
JOB = "job"
ANSWER = "answer"
REFUSAL = "refusal"
OTHER = "other"


class Channel:
    """The topics of one thing. client: the application's; block_size: bytes; stats: inbox.Stats."""

    def __init__(self, client, thing_name, block_size, stats):
        self._client = client
        self._thing = thing_name
        self._topics = jobs.Topics(thing_name)
        self._prefix = self._topics.thing.encode()
        self._requests = 0
        self._out = bytearray()
        self._stream = None
        self._stream_data = b""
        self.inbox = Inbox(block_size, stats)

    def open(self):
        """Subscribe to everything, on a fresh connection. Raises OSError when the client does."""
        self.inbox.clear()
        for topic in self._topics.subscriptions:
            self._client.subscribe(topic, 1)
        if self._stream_data:
            self._subscribe_stream()
        else:
            self._stream = None

    def open_stream(self, name):
        """Subscribe to the stream of a job, too. Raises OSError when the client does."""
        earlier = self._stream
        self._stream = stream.Topics(self._topics.thing, name)
        self._stream_data = self._stream.data.encode()
        self._unsubscribe(earlier)
        self._subscribe_stream()

    def close_stream(self):
        """Forget the stream and what of it is queued."""
        self._stream_data = b""
        self.inbox.clear()

    def put(self, topic, payload):
        """Queue a copy of a message from the callback. False: the topic is not the agent's."""
        if topic == self._stream_data:
            self.inbox.put_block(payload)
        elif topic.startswith(self._prefix):
            self.inbox.put_control(topic, payload)
        else:
            return False
        return True

    def take(self):
        """Return what the oldest control message says, None when there is none.

        (JOB, job or None, Unix seconds); (ANSWER, job id, token, accepted, whether a refusal is
        final); (REFUSAL, code of the stream); (OTHER,). Raises JobError for a document.
        """
        control = self.inbox.take_control()
        if control is None:
            return None
        topic, payload = control
        if topic in (self._topics.get + "/accepted", self._topics.notify):
            job, timestamp = jobs.parse(payload)
            return JOB, job, timestamp
        if self._stream_data and topic == self._stream.rejected:
            return REFUSAL, stream.parse_rejected(payload)
        answer = self._topics.answered_update(topic)
        if answer:
            return ANSWER, answer[0], jobs.token_of(payload), answer[1], jobs.is_final(payload)
        return (OTHER,)

    def ask(self):
        """Request the next job, with a token as the 2019 agent makes it."""
        token = "%d:%s" % (self._requests, self._thing)
        self._requests += 1
        self._client.publish(self._topics.get, jobs.get_request(token), qos=1)

    def report(self, job_id, status, details, qos=1, token=None):
        """Tell the service about a job. details: from `jobs.status_details`."""
        request = jobs.update_request(status, details, token)
        self._client.publish(self._topics.update(job_id), request, qos=qos)

    def request(self, download):
        """Ask for what `download` misses."""
        self.inbox.lost_block = False
        download.request(self._out)
        self._client.publish(self._stream.get, self._out, qos=0)

    def _unsubscribe(self, earlier):
        """Leave the stream of an earlier job, where the client can: brokers count subscriptions."""
        if earlier and hasattr(self._client, "unsubscribe"):
            self._client.unsubscribe(earlier.data)
            self._client.unsubscribe(earlier.rejected)

    def _subscribe_stream(self):
        self._client.subscribe(self._stream.data, 0)
        self._client.subscribe(self._stream.rejected, 0)

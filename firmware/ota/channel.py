"""The agent's end of the conversation with the job service, over the application's MQTT client.

Messages that come are queued by the callback and taken from the inbox here; messages that go are
built and published here. What they mean is decided in engine.py.
"""

from . import jobs

# Tokens of the two reports whose answers the agent waits for.
READY = "ready"
RESULT = "result"

# What `take` returns first.
JOB = "job"
ANSWER = "answer"
REFUSAL = "refusal"
OTHER = "other"


class Channel:
    """The topics of one thing. client: the application's; inbox: inbox.Inbox, for what comes.

    things: what all of them begin with (str).
    """

    def __init__(self, client, thing_name, inbox):
        self.inbox = inbox
        self._client = client
        self._thing = thing_name
        self._topics = jobs.Topics(thing_name)
        self.things = self._topics.thing
        inbox.jobs = (self.things + "jobs/").encode()
        inbox.streams = (self.things + "streams/").encode()

    def open(self):
        """Subscribe to everything, on a fresh connection. Raises OSError when the client does."""
        self.inbox.clear()
        for topic in self._topics.subscriptions:
            self._client.subscribe(topic, 1)
        if self.inbox.stream:
            self._subscribe_stream()
        else:
            self.inbox.streamed = ("", "")
        self.inbox.online = True

    def close(self):
        """Leave every topic, where the client can. Raises OSError when it does."""
        self.inbox.online = False
        self.close_stream()
        streamed, self.inbox.streamed = self.inbox.streamed, ("", "")
        self._unsubscribe(streamed)
        self._unsubscribe(self._topics.subscriptions)

    def open_stream(self, data, refusals):
        """Subscribe to these topics of a stream, too. Raises OSError when the client does."""
        earlier, self.inbox.streamed = self.inbox.streamed, (data, refusals)
        self._unsubscribe(earlier)
        self._subscribe_stream()
        self.inbox.stream = data.encode()

    def close_stream(self):
        """Forget the stream, and what of it is queued."""
        self.inbox.close()

    def take(self):
        """Return what the oldest control message says, None when there is none.

        (JOB, job or None, Unix seconds); (ANSWER, job id, token, accepted, whether a refusal is
        final); (REFUSAL, payload of the stream's); (OTHER,). Raises JobError for a document.
        """
        control = self.inbox.take_control()
        if control is None:
            return None
        topic, payload = control
        if topic in (self._topics.get + "/accepted", self._topics.notify):
            job, timestamp = jobs.parse(payload)
            return JOB, job, timestamp
        if self.inbox.stream and topic == self.inbox.streamed[1]:
            return REFUSAL, payload
        answer = self._topics.answered_update(topic)
        if answer:
            return ANSWER, answer[0], jobs.token_of(payload), answer[1], jobs.is_final(payload)
        return (OTHER,)

    def ask(self):
        """Request the next job, with a token as the 2019 agent makes it."""
        token = "%d:%s" % (self.inbox.asked, self._thing)
        self.inbox.asked += 1
        self._client.publish(self._topics.get, jobs.get_request(token), qos=1)

    def report(self, job_id, status, details, qos=1, token=None):
        """Tell the service about a job. details: from `jobs.status_details`."""
        request = jobs.update_request(status, details, token)
        self._client.publish(self._topics.update(job_id), request, qos=qos)

    def request(self, topic, payload):
        """Ask for blocks of the stream. What was dropped of those before is dealt with."""
        self.inbox.lost = 0
        self._client.publish(topic, payload, qos=0)

    def _unsubscribe(self, topics):
        """Leave these topics, where the client can: brokers count subscriptions."""
        if topics[0] and hasattr(self._client, "unsubscribe"):
            for topic in topics:
                self._client.unsubscribe(topic)

    def _subscribe_stream(self):
        for topic in self.inbox.streamed:
            self._client.subscribe(topic, 0)

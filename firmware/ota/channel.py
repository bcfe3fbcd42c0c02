"""The agent's end of the conversation with AWS IoT Jobs and its streams, over MQTT.

Topics lie under `$aws/things/<thing>/`. The board publishes requests; answers come on `accepted`
and `rejected` below a request's topic, and `notify-next` tells when another job has moved to the
front. The callback queues each message in the inbox; `hear` reads it.
"""

import json

from .compat import const, spread, ticks_add, ticks_diff, ticks_ms

IN_PROGRESS = "IN_PROGRESS"
SUCCEEDED = "SUCCEEDED"
FAILED = "FAILED"

# Tokens of the two reports whose answers the agent waits for.
READY = "ready"
RESULT = "result"

# How the report of what runs here stands: "off", one of these, or GIVEN_UP and why, until the next
# link.
DUE = "due"
SENT = "sent"
TOLD = "told"
GIVEN_UP = "given up: "

# Limits of statusDetails (AWS IoT Jobs): pairs, characters of a value.
_MAX_PAIRS = const(10)
_MAX_VALUE = const(1024)


class Channel:
    """The topics of one thing. client: the application's; inbox: inbox.Inbox, for what comes.

    things: the beginning of all topics (str); get, notify: the request for the next job, and the
    topic of unasked-for news; shadow: the one of reports.
    """

    def __init__(self, client, thing_name, inbox):
        self.inbox = inbox
        self.things = "$aws/things/%s/" % thing_name
        self.get = self.things + "jobs/$next/get"
        self.notify = self.things + "jobs/notify-next"
        self.shadow = self.things + "shadow/name/ota/update"
        self._client = client
        self._thing = thing_name
        inbox.jobs = (self.things + "jobs/").encode()
        inbox.streams = (self.things + "streams/").encode()

    def open(self):
        """Subscribe to every topic, on a new connection. Raises OSError when the client does."""
        self.inbox.clear()
        self._settle_report()
        for topic in self._subscriptions():
            self._client.subscribe(topic, 1)
        if self.inbox.stream:
            self._subscribe_stream()
        else:
            self.inbox.streamed = ("", "")
        self.inbox.online = True
        self.inbox.heard = ticks_ms()

    def close(self):
        """Leave every topic, where the client can. Raises OSError when it does."""
        self.inbox.online = False
        self.close_stream()
        streamed, self.inbox.streamed = self.inbox.streamed, ("", "")
        self._unsubscribe(streamed)
        self._unsubscribe(self._subscriptions())
        if self.inbox.shadow:
            self.told(DUE)

    def open_stream(self, data, refusals):
        """Subscribe to these topics of a stream, too. Raises OSError when the client does."""
        earlier, self.inbox.streamed = self.inbox.streamed, (data, refusals)
        self._unsubscribe(earlier)
        self._subscribe_stream()
        self.inbox.stream = data.encode()

    def close_stream(self):
        """Forget the stream, and its messages in the queue."""
        self.inbox.close()

    def ask(self):
        """Request the next job, with a token as the 2019 agent makes it."""
        token = "%d:%s" % (self.inbox.asked, self._thing)
        self.inbox.asked += 1
        self.inbox.stats.unanswered += 1
        self._client.publish(self.get, get_request(token), qos=1)

    def report(self, job_id, status, details, qos=1, token=None):
        """Tell the service about a job. details: from `status_details`."""
        topic = "%sjobs/%s/update" % (self.things, job_id)
        self._client.publish(topic, update_request(status, details, token), qos=qos)

    def request(self, topic, payload):
        """Request blocks of the stream, also those that were dropped before."""
        self.inbox.lost = 0
        self._client.publish(topic, payload, qos=0)

    def tell(self, payload):
        """Report what runs here, in the shadow `ota`. Its answer is listened to until `told`."""
        self.inbox.shadow = self.shadow.encode()
        self.inbox.stats.report = SENT  # first: AWS ends the link of whom it does not let do this
        for topic in self._shadow_answers():
            self._client.subscribe(topic, 1)
        self._client.publish(self.shadow, payload, qos=1)

    def told(self, stands):
        """Note how the report stands (a word of those above), and listen no more."""
        self.inbox.stats.report = stands
        self.inbox.shadow = b""
        self._unsubscribe(self._shadow_answers())

    def _settle_report(self):
        """Report again over a new link, but for one: the one after a report without an answer.

        AWS ends the link of whom its policy does not let publish.
        """
        stats, self.inbox.shadow = self.inbox.stats, b""
        if stats.report == SENT:
            stats.report = GIVEN_UP + "the link was lost"
        elif stats.report.startswith(GIVEN_UP):
            stats.report = DUE

    def _subscriptions(self):
        """Return every filter that a board subscribes to.

        A plain broker delivers nothing unsubscribed, AWS delivers the answers anyway.
        """
        update = self.things + "jobs/+/update/"
        return (
            self.get + "/accepted",
            self.get + "/rejected",
            self.notify,
            update + "accepted",
            update + "rejected",
        )

    def _shadow_answers(self):
        return self.shadow + "/accepted", self.shadow + "/rejected"

    def _unsubscribe(self, topics):
        """Leave these topics, where the client can: brokers count subscriptions."""
        if topics[0] and hasattr(self._client, "unsubscribe"):
            for topic in topics:
                self._client.unsubscribe(topic)

    def _subscribe_stream(self):
        for topic in self.inbox.streamed:
            self._client.subscribe(topic, 0)


class Timer:
    """A timer, due at once when made. first_ms, longest_ms: limits of the pauses of `later`."""

    def __init__(self, first_ms, longest_ms):
        self._first = first_ms
        self._longest = longest_ms
        self.now()

    @property
    def left(self):
        """Return the milliseconds until it is due, 0 when it is."""
        return max(0, ticks_diff(self._due, ticks_ms()))

    def now(self):
        """Be due at once; the next `later` is a short one again."""
        self._pause = 0
        self._due = ticks_ms()

    def after(self, milliseconds):
        """Be due so much later."""
        self._due = ticks_add(ticks_ms(), milliseconds)

    def later(self):
        """Be due after a pause twice as long as the last one, less a random part."""
        self._pause = min(max(2 * self._pause, self._first), self._longest)
        self.after(spread(self._pause))


def get_request(token):
    """Build a DescribeJobExecution request for `$next`. token: str of at most 64 characters."""
    return _dumps({"clientToken": token[:64]})


def update_request(status, details, token=None):
    """Build an UpdateJobExecution request. details: a dict made by `status_details`.

    token: str that the answer brings back, for requests whose answer matters: answers to
    different requests about one job look alike otherwise.
    """
    request = {"status": status, "statusDetails": details}
    if token:
        request["clientToken"] = token
    return _dumps(request)


def status_details(reason=None, **pairs):
    """Return a dict for statusDetails that the service cannot refuse.

    Values become printable text of 1 to 1024 characters; None and empty values are left out;
    `reason` stays, whatever else does not fit into ten pairs.
    """
    details = {}
    if reason:
        details["reason"] = _printable(reason)
    for key in sorted(pairs):
        if pairs[key] not in (None, "") and len(details) < _MAX_PAIRS:
            details[key] = _printable(str(pairs[key]))
    return details


def _printable(text):
    return "".join(c if " " <= c <= "~" else "?" for c in text[:_MAX_VALUE]) or "?"


def _dumps(value):
    return json.dumps(value, separators=(",", ":")).encode()

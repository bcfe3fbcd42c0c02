"""The stream service behind an MQTT client, with a link that may be down; for any interpreter."""

import json
from binascii import b2a_base64, unhexlify

import heads
from ota import cbor

THINGS = "$aws/things/board-1/"
STREAM = "S"
# Messages as they were made; WebAssembly's interpreter frees no memory before it ends.
_messages = {}


class StreamService:
    """A client whose service has one file. data: bytes; form: "cbor" or "json".

    stops_at: the block of 4096 bytes from which on nothing is sent, None for none; coming: (topic,
    payload) of what is on its way; down: whether the link is.
    """

    def __init__(self, data, form):
        self.data = data
        self.form = form
        self.stops_at = None
        self.coming = []
        self.down = False

    def subscribe(self, topic, qos=0):
        self._check()

    def unsubscribe(self, topic):
        self._check()

    def publish(self, topic, msg, retain=False, qos=0):
        self._check()
        if topic == "%sstreams/%s/get/%s" % (THINGS, STREAM, self.form):
            self._answer(bytes(msg))

    def deliver(self, inbox):
        """Let one message come."""
        if self.coming:
            inbox.put(*self.coming.pop(0))

    def send(self, file_id, index, block):
        """Send a block."""
        key = self.form, file_id, index, len(block), block[:8]
        if key not in _messages:
            _messages[key] = self._message(file_id, index, block)
        topic = "%sstreams/%s/data/%s" % (THINGS, STREAM, self.form)
        self.coming.append((topic.encode(), _messages[key]))

    def _message(self, file_id, index, block):
        if self.form == "json":
            start = b'{"f":%d,"i":%d,"l":%d,"p":"' % (file_id, index, len(block))
            message = start + base64(block) + b'"}'
        else:
            message = b"\xbf"
            for key, value in (("f", file_id), ("i", index), ("l", len(block)), ("p", block)):
                message += heads.encode(key) + heads.encode(value)
            message += b"\xff"
        return message

    def block(self, index, size):
        return self.data[index * size : (index + 1) * size]

    def _answer(self, message):
        request = json.loads(message) if self.form == "json" else _map(message)
        bits, size = request["b"], request["l"]
        if self.form == "json":
            bits = unhexlify(bits[2:])
        for i in range(8 * len(bits)):
            index = request["o"] + i
            stopped = self.stops_at is not None and index * size >= self.stops_at * 4096
            if bits[i // 8] >> i % 8 & 1 and not stopped:
                self.send(request["f"], index, self.block(index, size))

    def _check(self):
        if self.down:
            raise OSError(104)


def base64(data):
    """Return the base64 of bytes. Of a whole block at once, WebAssembly's takes 40 MB."""
    pieces = [data[at : at + 48] for at in range(0, len(data), 48)]
    return b"".join([b2a_base64(piece).strip() for piece in pieces])


def _map(message):
    """Return a map of texts to numbers, texts and byte strings."""
    reader = cbor.Reader(message)

    def item():
        reader.head()
        if reader.major == cbor.UINT:
            return reader.value
        start = reader.pos
        reader.pos += reader.value
        found = message[start : reader.pos]
        return found if reader.major == cbor.BYTES else str(found, "utf-8")

    reader.head()
    found = {}
    for _ in range(reader.value):
        key = item()
        found[key] = item()
    return found

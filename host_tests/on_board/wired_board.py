"""main.py of a simulated board whose agent talks to a test, message by message, over a socket.

A frame is u16 length of the topic, u32 of the payload (little-endian), topic, payload. The board
sends what the agent publishes and, whenever it has nothing to do, a frame without a topic whose
payload is JSON: [state, journal's phase, image's state, free heap, blocks received or null]. Each
of these is answered by one frame for the agent, or by one without a topic, for a collected heap.
"""

import gc
import json
import socket
import struct
import sys

import ota
from ota.agent import Agent

_HEAD = "<HI"
_TCP, _NODELAY = 6, 1
# Collections take most of the time; rarer ones leave less order in the heap than main.py's (bytes).
_RARELY = 16384
# As firmware/main.py lets a link have it.
_LONGEST = 4096 + 512


class NoSockets:
    """What an address in a hostile document leads to: nowhere."""

    SOCK_STREAM = socket.SOCK_STREAM

    @staticmethod
    def getaddrinfo(*_):
        """Find nobody."""
        raise OSError(-2)


class Client:
    """An MQTT client, as far as the agent sees one. port: TCP, of the test."""

    def __init__(self, port):
        self._stream = socket.socket()
        self._stream.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
        self._stream.setsockopt(_TCP, _NODELAY, 1)
        self._payload = memoryview(bytearray(_LONGEST))

    def subscribe(self, topic, qos=0):
        """Every message comes anyway."""

    def publish(self, topic, msg, qos=0):
        """Send a frame."""
        self._stream.write(struct.pack(_HEAD, len(topic), len(msg)) + topic.encode() + msg)

    def wait(self):
        """Return the next frame, (topic, payload); the payload stays until the one after."""
        topic, payload = struct.unpack(_HEAD, self._stream.read(6))
        topic, payload = self._stream.read(topic), self._payload[:payload]
        self._stream.readinto(payload)
        return topic, payload

    def close(self):
        """Hang up."""
        self._stream.close()


def main():
    """Drive the agent until something escapes from it; then hang up."""
    settings = ota.load_settings()
    client = Client(settings["wire"])
    sys.modules["socket"] = NoSockets
    agent = Agent(client, settings["thing"], settings=settings)
    gc.threshold(_RARELY)
    try:
        agent.start()
        while True:
            if agent.step():
                rest(client, agent)
    except Exception as error:  # noqa: BLE001, whatever it is, the test is to see it
        sys.print_exception(error)
        client.close()


def rest(client, agent):
    """Say so, and carry out the answer."""
    progress = agent.progress or [None]
    phase = agent.journal.phase if "ota.engine" in sys.modules else "NONE"  # at rest
    state = [agent.state, phase, agent.image_state, gc.mem_free(), progress[0]]
    client.publish("", json.dumps(state).encode())
    topic, payload = client.wait()
    if topic:
        agent.on_message(topic, payload)
    else:
        gc.collect()

"""A client in a process of its own, on any interpreter, driven by lines of JSON on standard input.

    python host_tests/on_board/link_client.py ROOT VERSION

ROOT: of the work tree; VERSION: a key of umqtt_versions.VERSIONS, or a folder that holds
umqtt/simple.py. The first line is {"plain": bool, "tls": [ca, certificate, key] or null,
"arguments": {...}}: a firmware/link.Link, or the library's own client. Every further line calls a
method: {"call": name, "arguments": [...], "options": {...}}, or sets an attribute: {"set": name,
"value": ...}, or names calls that the callback makes once: {"in_callback": [...]}. Bytes travel as
{"hex": "..."}, or {"zeros": length}. The answer to each says what became of it;
host_tests/remote_link.py reads it.
"""

import json
import sys
from binascii import hexlify, unhexlify

ROOT, VERSION = sys.argv[1:3]
sys.path[:0] = [ROOT + "/firmware", ROOT + "/host_tests/on_board"]
sys.path.append(ROOT + "/sim/chip")  # link.py shares the agent's package, which wants a chip


def become_chip():
    """Under CPython, put what MicroPython has in the place of socket and tls."""
    sys.path.append(ROOT + "/sim/chip/cpython")
    import binascii
    import struct

    import cpython_sockets

    sys.modules.update(
        socket=cpython_sockets.socket, tls=cpython_sockets.tls, usocket=cpython_sockets.socket,
        ustruct=struct, ubinascii=binascii,
    )  # fmt: skip


def library():
    """Import umqtt.simple in the wanted version and return its client."""
    if "/" in VERSION:
        sys.path.insert(0, VERSION)
        from umqtt.simple import MQTTClient

        return MQTTClient
    import umqtt_versions

    class Package:
        MQTTClient = umqtt_versions.VERSIONS[VERSION]

    sys.modules["umqtt"] = Package
    sys.modules["umqtt.simple"] = Package
    return Package.MQTTClient


def decode(value):
    if not isinstance(value, dict):
        return value
    return unhexlify(value["hex"]) if "hex" in value else bytes(value["zeros"])


def read(name):
    with open(name, "rb") as file:
        return file.read()


def describe(error):
    number = error.errno if isinstance(error, OSError) else None
    return [type(error).__name__, isinstance(error, OSError), number, str(error)]


class Session:
    """One client and what its callback got."""

    def __init__(self, request):
        client = library()
        arguments = request["arguments"]
        if not request["plain"]:
            import link

            client = link.Link
            if request["tls"]:
                arguments["tls_context"] = __import__("ota.link_open").link_open.tls_context(
                    *map(read, request["tls"])
                )
        self.client = client("client", **arguments)
        self.client.set_callback(self.received)
        self.messages = []
        self.calls = []

    def received(self, topic, payload):
        self.messages.append([str(hexlify(topic), "ascii"), str(hexlify(payload), "ascii")])
        calls, self.calls = self.calls, []
        for call in calls:
            self.call(call)

    def call(self, request):
        arguments = [decode(value) for value in request["arguments"]]
        method = self.client
        for name in request["call"].split("."):
            method = getattr(method, name)
        value = method(*arguments, **request["options"])
        return value if isinstance(value, int) else None

    def handle(self, request):
        """Do what a line asks for. Returns the answer."""
        began = ticks_ms()
        value = error = None
        try:
            if "call" in request:
                value = self.call(request)
            elif "set" in request:
                setattr(self.client, request["set"], request["value"])
            else:
                self.calls = request["in_callback"]
        except Exception as problem:  # noqa: BLE001, the other side judges
            error = describe(problem)
        milliseconds = ticks_diff(ticks_ms(), began)
        messages, self.messages = self.messages, []
        return {"value": value, "error": error, "ms": milliseconds, "messages": messages}


if sys.implementation.name == "cpython":
    become_chip()

from ota.compat import ticks_diff, ticks_ms  # noqa: E402

session = Session(json.loads(sys.stdin.readline()))
print("{}")
while True:
    line = sys.stdin.readline()
    if not line:
        break
    print(json.dumps(session.handle(json.loads(line))))

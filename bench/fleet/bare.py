"""The bare publisher, a process of its own: `python -m bench.fleet.bare PORT PAUSE [FOLDER]`.

It stands for the fastest service that this machine's broker could have: it holds the encoded blocks
ready, asks nobody whether a thing may have them, and writes each window to a raw socket. It gets an
object's bytes from standard input, prints `ready`, and serves until it is ended. PAUSE is in
seconds, before each look at what has come; 0 is the fastest. FOLDER has its certificate, where the
broker wants one.
"""

from __future__ import annotations

import socket
import sys
import time

import cbor2

from bench.fleet import packets
from bench.fleet.identities import HOST, context
from bench.fleet.orders import BARE, BLOCK, STREAM, data_topic, get_topic, message

NAME = "bench-bare"
"""Its name at the broker."""


def main() -> None:
    """Answer requests for windows."""
    data = sys.stdin.buffer.read()
    blocks = [
        message(index, data[start : start + BLOCK])
        for index, start in enumerate(range(0, len(data), BLOCK))
    ]
    with _connect(int(sys.argv[1]), "".join(sys.argv[3:])) as link:
        link.sendall(packets.connect(NAME) + packets.subscribe([get_topic(BARE, "+", STREAM)]))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        _serve(link, blocks, float(sys.argv[2]))


def _connect(port: int, folder: str) -> socket.socket:
    link = socket.create_connection((HOST, port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    secured = context(folder, NAME)
    return link if secured is None else secured.wrap_socket(link, server_hostname=HOST)


def _serve(link: socket.socket, blocks: list[bytes], pause: float) -> None:
    rest = b""
    while received := link.recv(1 << 18):
        time.sleep(pause)
        data = rest + received
        found, end = packets.split(data)
        rest = data[end:]
        for kind, body, packet_end in found:
            if kind == packets.PUBLISH:
                topic = data_topic(BARE, packets.topic_of(data, body).split("/")[2], STREAM)
                asked = cbor2.loads(data[packets.payload_at(data, body) : packet_end])
                window = blocks[asked["o"] : asked["o"] + asked["n"]]
                link.sendall(b"".join(packets.publish(topic, block) for block in window))


if __name__ == "__main__":
    main()

"""The bare publisher, a process of its own: `python -m bench.fleet.bare PORT`, until it is ended.

It stands for the fastest service that this machine's broker could have: it holds the encoded blocks
ready, asks nobody whether a thing may have them, and writes each window to a raw socket. It gets an
object's bytes from standard input, and prints `ready`.
"""

from __future__ import annotations

import socket
import sys

import cbor2

from bench.fleet import packets
from bench.fleet.boards import BARE, BLOCK, data_topic, get_topic, message


def main() -> None:
    """Answer requests for windows."""
    data = sys.stdin.buffer.read()
    blocks = [
        message(index, data[start : start + BLOCK])
        for index, start in enumerate(range(0, len(data), BLOCK))
    ]
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.sendall(packets.connect("bare") + packets.subscribe([get_topic(BARE, "+")]))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        _serve(link, blocks)


def _serve(link: socket.socket, blocks: list[bytes]) -> None:
    rest = b""
    while received := link.recv(1 << 18):
        data = rest + received
        found, end = packets.split(data)
        rest = data[end:]
        for kind, body, packet_end in found:
            if kind == packets.PUBLISH:
                topic = data_topic(BARE, packets.topic_of(data, body).split("/")[2])
                asked = cbor2.loads(data[packets.payload_at(data, body) : packet_end])
                window = blocks[asked["o"] : asked["o"] + asked["n"]]
                link.sendall(b"".join(packets.publish(topic, block) for block in window))


if __name__ == "__main__":
    main()

"""Orders to the process of light boards, its answers, and the words that its boards speak. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import cbor2

from twinslot.formats import aws

SERVICE, BARE = "$aws", "bare"
"""The first level of topics: by the service, and by the bare publisher; equally long."""
BLOCKS, REPORTS, UPDATES = "blocks", "reports", "updates"
"""The kinds of orders: boards ask for windows of the object, report the progress of the job, or do
the whole way of an update."""
STREAM = JOB = "bench"
BLOCK, WINDOW = 4096, 8
"""Bytes of a block, and blocks of a window, as the agent has them."""


@dataclass(frozen=True)
class Order:
    """The work of one measurement.

    kind: of those above; root: first level of topics; stream: of the boards' job; blocks: of its
    object; seconds: how long to ask, or to wait for the last update; identities: folder of the
    boards' certificates, "" without TLS.
    """

    kind: str
    port: int
    root: str
    things: list[str]
    stream: str
    blocks: int
    seconds: float
    identities: str = ""


@dataclass
class Told:
    """What the boards saw.

    Blocks or answers that were new and that had come before, requests, repeats of requests,
    refusals, connections that were lost or not made, updates that SUCCEEDED; seconds in all;
    seconds of each whole window, answer or update.
    """

    seconds: float = 0
    new: int = 0
    again: int = 0
    requests: int = 0
    repeats: int = 0
    refused: int = 0
    lost: int = 0
    succeeded: int = 0
    waits: list[float] = field(default_factory=list)


def get_topic(root: str, thing: str, stream: str) -> str:
    """Return the topic of a board's requests."""
    return root + aws.topic(thing, f"streams/{stream}/get/cbor").removeprefix(SERVICE)


def data_topic(root: str, thing: str, stream: str) -> str:
    """Return the topic of the blocks for a board."""
    return get_topic(root, thing, stream).replace("/get/", "/data/")


def message(index: int, block: bytes) -> bytes:
    """Return a block's message as the service encodes it."""
    told = {"l": len(block), "p": block}
    rest = b"".join(cbor2.dumps(key) + cbor2.dumps(value) for key, value in told.items())
    return _HEAD + cbor2.dumps(index) + rest + b"\xff"


_HEAD = b"\xbf" + b"".join(map(cbor2.dumps, ("c", "rdy", "f", 0, "i")))


def is_block(data: bytes, at: int, end: int) -> bool:
    """Say whether the message from `at` to `end` is a block, and no refusal or other answer."""
    return end - at >= BLOCK and data[at] == _HEAD[0]


def index_of(data: bytes, at: int) -> int:
    """Return the block's number in a message. Raises ValueError for one of another form."""
    start = at + len(_HEAD)
    if data[at:start] != _HEAD:
        raise ValueError(f"no block of the stream: {data[at : start + 40]!r}")
    head = data[start]
    if head < 24:
        return head
    return int.from_bytes(data[start + 1 : start + 1 + (1 << (head - 24))], "big")


class Window:
    """The window of an object that a board waits for, in the words of firmware/ota/window.py."""

    def __init__(self, blocks: int) -> None:
        """blocks: of the object."""
        self._blocks = blocks
        self._missing: set[int] = set()
        self._behind = 0  # the block behind the window

    @property
    def whole(self) -> bool:
        """Say whether every block of it is here."""
        return not self._missing

    @property
    def last(self) -> bool:
        """Say whether nothing of the object lies behind it."""
        return self._behind == self._blocks

    def move(self, count: int) -> None:
        """Move on to the next blocks, of so many at most; behind the last to the first."""
        first = self._behind % self._blocks
        self._behind = min(first + count, self._blocks)
        self._missing = set(range(first, self._behind))

    def take(self, index: int) -> bool:
        """Take in a block. Return False for one that is here already, or not of the window."""
        found = index in self._missing
        self._missing.discard(index)
        return found

    def request(self) -> bytes:
        """Return the payload that asks for the missing blocks; there are some."""
        origin, last = min(self._missing), max(self._missing)
        bits = sum(1 << (index - origin) for index in self._missing)
        wanted = {"c": "rdy", "f": 0, "l": BLOCK, "o": origin}
        wanted |= {"b": bits.to_bytes((last - origin) // 8 + 1, "little"), "n": len(self._missing)}
        return cbor2.dumps(wanted)

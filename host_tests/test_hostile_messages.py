"""Whatever a service sends, on a board whose heap just suffices: the job ends, and nothing else."""

from __future__ import annotations

import json
import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import cbor2
import coverage
import pytest
from agent_bench import IMAGE, packed
from chipboard import fresh_ota
from connected_board import SETTINGS
from hostile_messages import BLOCK, FILE_SIZE, JOB, Messages
from job_service import JobService
from link_fixtures import need

from sim import image
from sim.board import Board, application_files, compile_module
from tools import heap
from tools.paths import ROOT
from twinslot.formats.head import read_head
from twinslot.formats.trailer import write_trailer

SEED = 5
# That board collects rarely, which is quicker, and leaves less order in the heap.
HEAP = heap.MOST + 28
# One of 10,000 documents just fits a small heap, and leaves the next step none: MemoryError passes
# through `step()` as it is. Here every document of 4 KB fits.
PLENTY = 250
# Its first block is the head.
GOOD = packed("1.1.0", 2)
assert len(GOOD) == FILE_SIZE
# Reasons that must have been told, at least.
WORDS = {
    "0x24000000: 0x00000005",  # no job of ours
    "0x24000000: 0x00000004",  # an empty file
    "0x27000000: 0xfffffff8",  # no block
    "0x01000000: 0xfffffffe",  # a head that was changed
    "rejected: 0x23000000",  # a self-test that is over
    "rejected: 0x26000000",  # a self-test of nothing
    "aborted: 0x2d000000",  # no way to the file
    "aborted: 0x0d000000",  # an address that leads nowhere
}
# Of a document that can be read, and is another job's: that one has moved to the front.
CUSTOM = "afr_ota is missing, and the application has no use for it"
# Bytes of heap that may be gone for good after thousands of messages: what grows once, and fits.
SLACK = 1024
TOPICS = ("jobs/$next/get/accepted", "jobs/notify-next", f"jobs/{JOB}/update/rejected")
# Of 64 stream messages the last ones come after the head; verifying it takes long.
OF_HEAD = 60


class State(NamedTuple):
    """What the board says when it has nothing to do. blocks: received, None without an update."""

    agent: str
    phase: str
    image: int
    free: int
    blocks: int | None


class Restarted(Exception):
    """The board has left the conversation."""


class Conversation:
    """A board in a conversation with a job service; it speaks as on_board/wired_board.py says.

    heap: wk, see tools/heap.py.
    """

    def __init__(self, folder: Path, heap: int) -> None:
        self.service = JobService("board-1")
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(30)
        self._wire: socket.socket | None = None
        self.board = Board(folder, interpreter="micropython", heapsize=f"{heap}wk")
        head = read_head(packed("1.0.0", 1))
        self.board.flash_firmware(
            0, image.firmware(version="1.0.0", size=IMAGE), write_trailer([head.record])
        )
        # What another application needs of the heap must not be missing here.
        files = application_files()
        files = {path: files[path] for path in files if path.startswith(("/boot.py", "/ota/"))}
        files["/wired_board.mpy"] = compile_module(ROOT / "host_tests/on_board/wired_board.py")
        files["/main.py"] = b"import gc\ngc.threshold(4096)\nimport wired_board\nwired_board.main()"
        settings = json.loads(SETTINGS["settings.json"])
        settings |= {"wire": self._server.getsockname()[1], "request_ms": 60000, "source_tries": 1}
        files["/etc/settings.json"] = json.dumps(settings).encode()
        files["/etc/trusted_keys.pem"] = SETTINGS["trusted_keys.pem"]
        self.board.install(files)

    def start(self) -> State:
        """Switch the board on; returns what it says once it rests."""
        self.board.start()
        return self.listen()

    def close(self) -> None:
        self._hang_up()
        self._server.close()
        self.board.close()

    def listen(self) -> State:
        """Answer what the board asks until it rests. Raises Restarted."""
        while True:
            topic, payload = self._frame()
            if topic:
                self.service.handle(topic, payload)
            elif self.service.outgoing:
                self._send(*self.service.outgoing.popleft())
            else:
                return State(*json.loads(payload))

    def say(self, topic: str, payload: bytes) -> State:
        """Let the job service send a message to the resting board. Raises Restarted."""
        self._send(self.service.prefix + topic, payload)
        return self.listen()

    def tell(self) -> State:
        """Deliver what the service has to say to the resting board. Raises Restarted."""
        self._send(*self.service.outgoing.popleft())
        return self.listen()

    def free(self) -> int:
        """Return the bytes of heap that are free after a collection."""
        self._send("", b"")
        return self.listen().free

    def _send(self, topic: str, payload: bytes) -> None:
        assert self._wire
        head = struct.pack("<HI", len(topic.encode()), len(payload))
        self._wire.sendall(head + topic.encode() + payload)

    def _frame(self) -> tuple[str, bytes]:
        if self._wire is None:
            self._wire, _ = self._server.accept()
            self._wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._wire.settimeout(30)
        topic, payload = struct.unpack("<HI", self._read(6))
        return self._read(topic).decode(), self._read(payload)

    def _read(self, size: int) -> bytes:
        assert self._wire
        data = b""
        while len(data) < size:
            try:
                piece = self._wire.recv(size - len(data))
            except ConnectionResetError:
                piece = b""
            if not piece:
                self._hang_up()
                raise Restarted
            data += piece
        return data

    def _hang_up(self) -> None:
        if self._wire:
            self._wire.close()
            self._wire = None


class Attack:
    """Feeds hostile messages, and watches that nothing comes of them but ends of their jobs."""

    def __init__(self, conversation: Conversation) -> None:
        self.on = conversation
        self.service = conversation.service
        self.service.silent_stream = True
        self.messages = Messages(SEED, GOOD[:BLOCK])
        self.state = conversation.start()
        self.otadata = conversation.board.otadata()

    def job(self, number: int) -> None:
        """Feed a document: to a board without a job, and to one with another job in hand."""
        if number % 8 == 6:
            self.service.add("bystander", GOOD)
            self.state = self.on.tell()
        in_hand, told = self.state.blocks is not None, len(self.service.updates)
        topic = TOPICS[number % len(TOPICS)]
        self.state = self.on.say(topic, self.messages.job(number))
        if in_hand:
            said = [details for _, _, details in self.service.updates[told:]]
            bad = {details["detail"] for details in said if details.get("cause") == "bad_job"}
            assert bad <= {CUSTOM}, "what is in hand goes on, whatever cannot be read"
        if "bystander" in self.service.jobs:
            assert self.service.status("bystander") == "QUEUED", "it has nothing to do with that"
        if number % 8 != 6:
            self.rest()

    def block(self, number: int) -> None:
        """Feed a stream message: to a board that awaits the head, and to one that has it."""
        if number % 64 == 0:
            self.rest()
        if not self.service.queue:
            self.service.add(f"job-{number}", GOOD)
            self.state = self.on.tell()
        kind = "rejected" if number % 32 == 31 else "data"
        stream = f"streams/{self.service.queue[0]}/{kind}/cbor"
        if number % 64 >= OF_HEAD and self.state.blocks == 0:
            head = {"f": 0, "i": 0, "l": BLOCK, "p": GOOD[:BLOCK]}
            self.state = self.on.say(stream, cbor2.dumps(head))
        index = self.service.stream_requests[-1]["o"]
        self.state = self.on.say(stream, self.messages.block(number, index))

    def rest(self) -> None:
        """Take the job in hand away."""
        for job in list(self.service.queue):
            self.service.cancel(job)
        self.service.jobs.clear()
        self.service.outgoing.clear()
        self.service.notify()
        self.state = self.on.tell()
        assert self.state.agent == "Ready"

    def feed(self, kind: str, count: int) -> None:
        """Feed so many messages of a kind, "job" or "block"."""
        free = []
        for number in range(count):
            try:
                getattr(self, kind)(number)
                assert self.state.phase not in ("VERIFIED", "ACTIVATED", "TESTING", "ACCEPTED")
                assert self.on.board.otadata() == self.otadata
            except (AssertionError, Restarted) as error:
                self.on.close()
                log = self.on.board.log_path.read_text()[-2000:]
                raise AssertionError(f"{kind} {number} of seed {SEED}: {error}\n{log}") from error
            if number in (count // 2, count - 1):
                self.rest()
                free.append(self.on.free())
        assert free[0] - free[-1] <= SLACK, f"the heap shrinks: {free}"

    @property
    def words(self) -> Counter[str]:
        """How often the service heard each reason of a failure."""
        return Counter(
            details["reason"] for _, status, details in self.service.updates if status == "FAILED"
        )

    def good_job(self) -> None:
        """Let the board take a good update, over its reset, and accept it."""
        self.service.silent_stream = False
        self.service.add("good", GOOD)
        with pytest.raises(Restarted):
            self.on.tell()
        self.on.listen()
        assert self.service.status("good") == "SUCCEEDED"
        assert self.on.board.boots[-1][0] == 1
        assert self.on.board.slot_bytes(1, len(GOOD) - BLOCK) == GOOD[BLOCK:]


@pytest.fixture
def attack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Attack]:
    need("micropython")
    conversation = Conversation(tmp_path / "board", getattr(request, "param", HEAP))
    try:
        yield Attack(conversation)
    finally:
        conversation.close()


def withstand(attack: Attack, jobs: int, blocks: int) -> None:
    before = attack.on.board.slot_bytes(0)
    attack.feed("job", jobs)
    attack.feed("block", blocks)
    assert attack.on.board.slot_bytes(0) == before
    sys.stdout.writelines(f"{count:6}  {word}\n" for word, count in attack.words.most_common())
    attack.good_job()


def test_hostile_messages_end_their_jobs_and_the_next_good_job_succeeds(attack: Attack) -> None:
    withstand(attack, 100, 100)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("attack", [PLENTY], indirect=True)
def test_10000_hostile_documents_and_10000_blocks_end_their_jobs(attack: Attack) -> None:
    withstand(attack, 10_000, 10_000)
    assert attack.words.keys() >= WORDS


# -- the parsers, on CPython ----------------------------------------------------------------------

# What reads a message: module, function.
PARSERS = {
    "jobs": "parse _job _updated_by _url _json _object _is_level _number token_of is_final",
    "stream_cbor": "Data.read Data._read parse_rejected",
    "cbor": "Reader.head Reader.skip Reader.at_break Reader.check_size",
}


def read(messages: Messages, count: int) -> None:
    """Give so many documents and stream messages to everything that reads one."""
    from ota import errors, jobs, stream_cbor

    data = stream_cbor.Data()
    heap = iter([4000, *[100_000] * 99] * (count // 100))
    jobs.mem_free = lambda: next(heap)
    for number in range(count):
        payload = messages.job(number)
        jobs.token_of(payload)
        jobs.is_final(payload)
        with suppress(errors.JobError):
            job, _ = jobs.parse(payload)
            assert job is None or job.document or isinstance(job.updated_by, int)
        payload = messages.block(number, number % 11)
        assert isinstance(stream_cbor.parse_rejected(payload), str)
        with suppress(errors.BlockError):
            data.read(bytearray(payload), len(payload))


@pytest.mark.slow
def test_10000_hostile_messages_take_every_branch_of_the_parsers(tmp_path: Path) -> None:
    seen = coverage.Coverage(
        data_file=None, config_file=False, branch=True, include=[f"{ROOT}/firmware/ota/*"]
    )
    fresh_ota(tmp_path)
    with seen.collect():
        read(Messages(SEED), 10_000)
    report = tmp_path / "report.json"
    seen.json_report(outfile=str(report))
    files = json.loads(report.read_text())["files"]
    files = {Path(name).stem: file for name, file in files.items()}
    left_out = {}
    for module, names in PARSERS.items():
        for name in names.split():
            found = files[module]["functions"][name]
            assert found["executed_branches"] or not found["missing_branches"]
            if found["missing_branches"] or found["missing_lines"]:
                left_out[f"{module}.{name}"] = found["missing_branches"], found["missing_lines"]
    assert left_out == {}

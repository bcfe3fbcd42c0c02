"""The agent's road from job to acceptance or rollback, on the simulated chip, in process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import hardware
import pytest
from chipboard import ChipBoard, fresh_ota
from job_service import Client, JobService
from layout import SLOT_SIZE

from sim import image
from twinslot.formats import package
from twinslot.trust import keys, signing

PRODUCT = "demo-board"
KEY = keys.generate()
IMAGE = 40_000  # bytes


def packed(version: str, sequence: int, behaviour: str = "good", **changes: Any) -> bytes:
    arguments = {"key": KEY, "product": PRODUCT, "created": 1_790_000_000, **changes}
    chip = arguments.pop("chip", 0)
    firmware = image.firmware(behaviour, version=version, size=arguments.pop("size", IMAGE))
    return signing.build(
        [package.firmware(firmware, chip)],
        arguments.pop("key"),
        version=version,
        sequence=sequence,
        **arguments,
    )


class Bench:
    """A board that runs 1.0.0 (sequence 1), and the service it talks to."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.service = JobService("board-1")
        self.board = ChipBoard(folder, **options)
        old = packed("1.0.0", 1)
        head = package.read_head(old)
        self.board.flash_slot(
            0, image.firmware(version="1.0.0", size=IMAGE), package.trailer([head.record])
        )
        self.board.write_etc("trusted_keys.pem", keys.public_pem(KEY.public_key()))
        self.board.write_etc("settings.json", {"self_test_s": 20})
        self.client: Client
        self.agent: Any = None
        self.key = KEY
        # What the application in each slot says of its version, for raw images.
        self.versions: dict[int, str] = {}

    def boot(self, callback: Any = None, **settings: Any) -> Any:
        """Power on, boot.py, a new agent. Returns the Reset or PowerCut that came instead."""

        def start() -> None:
            self.board.power_on()
            self.board.boot_py()
            ota = fresh_ota(self.board.folder)
            self.client = Client(self.service)
            options = {"product": PRODUCT, "request_ms": 100, **settings}
            self.agent = ota.agent.Agent(
                self.client,
                "board-1",
                callback,
                settings=options,
                version=self.versions.get(self.board.running),
            )
            self.client.agent = self.agent
            self.service.outgoing.clear()
            self.agent.start()

        return self.board.run(start)

    def step(self, steps: int = 3000) -> Any:
        """Run the application's loop until it has nothing to do, or the chip resets."""

        def loop() -> None:
            for _ in range(steps):
                self.client.deliver()
                wait = self.agent.step()
                if wait and self.reads():
                    time.sleep(wait / 1000)
                elif wait and not self.service.outgoing:
                    return

        return self.board.run(loop)

    @property
    def in_hand(self) -> Any:
        """The engine with an update in hand, None without one."""
        engine = self.agent._engine
        return engine if engine and engine.in_hand else None

    @property
    def proof(self) -> Any:
        """The test under way, None without one."""
        engine = self.agent._engine
        return engine and engine.proof

    def reads(self) -> bool:
        """Say whether a server's bytes are awaited; then nobody is asked to wait for long."""
        path = self.in_hand and self.in_hand.path
        return hasattr(path, "_filled") and not path._timer.left

    def until_quiet(self, callback: Any = None, resets: int = 8) -> None:
        """Boot again after every reset, until the board has nothing left to do."""
        for _ in range(resets):
            if self.boot(callback) is None and self.step() is None:
                return
        raise AssertionError("the board resets without end")


class Patient:
    """A callback that does nothing. asked: the 2019 agent's events, (name, detail as text)."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, event: str, detail: Any) -> None:
        if event in ("Activate", "Fail", "StartTest"):
            self.asked.append((event, str(detail)))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_good_package_ends_up_running_and_accepted(bench: Bench) -> None:
    data = packed("1.1.0", 2)
    bench.service.add("job-1", data)
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.service.details("job-1") == {"reason": "accepted v1.1.0", "version": "1.1.0"}
    assert bench.board.running == 1
    assert bench.board.slot_bytes(1, IMAGE) == data[4096 : 4096 + IMAGE]
    assert bench.agent.running == ("1.1.0", 2)
    assert bench.agent.state == "Ready"


@pytest.mark.compatibility(
    "6",
    "`self_test: ready`, `self_test: active`, SUCCEEDED `accepted v...`, in this order",
    path="MQTT",
)
@pytest.mark.compatibility(
    "6",
    "progress is also reported after the first block",
    path="MQTT",
    unlike="the 2019 agent reports every 64 blocks; v3.4 as here",
    because="else a small file leaves its job QUEUED until it is verified",
)
def test_the_service_hears_the_words_of_the_2019_agent_in_order(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.until_quiet()
    blocks = 1 + 10
    assert bench.service.updates == [
        ("job-1", "IN_PROGRESS", {"receive": f"1/{blocks}"}),
        ("job-1", "IN_PROGRESS", {"self_test": "ready", "updatedBy": "0x1"}),
        ("job-1", "IN_PROGRESS", {"self_test": "active", "updatedBy": "0x2"}),
        ("job-1", "SUCCEEDED", {"reason": "accepted v1.1.0", "version": "1.1.0"}),
    ]


@pytest.mark.compatibility(
    "7", "a failing self-test: the old image returns, `rejected: 0x23000000`"
)
@pytest.mark.compatibility(
    "6",
    "beside `reason` stand `cause`, `detail` and `version`",
    unlike="`reason` alone",
    because="an error word tells people too little",
)
def test_a_failing_self_test_rolls_back_and_says_why(bench: Bench, monkeypatch: Any) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    assert bench.boot() is None
    assert isinstance(bench.step(), hardware.Reset)
    source = "def run():\n    raise ValueError('no sensor')\n"
    (bench.board.folder / "selftest.py").write_text(source)
    monkeypatch.syspath_prepend(str(bench.board.folder))
    assert isinstance(bench.boot(), hardware.Reset)
    (bench.board.folder / "selftest.py").unlink()
    bench.until_quiet()
    assert bench.board.running == 0
    assert bench.service.status("job-1") == "FAILED"
    assert bench.service.details("job-1") == {
        "reason": "rejected: 0x23000000",
        "cause": "self_test",
        "detail": "ValueError: no sensor",
        "version": "1.0.0",
    }


def refused(bench: Bench, data: bytes) -> dict[str, str]:
    """Offer a package that must be refused before anything is erased. Returns its details."""
    bench.until_quiet()
    before = bench.board.slot_bytes(1, SLOT_SIZE)
    bench.service.add("job-x", data)
    assert bench.step() is None
    assert bench.board.slot_bytes(1, SLOT_SIZE) == before
    assert bench.service.status("job-x") == "FAILED"
    assert len(bench.service.stream_requests) == 1
    return bench.service.details("job-x")


def test_a_strangers_package_is_refused_before_anything_is_erased(bench: Bench) -> None:
    details = refused(bench, packed("1.1.0", 2, key=keys.generate()))
    assert details["cause"] == "unknown_key"
    assert details["reason"] == "0x02000000: 0xfffffffd"


@pytest.mark.compatibility(
    "7",
    "a package that is not newer is refused by its sequence, before anything is erased",
    unlike="the version is compared after the reboot into the new image",
    because="it costs 4 KB, not a download, an erase and two reboots; raw images are "
    "compared as AWS's are",
)
def test_an_old_sequence_is_refused_before_anything_is_erased(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 5))
    bench.until_quiet()
    bench.service.stream_requests.clear()
    bench.service.add("job-2", packed("1.0.9", 4))
    assert bench.step() is None
    assert bench.service.details("job-2")["cause"] == "old_sequence"
    assert bench.service.details("job-2")["reason"] == "rejected: 0x22000000"
    assert len(bench.service.stream_requests) == 1


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"product": "another"}, "wrong_target"),
        ({"chip": 9}, "wrong_target"),
        ({"size": 0x1B0000 - 4096 + 16}, "too_large"),
        ({"expires": 1_790_000_001}, "expired"),
    ],
)
def test_a_package_that_does_not_belong_here_is_refused(
    bench: Bench, changes: dict[str, Any], cause: str
) -> None:
    assert refused(bench, packed("1.1.0", 2, **changes))["cause"] == cause


def test_a_late_answer_to_another_report_does_not_count_as_the_results(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    assert bench.boot() is None
    assert isinstance(bench.step(), hardware.Reset)
    bench.service.updates.clear()
    assert bench.boot() is None
    while bench.agent.journal.phase != "ACCEPTED":
        if not bench.service.updates:
            bench.client.deliver()
        bench.agent.step()
    assert bench.service.outgoing, "the answer to self_test active is still on its way"
    assert bench.step() is None
    assert bench.service.status("job-1") == "SUCCEEDED"

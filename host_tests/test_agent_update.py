"""The agent's road from job to acceptance or rollback, on the simulated chip, in process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hardware
import pytest
from agent_bench import IMAGE, Bench, packed
from layout import SLOT_SIZE

from twinslot.trust import keys


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
    told = bench.service.details("job-1")
    assert told.pop("detail").startswith('ValueError: no sensor ("')
    assert told == {"reason": "rejected: 0x23000000", "cause": "self_test", "version": "1.0.0"}


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

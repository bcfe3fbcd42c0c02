"""A new data path and a new encoding take a line each in the loader's tables, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import agent_bench
import chipboard
import hardware
import pytest
import toy_service
from agent_bench import IMAGE, KEY, PRODUCT, Bench

from sim import image
from tools.interpreters import ON_BOARD
from twinslot.formats import cbor
from twinslot.formats.head import PACKAGE_MAGIC
from twinslot.trust import keys

ENCODING = 9
ADDRESS = "toy://x"
FIRMWARE = image.firmware("good", version="1.1.0", size=IMAGE)


def extended(folder: Path) -> ModuleType:
    """Import the agent as after a reset, with the toys' lines in its tables."""
    ota = chipboard.fresh_ota(folder)
    ota.__path__.append(str(ON_BOARD))  # where the toys' modules lie

    def add(phases: Any) -> None:
        phases.PATHS["toy"] = "toy_path"
        phases.SCHEMES["toy"] = "toy"
        phases.WRITERS[0, ENCODING] = phases.QUESTIONS[ENCODING] = "toy_writer"

    chipboard.on_load("phases", add)
    return ota


def encoded() -> bytes:
    """Return a package whose image travels in hexadecimal: twice as long as it is in the slot."""
    data = FIRMWARE.hex().encode()
    digest = hashlib.sha256(FIRMWARE).digest()
    component = {1: 0, 2: ENCODING, 3: len(data), 4: len(FIRMWARE), 5: digest, 6: 0}
    manifest = {1: 1, 2: PRODUCT, 3: "1.1.0", 4: 2, 5: 1_790_000_000, 7: [component]}
    payload, protected = cbor.dumps(manifest), cbor.dumps({1: -7, 4: keys.kid(KEY.public_key())})
    signature = keys.sign(KEY, cbor.dumps(["Signature1", protected, b"", payload]))
    cose = b"\xd2" + cbor.dumps([protected, {}, payload, signature])
    head = PACKAGE_MAGIC + len(cose).to_bytes(4, "big") + cose
    return head.ljust(4096, b"\xff") + data.ljust(-(-len(data) // 4096) * 4096, b"\xff")


def raw() -> bytes:
    return agent_bench.packed("1.1.0", 2)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(agent_bench, "fresh_ota", extended)
    return Bench(tmp_path)


def check(bench: Bench) -> None:
    """Check that the new image runs, was accepted, and that the board knows what it runs."""
    assert bench.board.running == 1
    assert bench.board.slot_bytes(1, IMAGE) == FIRMWARE
    assert bench.agent.running == ("1.1.0", 2)
    assert (bench.agent.image_state, bench.agent.state) == (2, "Ready")
    assert bench.agent.journal.history()[0]["status"] == "SUCCEEDED"


def test_a_job_brings_an_image_in_a_new_encoding(bench: Bench) -> None:
    bench.service.add("job-1", encoded())
    bench.until_quiet()
    check(bench)
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.service.details("job-1") == {"reason": "accepted v1.1.0", "version": "1.1.0"}


@pytest.mark.parametrize("build", [raw, encoded])
def test_a_new_data_path_brings_an_update(bench: Bench, build: Callable[[], bytes]) -> None:
    far = toy_service.FILES[ADDRESS] = toy_service.ToyFile(build())
    bench.boot()
    bench.agent.install(ADDRESS)
    assert isinstance(bench.step(20_000), hardware.Reset)
    bench.until_quiet()
    check(bench)
    assert bench.agent.journal.history()[0]["origin"] == "local"
    assert far.asked > 1
    assert far.coming == []


def test_a_power_cut_costs_what_the_new_writer_had_not_stored(bench: Bench) -> None:
    far = toy_service.FILES[ADDRESS] = toy_service.ToyFile(encoded())
    bench.boot(checkpoint_blocks=1)
    bench.agent.install(ADDRESS)
    while bench.agent.journal.next < 30_000:
        assert bench.step(1) is None
    kept = bench.agent.journal.next
    far.coming.clear()
    sent: list[int] = []

    def send(number: int, index: int, size: int) -> None:
        sent.append(index)
        toy_service.ToyFile.send(far, number, index, size)

    far.send = send
    for _ in range(3):
        if bench.boot() is None and bench.step(20_000) is None:
            break
    check(bench)
    after = sent[sent.index(0) + 1 :]  # behind the head
    assert min(after) == 1 + (kept - 4096) // 8192 * 2, "from a whole sector of the slot on"


def test_an_encoding_without_a_writer_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.service.add("job-1", encoded())
    bench.until_quiet()
    assert bench.service.status("job-1") == "FAILED"
    details = bench.service.details("job-1")
    assert details["cause"] == "bad_package"
    assert details["detail"] == "a component has encoding 9, which no writer takes"
    assert bench.board.running == 0

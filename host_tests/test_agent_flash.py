"""Flash is erased while the network is awaited, and never twice for the same bytes."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

import hardware
import pytest
from agent_bench import Bench, Patient, finish, packed, receive
from layout import SLOT_SIZE, SLOTS

SECTOR = 4096
BLOCK = 65536
START = SLOTS[1][3] // SECTOR
TRAILER = SLOT_SIZE // SECTOR - 1
SIZE = 400_000
SECTORS = -(-SIZE // SECTOR)


class Flash:
    """What is done to slot 1 from now on, by sector of the slot."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.erased: list[int] = []
        self.blocks: list[int] = []
        self.programmed: list[int] = []
        flash = bench.board.flash
        erase, erase_block, program = flash.erase, flash.erase_block, flash.program

        def noted_erase(sector: int) -> None:
            self._note(self.erased, sector)
            erase(sector)

        def noted_erase_block(address: int) -> None:
            self._note(self.blocks, address // SECTOR)
            erase_block(address)

        def noted_program(address: int, data: Any) -> None:
            for sector in range(address // SECTOR, (address + len(data) - 1) // SECTOR + 1):
                self._note(self.programmed, sector)
            program(address, data)

        monkeypatch.setattr(flash, "erase", noted_erase)
        monkeypatch.setattr(flash, "erase_block", noted_erase_block)
        monkeypatch.setattr(flash, "program", noted_program)

    def _note(self, where: list[int], sector: int) -> None:
        if START <= sector <= START + TRAILER:
            where.append(sector - START)

    def of_image(self, where: list[int]) -> list[int]:
        return [sector for sector in where if sector != TRAILER]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def flash(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Flash:
    return Flash(bench, monkeypatch)


@pytest.fixture
def psram(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chip with 4 MB of heap."""
    monkeypatch.setattr(gc, "mem_free", lambda: 4 << 20, raising=False)


def silent_after_the_head(bench: Bench) -> None:
    """Step until the head is admitted and the next blocks are asked for, and then some more."""
    receive(bench, 1)
    bench.agent.step()
    assert len(bench.service.stream_requests) == 2
    bench.service.outgoing.clear()
    for _ in range(50):
        bench.agent.step()


def test_the_next_window_is_erased_while_the_network_is_silent(bench: Bench, flash: Flash) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, size=SIZE))
    bench.boot(request_ms=60_000)
    silent_after_the_head(bench)
    assert flash.of_image(flash.erased) == list(range(8))


def test_erasing_begins_as_soon_as_the_blocks_are_asked_for(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, size=SIZE))
    bench.boot(request_ms=60_000)
    receive(bench, 1)
    assert bench.agent.step() == 0, "there is something to do before the network is waited for"
    assert len(bench.service.stream_requests) == 2
    bench.service.outgoing.clear()
    waits = [bench.agent.step() for _ in range(9)]
    assert waits[:8] == [0] * 8
    assert waits[8] > 0


def test_a_message_that_waits_goes_before_erasing(bench: Bench, flash: Flash) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, size=SIZE))
    bench.boot()
    receive(bench, 1)
    bench.agent.step()
    bench.client.deliver()  # the answer to the first report, which nobody awaits
    while not flash.of_image(flash.programmed):
        assert bench.service.outgoing
        bench.client.deliver()
        assert flash.of_image(flash.erased) == []
        bench.agent.step()
    assert flash.of_image(flash.erased) == [0], "for the block, not for those to come"
    bench.agent.step()
    assert flash.of_image(flash.erased) == [0, 1]


@pytest.mark.parametrize("eager", [True, False])
def test_an_update_erases_each_sector_once(bench: Bench, flash: Flash, eager: bool) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, size=SIZE))
    bench.boot(window=8 if eager else 1)
    if not eager:
        silent_after_the_head(bench)
        bench.agent.start()  # asks again
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert sorted(flash.of_image(flash.erased)) == list(range(SECTORS))
    assert flash.erased.count(TRAILER) == 2, "it goes first, and comes last"


def test_nothing_past_the_image_is_touched(bench: Bench, flash: Flash) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, size=9_000))
    bench.until_quiet()
    assert set(flash.erased) == set(flash.programmed) == {0, 1, 2, TRAILER}


def test_a_resume_touches_no_sector_that_is_there(bench: Bench, flash: Flash) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, size=SIZE))
    bench.boot()
    receive(bench, 50)  # checkpoint at 32; block 0 is the head
    there = set(flash.programmed) - {TRAILER}
    assert there == set(range(49))
    flash.erased.clear()
    flash.programmed.clear()
    assert bench.boot() is None
    receive(bench, 50)
    assert flash.erased == flash.programmed == []
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    again = flash.of_image(flash.erased)
    assert sorted(again) == list(range(49, SECTORS))
    assert bench.board.slot_bytes(1, SIZE) == packed("1.1.0", 2, size=SIZE)[4096 : 4096 + SIZE]


def test_a_resume_keeps_what_came_behind_a_lost_block(bench: Bench, flash: Flash) -> None:
    bench.service.drop_blocks = {41}
    bench.service.add("job-1", packed("1.1.0", 2, size=SIZE))
    bench.boot(request_ms=60_000)
    receive(bench, 48)
    there = set(flash.programmed) - {TRAILER}
    assert 40 not in there and 41 in there
    flash.programmed.clear()
    assert bench.boot() is None
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert not there & set(flash.programmed[:-1]), "no sector of the image is written twice"


def test_the_same_package_in_a_new_job_keeps_its_sectors(bench: Bench, flash: Flash) -> None:
    data = packed("1.1.0", 2, size=SIZE)
    bench.service.add("job-1", data)
    bench.boot(Patient())
    bench.step()
    bench.agent.reject("not now")
    bench.step()
    assert bench.service.status("job-1") == "FAILED"
    flash.erased.clear()
    flash.programmed.clear()
    bench.service.add("job-2", data)
    bench.step()
    assert bench.agent.journal.phase == "VERIFIED"
    assert flash.of_image(flash.erased) == flash.of_image(flash.programmed) == []
    bench.agent.activate()
    assert isinstance(bench.step(), hardware.Reset)
    bench.until_quiet()
    assert bench.service.status("job-2") == "SUCCEEDED"


def test_a_package_that_was_cancelled_and_comes_again_keeps_what_it_had(
    bench: Bench, flash: Flash
) -> None:
    data = packed("1.1.0", 2, size=SIZE)
    bench.service.add("job-1", data)
    bench.boot()
    receive(bench, 20)
    bench.service.cancel("job-1")
    bench.step()
    flash.programmed.clear()
    bench.service.add("job-2", data)
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-2") == "SUCCEEDED"
    assert not set(range(19)) & set(flash.programmed)


def test_another_package_keeps_nothing(bench: Bench, flash: Flash) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, size=SIZE))
    bench.boot()
    receive(bench, 20)
    bench.service.cancel("job-1")
    bench.step()
    flash.erased.clear()
    bench.service.add("job-2", packed("1.2.0", 3, size=SIZE))
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-2") == "SUCCEEDED"
    assert sorted(flash.of_image(flash.erased)) == list(range(SECTORS))


# -- 64 KB at a time -----------------------------------------------------------------------------


@pytest.mark.usefixtures("psram")
@pytest.mark.parametrize("block_size", [512, 4096])
@pytest.mark.parametrize("window", [3, 8, 32])
def test_with_psram_64_kb_are_erased_by_one_command(
    bench: Bench, flash: Flash, block_size: int, window: int
) -> None:
    data = packed("1.1.0", 2, size=200_000)
    bench.service.add("job-1", data)
    bench.boot(block_size=block_size, window=window)
    bench.step(20_000)
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.board.slot_bytes(1, 200_000) == data[4096:204_096]
    assert flash.blocks == [0, 16, 32]
    assert flash.of_image(flash.erased) == [48], "the rest of the image, less than 64 KB"


@pytest.mark.usefixtures("psram")
def test_64_kb_at_a_time_can_be_switched_off(bench: Bench, flash: Flash) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, size=SIZE))
    bench.boot(wide_writes=0)
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert flash.blocks == []
    assert len(flash.of_image(flash.erased)) == SECTORS


def test_without_much_heap_sectors_are_written_as_they_come(bench: Bench, flash: Flash) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, size=200_000))
    bench.boot()
    receive(bench, 5)
    assert flash.blocks == []
    assert flash.of_image(flash.erased)[:4] == [0, 1, 2, 3]


@pytest.mark.usefixtures("psram")
def test_64_kb_are_written_while_the_next_are_awaited(bench: Bench, flash: Flash) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, size=SIZE))
    bench.boot()
    receive(bench, 17)
    assert flash.blocks == []
    before = len(bench.service.stream_requests)
    bench.agent.step()
    assert len(bench.service.stream_requests) == before + 1
    assert flash.blocks == []
    bench.agent.step()
    assert flash.blocks == [0]


@pytest.mark.usefixtures("psram")
def test_checkpoints_count_whole_64_kb_and_a_resume_keeps_them(bench: Bench, flash: Flash) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, size=SIZE))
    bench.boot()
    receive(bench, 70)
    assert bench.agent.journal.next in (4096 + 3 * BLOCK, 4096 + 2 * BLOCK)
    assert flash.blocks == [0, 16, 32, 48]
    flash.blocks.clear()
    flash.programmed.clear()
    assert bench.boot() is None
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert flash.blocks == [64, 80], "what lies behind the checkpoint is kept, too"


@pytest.mark.usefixtures("psram")
def test_a_transfer_goes_on_with_64_kb_where_it_began_by_sectors(
    bench: Bench, flash: Flash
) -> None:
    data = packed("1.1.0", 2, size=SIZE)
    bench.service.add("job-1", data)
    bench.boot(wide_writes=0)
    receive(bench, 70)
    assert bench.agent.journal.next == 64 * 4096
    assert bench.boot() is None
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert flash.blocks == [64, 80]
    assert bench.board.slot_bytes(1, SIZE) == data[4096 : 4096 + SIZE]


@pytest.mark.usefixtures("psram")
def test_a_block_lost_at_the_border_of_64_kb_spoils_nothing(bench: Bench) -> None:
    data = packed("1.1.0", 2, size=SIZE)
    bench.service.drop_blocks = {1, 15, 16, 17, 32, 33, 98}
    bench.service.add("job-1", data)
    bench.boot()
    finish_with_patience(bench)
    assert bench.board.slot_bytes(1, SIZE) == data[4096 : 4096 + SIZE]


def finish_with_patience(bench: Bench) -> None:
    """As `finish`, where requests have to be repeated."""
    deadline = time.monotonic() + 20
    while bench.step() is None and time.monotonic() < deadline:
        time.sleep(0.01)  # the request timer runs in real time
    finish(bench)
    assert bench.service.status("job-1") == "SUCCEEDED"

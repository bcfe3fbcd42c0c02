"""A board that sleeps goes on where it was, says what sleep costs, and builds on nothing changed.

In process, on the simulated chip. Power that fails in its midst is in
test_application_power_cuts.py, a board that sleeps for real in test_your_application.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hardware
import pytest
from agent_bench import Chip, Patient, application, pack, tree
from chipboard import on_load

from twinslot.formats.head import read_head

HEAD = 4096
# Files of every kind: in a folder, empty, so small that it lies in its directory, of many blocks.
FILES = application(
    "1.1.0",
    more={
        "data/large.bin": bytes(range(256)) * 100,
        **{f"data/tiny_{n}.txt": b"%d" % n * 30 for n in range(4)},
        "empty/x/y.py": b"",
        "lib/block.bin": b"#" * 512,
    },
)
PACKAGE = pack("1.1.0", 2, FILES)


@pytest.fixture
def chip(tmp_path: Path) -> Chip:
    return Chip(tmp_path)


def wake(chip: Chip, callback: Any = None, **settings: Any) -> None:
    """Start, for the first time or after sleep."""
    if hardware.board:
        chip.board.cause = hardware.DEEPSLEEP
    assert chip.boot(callback, **settings) is None


def until(chip: Chip, blocks: int) -> bool:
    """Step until so many blocks more are here. Returns whether they came before its end."""
    begun = None
    for _ in range(5000):
        chip.client.deliver()
        if isinstance(chip.board.run(chip.agent.step), hardware.Reset):
            return False
        here = taken(chip)
        if here is not None:
            begun = here if begun is None else begun
            if here >= begun + blocks:
                return True
        elif begun is not None:
            return chip.board.run(lambda: chip.step()) is None
    raise AssertionError("the blocks never came")


def taken(chip: Chip) -> int | None:
    """Return the blocks that are here, None unless blocks come."""
    engine = chip.in_hand
    return engine.transfer.window.received if engine and engine.state == "receiving" else None


def asleep(chip: Chip, blocks: int, **settings: Any) -> None:
    """Publish the package, let blocks come, and sleep."""
    chip.service.add("job-1", PACKAGE)
    wake(chip, **settings)
    assert until(chip, blocks)
    chip.agent.shutdown()


def goes_on_at(chip: Chip, **settings: Any) -> int:
    """Wake. Returns how many blocks are here as soon as blocks come."""
    wake(chip, **settings)
    assert until(chip, 0)
    here = taken(chip)
    assert here is not None
    return here


def ended(chip: Chip, files: dict[str, bytes] = FILES, job: str = "job-1") -> None:
    """Let the update come to its end; check what runs."""
    chip.step()
    chip.until_quiet()
    assert chip.service.status(job) == "SUCCEEDED", chip.service.jobs[job]
    assert tree(chip.folder / chip.entered) == files


# -- on it goes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("block", "each"), [(256, 7), (512, 3), (1024, 2), (4096, 2)])
def test_asleep_after_every_few_blocks_it_goes_on_there_and_the_cost_is_what_was_said(
    chip: Chip, block: int, each: int
) -> None:
    """So each byte of files, headers, padding and end is slept at."""
    chip.service.add("job-1", PACKAGE)
    wake(chip, block_size=block)
    sleeps = 0
    while until(chip, each):
        before, cost = taken(chip), chip.agent.sleep_cost()
        chip.agent.shutdown()
        after = goes_on_at(chip, block_size=block)
        sleeps += 1
        assert before is not None
        assert cost == HEAD + max(0, before - after) * block, "what pads the package need not come"
        assert before - after <= -(-1023 // block), "at most half a header and padding"
    assert sleeps > len(PACKAGE) // block // each // 2
    ended(chip)


@pytest.mark.parametrize("first", [False, True])
def test_image_and_application_of_a_board_that_sleeps_arrive_as_one(
    chip: Chip, first: bool
) -> None:
    data = pack("1.1.0", 2, FILES, behaviour="good", application_first=first)
    chip.service.add("job-1", data)
    wake(chip)
    before = 0
    while until(chip, 3):
        here = taken(chip) or 0
        assert here >= before, "nothing of it comes twice for ever"
        before = here - 1
        assert chip.agent.sleep_cost() <= HEAD + 8192
        chip.agent.shutdown()
        wake(chip)
    ended(chip)
    assert chip.image(1) != chip.image(0)


def test_a_larger_block_after_sleep_brings_the_rest_only(chip: Chip) -> None:
    asleep(chip, 21, block_size=1024)
    assert goes_on_at(chip, block_size=16384) == (4096 + 21 * 1024) // 16384
    ended(chip)


def test_a_package_whose_application_is_the_same_goes_on_where_the_other_was(chip: Chip) -> None:
    asleep(chip, 5)
    chip.service.cancel("job-1")
    chip.service.add("job-2", pack("1.1.1", 3, FILES))
    assert goes_on_at(chip) == 6
    ended(chip, job="job-2")


def test_sleep_within_an_archive_writes_nothing_to_nvs(chip: Chip) -> None:
    saved: list[str] = []

    def watch(module: Any) -> None:
        save = module.Journal.save

        def saving(self: Any, **changes: Any) -> None:
            saved.append(str(changes))
            save(self, **changes)

        module.Journal.save = saving

    chip.service.add("job-1", PACKAGE)
    for _ in range(4):
        wake(chip, checkpoint_blocks=1)
        on_load("journal", watch)
        assert until(chip, 2)
        chip.agent.shutdown()
    assert len(saved) <= 2, f"when the job is taken and admitted: {saved}"


def test_the_job_shows_after_each_wake_how_far_it_has_come(chip: Chip) -> None:
    chip.service.add("job-1", PACKAGE)
    said = []
    for _ in range(4):
        wake(chip)
        assert until(chip, 2)
        chip.client.deliver()
        said.append(int(chip.service.details("job-1")["receive"].partition("/")[0]))
        chip.agent.shutdown()
    assert said == sorted(set(said)), "more each time"
    assert said[-1] >= 6


def test_an_archive_that_is_not_the_manifests_fails_once_for_a_board_that_sleeps_too(
    chip: Chip,
) -> None:
    """What it kept is what came: so the package is at fault, and is not fetched for ever."""
    data = bytearray(PACKAGE)
    data[PACKAGE.index(b"# driver of 1.1.0")] ^= 1
    chip.service.add("job-1", bytes(data))
    wake(chip)
    for _ in range(len(PACKAGE) // 4096):
        if not until(chip, 2) or chip.service.status("job-1") == "FAILED":
            break
        chip.agent.shutdown()
        wake(chip)
    assert chip.service.details("job-1")["cause"] == "bad_image"


# -- what has changed meanwhile --------------------------------------------------------------------


def _edit(path: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        file = folder / path
        file.write_bytes(change(file.read_bytes()))

    return edit


def _rename(folder: Path) -> None:
    folder.rename(folder.parent / ".old_0")


def _remove_folder(folder: Path) -> None:
    (folder / "empty/x/y.py").unlink(missing_ok=True)
    (folder / "empty/x").rmdir()


CHANGES: dict[str, Callable[[Path], None]] = {
    "a file has another byte": _edit("app.py", lambda data: b"#" + data[1:]),
    "a small file has another byte": _edit("data/tiny_1.txt", lambda data: b"#" + data[1:]),
    "a file is shorter": _edit("app.py", lambda data: data[:-1]),
    "a file is longer": _edit("app.py", lambda data: data + b"#"),
    "an empty file is not": _edit("empty/x/y.py", lambda data: data + b"#"),
    "a file is empty": _edit("data/large.bin", lambda data: b""),
    "a file is gone": lambda folder: (folder / "app.py").unlink(),
    "a folder is gone": _remove_folder,
    "the file that was being written has another byte": _edit(
        "lib/block.bin", lambda data: b"!" + data[1:]
    ),
    "the file that was being written is too long": _edit(
        "lib/block.bin", lambda data: data + b"#" * 512
    ),
    "the list is gone": lambda folder: (folder / ".files").unlink(),
    "the list is empty": _edit(".files", lambda _: b""),
    "the list has one more file": _edit(".files", lambda data: data + b"7 other.py\n"),
    "the list has another size": _edit(".files", lambda data: data.replace(b"512 lib", b"511 lib")),
    "the list has no mark": _edit(".files", lambda data: data.partition(b"= ")[0]),
    "a mark says more": _edit(".files", lambda data: data.replace(b"= ", b"= 1")),
    "a mark says less": _edit(".files", lambda data: data.replace(b"= ", b"= -")),
    "a mark is cut": _edit(".files", lambda data: data[:-3]),
    "a mark is a word": _edit(".files", lambda data: data.replace(b"= ", b"= x")),
    "the list names boot.py": _edit(".files", lambda data: b"7 boot.py\n" + data),
    "the list is no text": _edit(".files", lambda data: b"\xff" + data),
    "a folder of the list has bytes": _edit(
        ".files", lambda data: data.replace(b"0 lib/", b"9 lib/")
    ),
    "the directory was set aside": _rename,
}


def within_block_bin(chip: Chip) -> None:
    """Sleep in the middle of lib/block.bin, with all that stands before it in the directory."""
    at = PACKAGE.index(FILES["lib/block.bin"]) + 256
    asleep(chip, (at - HEAD) // 256, block_size=256)
    assert (chip.folder / "app_0/lib/block.bin").stat().st_size == at % 256 + 256 - at % 256


@pytest.mark.parametrize("change", CHANGES)
def test_what_does_not_fit_is_begun_again_and_fails_nothing(chip: Chip, change: str) -> None:
    within_block_bin(chip)
    CHANGES[change](chip.folder / "app_0")
    assert goes_on_at(chip, block_size=256) == HEAD // 256
    ended(chip)


def test_what_was_not_changed_is_gone_on_with(chip: Chip) -> None:
    """The other end of the test above."""
    within_block_bin(chip)
    (chip.folder / "app_0/log.txt").write_bytes(b"beside it\n")
    # As where power fails between the end of a file and its mark.
    (chip.folder / "app_0/lib/block.bin").write_bytes(FILES["lib/block.bin"])
    at = PACKAGE.index(FILES["lib/block.bin"]) + 256
    assert goes_on_at(chip, block_size=256) == at // 256
    ended(chip, {**FILES, "log.txt": b"beside it\n"})


@pytest.mark.parametrize("first", [False, True])
def test_an_image_that_came_with_what_was_changed_is_whole_in_the_end(
    chip: Chip, first: bool
) -> None:
    data = pack("1.1.0", 2, FILES, behaviour="good", application_first=first)
    chip.service.add("job-1", data)
    blocks = (len(data) - HEAD) // 1024 - 3
    wake(chip, block_size=1024, checkpoint_blocks=1)
    assert until(chip, blocks)
    chip.agent.shutdown()
    (chip.folder / "app_0/app.py").write_bytes(b"changed\n")
    kept = goes_on_at(chip, block_size=1024, checkpoint_blocks=1)
    offset = next(c.offset for c in read_head(data).manifest.components if c.kind == 1)
    assert kept == offset // 1024
    # The power fails now: what the journal says of the image must still be so.
    wake(chip, block_size=1024)
    ended(chip)


@pytest.mark.parametrize("slept", [1, 6, 9])
def test_another_package_after_sleep_takes_nothing_of_the_one_before(
    chip: Chip, slept: int
) -> None:
    asleep(chip, slept)
    chip.service.cancel("job-1")
    other = application("1.2.0", more={"data/large.bin": b"other"})
    chip.service.add("job-2", pack("1.2.0", 3, other))
    wake(chip)
    ended(chip, other, "job-2")


def test_what_has_run_is_not_taken_for_what_an_earlier_try_has_left(chip: Chip) -> None:
    """The same application once more, where it lay: what it wrote beside its files goes."""
    assert chip.update("job-1", PACKAGE) == "SUCCEEDED"
    assert chip.update("job-2", pack("1.2.0", 3, application("1.2.0"))) == "SUCCEEDED"
    (chip.folder / "app_0/main.mpy").write_bytes(b"of its own\n")
    chip.service.add("job-3", pack("1.3.0", 4, FILES))
    chip.until_quiet()
    assert chip.entered == "app_0"
    assert tree(chip.folder / "app_0") == FILES


# -- what sleep costs ------------------------------------------------------------------------------


def test_without_an_update_sleep_costs_nothing_and_asking_loads_nothing(chip: Chip) -> None:
    wake(chip)
    chip.step()
    assert chip.agent._engine is None
    assert chip.agent.sleep_cost() == 0
    assert chip.agent._engine is None
    assert chip.agent.state == "Ready"


def test_with_the_head_alone_it_costs_the_head_and_verified_nothing(chip: Chip) -> None:
    chip.service.add("job-1", PACKAGE)
    wake(chip, Patient())
    costs = {}
    for _ in range(5000):
        chip.client.deliver()
        chip.agent.step()
        if chip.agent._engine:
            costs[chip.agent._engine.state] = chip.agent.sleep_cost()
    assert {state for state, cost in costs.items() if cost == 0} == {"asking", "taking", "waiting"}
    assert {costs[state] for state in ("fetching", "verifying", "preparing", "finishing")} == {HEAD}
    chip.agent.shutdown()
    chip.service.stream_requests.clear()
    wake(chip, Patient())
    chip.step()
    assert chip.service.stream_requests == [], "it was verified"


def test_sleep_while_it_is_hashed_costs_no_more_than_it_says(chip: Chip) -> None:
    """Of an image: what lies in the slot is claimed as soon as all of it does."""
    chip.service.add("job-1", pack("1.1.0", 2, behaviour="good"))
    wake(chip)
    while not (chip.in_hand and chip.in_hand.state == "finishing"):
        chip.client.deliver()
        chip.agent.step()
    assert chip.agent.sleep_cost() == HEAD
    chip.service.stream_requests.clear()
    wake(chip)
    assert isinstance(chip.step(), hardware.Reset)
    assert [request["o"] for request in chip.service.stream_requests] == [0], "the head alone"


def test_blocks_behind_a_gap_count_as_they_are_lost(chip: Chip) -> None:
    chip.service.add("job-1", pack("1.1.0", 2, behaviour="good"))
    chip.service.drop_blocks.add(3)
    wake(chip)
    assert until(chip, 6)
    assert chip.agent.sleep_cost() == HEAD + 4 * 4096
    chip.agent.shutdown()
    assert goes_on_at(chip) == 3


def refused(chip: Chip) -> str:
    """Return why it must not sleep."""
    ota: Any = importlib.import_module("ota")
    with pytest.raises(ota.StateError) as caught:
        chip.agent.sleep_cost()
    return str(caught.value)


def test_in_a_test_and_before_a_restart_it_says_no_and_why(chip: Chip) -> None:
    chip.service.silent_updates = True
    chip.service.add("job-1", PACKAGE)
    wake(chip)
    assert chip.step() is None
    assert chip.agent._engine.state == "agreed"
    assert "restart into the new version" in refused(chip)
    chip.service.silent_updates = False
    assert chip.boot() is None
    while not (chip.in_hand and chip.in_hand.state == "confirming"):
        chip.client.deliver()
        chip.agent.step()
    assert "restart into the new version" in refused(chip)
    assert isinstance(chip.step(), hardware.Reset)
    assert chip.boot(Patient()) is None
    assert "1.1.0 is under test" in refused(chip)
    chip.step()
    chip.agent.accept()
    assert chip.agent.sleep_cost() == 0

"""The power may fail at any operation of flash, NVS or littlefs: image and files stay a pair.

Under MicroPython with the real littlefs (on_board/power_cuts.py). After every boot the board runs
the old image with exactly the old files, or the new ones with the new; by itself it ends with the
new pair accepted and the old one whole as the way back, or, where the new one fails its self-test,
with the old one.
"""

from __future__ import annotations

import random
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from application_cuts import BLOCK, WINDOW, Scenario, Update, application, own_agent, run

from tools.paths import ROOT

SEED = 20261124
OWN_CUTS = 24  # of a board that loads its own agent, which takes long
HEAD = 4096
# Both slots and both directories are in use: what is replaced was a way back.
USED = [Update(True, application("1.2.0")), Update(True, application("1.3.0"))]
NEW = application("1.4.0")
# What the new application does not need the room of is removed at rest.
SMALL = {"main.py": "# small\n", "only.py": "# one\n" * 30}
MANY = {**application("1.2.0"), **{f"part_{n}.py": f"# {n}\n" * 60 for n in range(12)}}
BAD = {**NEW, "selftest.py": "def run():\n    raise ValueError('no sensor')\n"}
# An archive of many requests: files of a block, small ones, one of ten blocks.
LARGE = {
    **{f"a/part_{n:02}.py": f"# {n}\n" * 150 for n in range(20)},
    **{f"a/small_{n}.py": f"# {n}\n" for n in range(5)},
    "large.txt": "".join(f"{n} of many lines\n" for n in range(600)),
    **application("1.4.0"),
}
SCENARIOS = {
    "application": Scenario([*USED, Update(False, NEW)]),
    "combined": Scenario([*USED, Update(True, NEW)]),
    "combined, application first": Scenario([*USED, Update(True, NEW, application_first=True)]),
    "image that keeps the application": Scenario([*USED, Update(True)]),
    "combined, taken back": Scenario([*USED, Update(True, BAD, fails="self_test")]),
    "application, the rest of the old one removed at rest": Scenario(
        [Update(True, MANY), USED[1], Update(False, SMALL)]
    ),
    "first application of a flat board": Scenario([Update(False, application("1.2.0"))]),
    "second application, as the flat files go": Scenario([USED[0], Update(False, NEW)]),
    "application of a board that sleeps": Scenario(
        [*USED, Update(False, LARGE)], awake=13, costs=HEAD + BLOCK
    ),
    "both of a board that sleeps": Scenario([*USED, Update(True, NEW)], awake=5, costs=HEAD + HEAD),
    "both of a board that sleeps, application first": Scenario(
        [*USED, Update(True, NEW, application_first=True)], awake=5, costs=HEAD + HEAD
    ),
}
KINDS = list(SCENARIOS)


def write(folder: Path, kind: str) -> Path:
    """Write a scenario into a folder of its name; returns that."""
    return SCENARIOS[kind].write(folder / kind)


def count(folder: Path, **options: Any) -> dict[str, Any]:
    """Carry the update out without a cut; return what the script tells of it."""
    (told,) = run(folder, [], **options)
    assert told.get("error") is None
    boots = 3 if told["result"] else 2
    assert told["asked"] == 1
    assert told["boots"] > boots if "sleeps" in folder.name else told["boots"] == boots
    return told


def check(folder: Path, cuts: Iterable[tuple[int, ...]]) -> int:
    """Check the update once for each of these cuts. Returns how many there were."""
    first, *rest = run(folder, cuts)
    for told in rest:
        assert "error" not in told, told
        assert told["missed"] < len(told["cuts"]), f"the power never failed: {told}"
        # Who asked for it asks again only where the board has not even noted that it was asked,
        # or does not show how it ended: the list of results is written last.
        unheard = told["cuts"][0] <= first["heard"]
        unshown = first["result"] is not None
        assert told["asked"] <= 1 + unheard + unshown + (len(told["cuts"]) - 1), told
    return len(rest)


@pytest.mark.parametrize("kind", ["application", pytest.param("combined", marks=pytest.mark.slow)])
def test_a_cut_at_sampled_operations_leaves_a_pair_and_ends_in_the_new_one(
    tmp_path: Path, kind: str
) -> None:
    folder = write(tmp_path, kind)
    last = count(folder)["operations"]
    wanted = 25 if kind in ("application", "combined") else 10
    sample = random.Random(SEED).sample(range(1, last + 1), wanted)
    sys.stdout.write(f"{wanted} of {last} operations, seed {SEED}\n")
    assert check(folder, [(SEED, at) for at in sample]) == wanted


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_at_every_operation_leaves_a_pair_and_ends_in_the_new_one(
    tmp_path: Path, kind: str, half: int
) -> None:
    """Each is torn in three ways; of a board that sleeps, whose twin is awake, each in one."""
    folder = write(tmp_path, kind)
    last = count(folder)["operations"]
    started = time.monotonic()
    every = 3 if "sleeps" in kind else 1
    cuts = [
        (SEED + way, at)
        for at in range(1 + half, last + 1, 2)
        for way in range(3)
        if (at // 2 + way) % every == 0
    ]
    done = check(folder, cuts)
    seconds = time.monotonic() - started
    sys.stdout.write(f"{kind}: {last} operations; {done} cuts in half of them, {seconds:.0f} s\n")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_while_the_board_finds_its_way_after_a_cut_changes_nothing(
    tmp_path: Path, kind: str
) -> None:
    """Twice during the test, and the update has failed by that."""
    folder = write(tmp_path, kind)
    last = count(folder)["operations"]
    chosen = random.Random(SEED)
    cuts = [
        (chosen.randrange(1 << 30), chosen.randint(1, last), chosen.randint(1, 40))
        for _ in range(150)
    ]
    assert check(folder, cuts) == 150


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cut_leaves_a_pair_where_the_agent_is_the_bundle_in_the_boards_own_directory(
    tmp_path: Path,
) -> None:
    """At each start the agent comes out of the directory that runs; each update brings another."""

    def bringing(version: str) -> Update:
        return Update(True, {**application(version), **own_agent(version)})

    updates = [bringing("1.2.0"), bringing("1.3.0")]
    scenario = Scenario(updates, settings={"block_size": 4096}, agent=own_agent("1.0.0"))
    folder = scenario.write(tmp_path / "s")
    last = count(folder)["operations"]
    sample = random.Random(SEED).sample(range(1, last + 1), OWN_CUTS)
    sys.stdout.write(f"{OWN_CUTS} of {last} operations, seed {SEED}\n")
    assert check(folder, [(SEED, at) for at in sample]) == OWN_CUTS


# -- rules broken on purpose ---------------------------------------------------------------------
#
# Two rules that no power cut alone can show broken, as the board goes on with the pair it runs:
# that a slot's trailer loses its word before its directory is cleared, which matters when the pair
# that runs is lost as well (test_agent_application.py has the order), and that files are read back
# before the trailer is written, which matters when flash does not keep what it was given.


def broken(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """Return a copy of what a board runs, with changes: (file, text, what stands there instead)."""
    shutil.copytree(ROOT / "firmware", folder / "firmware")
    shutil.copy(ROOT / "boot.py", folder)
    for name, old, new in changes:
        source = (folder / name).read_text()
        assert source.count(old) == 1, f"{name} has changed; so must this test"
        (folder / name).write_text(source.replace(old, new))
    return folder


def near(done: list[tuple[str, str, int]], label: str) -> range:
    """Return the operations around the first one of a partition."""
    before = 0
    for where, _, number in done:
        if where == label:
            break
        before += number
    return range(before - 12, before + 4)


def complaints(folder: Path, sources: Path, label: str) -> set[str]:
    """Cut the update around the first operation on a partition; return what is wrong then."""
    cuts = [(SEED, at) for at in near(count(folder, sources=sources)["done"], label)]
    return {told["error"] for told in run(folder, cuts, sources=sources) if "error" in told}


# The directory is named in a file, which is written just before set_boot().
CHOSEN_BY_A_FILE = (
    (
        "boot.py",
        "    directory = directory_of(Partition(Partition.RUNNING))\n    if not directory:\n",
        "    directory = directory_of(Partition(Partition.RUNNING))\n"
        "    if 'directory' in os.listdir(ROOT + 'etc'):\n"
        "        directory = open(ROOT + 'etc/directory').read()\n"
        "    if not directory:\n",
    ),
    (
        "firmware/ota/finalize.py",
        "    engine.board.slots.other.set_boot()\n",
        "    with open('/etc/directory', 'w') as file:\n"
        "        file.write(engine.target.directory)\n"
        "    engine.board.slots.other.set_boot()\n",
    ),
)


MUTATED = [pytest.param("application", marks=pytest.mark.slow), "combined"]


def check_half_a_pair(
    tmp_path: Path, kind: str, mutation: tuple[tuple[str, str, str], ...]
) -> None:
    """Cuts about set_boot() leave the board of a mutant with what does not belong together."""
    folder = write(tmp_path, kind)
    sources = broken(tmp_path / "broken", *mutation)
    assert any("are no pair" in text for text in complaints(folder, sources, "otadata"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", MUTATED)
def test_a_directory_that_a_file_chooses_leaves_half_a_pair(tmp_path: Path, kind: str) -> None:
    check_half_a_pair(tmp_path, kind, CHOSEN_BY_A_FILE)


# set_boot() first, and then the trailer.
TRAILER_LAST = (
    (
        "firmware/ota/finalize.py",
        '    if target is None:\n        raise errors.ImageError("the trailer of %s changed',
        "    target = target or engine.target\n    if target is None:\n"
        '        raise errors.ImageError("the trailer of %s changed',
    ),
    (
        "firmware/ota/finalize.py",
        "        slots.other.write_trailer(target.records, target.directory, buf)\n",
        "        pass\n",
    ),
    (
        "firmware/ota/finalize.py",
        "    engine.board.slots.other.set_boot()\n",
        "    other, target = engine.board.slots.other, engine.target\n"
        "    other.set_boot()\n"
        "    other.write_trailer(target.records, target.directory, engine.board.buf)\n",
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MUTATED)
def test_a_trailer_that_comes_after_set_boot_leaves_half_a_pair(tmp_path: Path, kind: str) -> None:
    check_half_a_pair(tmp_path, kind, TRAILER_LAST)


# What lies there is counted, but not read back: the archive's hash begins in its middle.
NOT_READ_BACK = (
    (
        "firmware/ota/directory_writer.py",
        "                    self._feed(piece)\n                    yield\n",
        "                    self._reader.feed(piece)\n"
        "                    self._at += len(piece)\n"
        "                    yield\n",
    ),
)


def test_an_archive_that_goes_on_without_a_look_back_does_not_end_in_the_new_pair(
    tmp_path: Path,
) -> None:
    folder = write(tmp_path, "application of a board that sleeps")
    sources = broken(tmp_path / "broken", *NOT_READ_BACK)
    with pytest.raises(AssertionError, match="the archive is not the one that the manifest names"):
        list(run(folder, [], sources=sources))


# -- what comes again ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_cut_costs_the_head_and_a_request(tmp_path: Path) -> None:
    """Wherever it comes: what lies in the directory is not fetched again."""
    folder = Scenario([*USED, Update(False, LARGE)]).write(tmp_path / "s")
    first = count(folder)
    writes = sum(number for label, _, number in first["done"] if label == "vfs")
    cuts = random.Random(SEED).sample(range(first["heard"], first["heard"] + writes), 12)
    _, *rest = run(folder, [(SEED, at) for at in cuts])
    most = HEAD + WINDOW * BLOCK + 2 * BLOCK
    again = [told["read"] - first["read"] for told in rest]
    sys.stdout.write(f"{again} bytes again of {first['read']}, at most {most}\n")
    assert not [told for told in rest if "error" in told]
    assert first["read"] > 3 * most
    assert min(again) >= 0
    assert HEAD < max(again) <= most


def test_a_sleep_costs_the_head_and_a_block(tmp_path: Path) -> None:
    kind = "application of a board that sleeps"
    awake = Scenario(SCENARIOS[kind].updates).write(tmp_path / "s")
    asleep = count(write(tmp_path, kind))
    sleeps = asleep["boots"] - 2
    again = asleep["read"] - count(awake)["read"]
    sys.stdout.write(f"{sleeps} times asleep: {again} bytes again\n")
    assert sleeps >= 4
    assert sleeps * HEAD <= again <= sleeps * (HEAD + BLOCK)

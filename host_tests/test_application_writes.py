"""What an update of an application writes, counted by partition; under MicroPython and littlefs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from application_cuts import Scenario, Update, application, run

BLOCK = 4096  # of littlefs (bytes)
WINDOW = 4  # blocks of a request; so many bytes lie between two marks in the directory's list
CACHE = 128  # bytes that littlefs writes at once; a file of no more lies in its directory
FILES = {
    "main.py": "import app\n" * 20,
    **{f"lib/module_{number}.py": "# one of twenty kilobytes\n" * 88 for number in range(9)},
}
# Application alone, and once more: both slots hold the same image by then.
EQUAL_SLOTS = [
    Update(True, application("1.2.0")),
    Update(False, application("1.3.0")),
    Update(False, FILES),
]
ENDS = [
    "ACCEPTED",  # the chip started hard, so the watchdog of the update before is gone
    "NONE",  # asked for
    "RECEIVING",
    "VERIFIED",
    "VERIFIED",  # the application agreed
    "ACTIVATED",
    "trial",  # a note per stage: the self-test
    "TESTING",
    *("trial",) * 4,  # main.py, its end in these tests, the agent, its step
    "trust",  # the floor
    "ACCEPTED",
    "history",
]


@pytest.mark.parametrize("block_size", [1024, 4096, 16384])
def test_an_application_of_20_kb_writes_its_own_sectors_and_little_else(
    tmp_path: Path, block_size: int
) -> None:
    assert 20_000 < sum(map(len, FILES.values())) < 22_000
    settings = {"block_size": block_size, "checkpoint_blocks": 4, "window": WINDOW}
    folder = Scenario(EQUAL_SLOTS, settings=settings).write(tmp_path / "s")
    (told,) = run(folder, [])
    assert (told["boots"], told["asked"], told.get("error")) == (2, 1, None)
    counted: Counter[tuple[str, str]] = Counter()
    for label, kind, number in told["done"]:
        counted[label, kind] += number

    # The image is there already. The trailer loses its word by programming; one erase, 16 pages.
    assert counted["ota_0", "erase"] == counted["ota_0", "program"] == 0
    assert counted["ota_1", "erase"] == counted["ota_1", "program"] == 0
    assert counted["ota_0 trailer", "erase"] == counted["ota_0 trailer", "program"] == 0
    assert (counted["ota_1 trailer", "erase"], counted["ota_1 trailer", "program"]) == (1, 17)
    # One record: NEW by set_boot(), PENDING by the bootloader, VALID by the acceptance.
    assert (counted["otadata", "erase"], counted["otadata", "program"]) == (3, 3)
    # No checkpoint: the directory's own list says how far the archive has come.
    assert told["blobs"] == ENDS
    assert counted["nvs", "erase"] in (0, 2), "its two halves take turns"

    # littlefs: a block for every 4096 bytes, and one for each directory; what is written goes in
    # pieces of the cache's size, and names cost two or three of them each.
    sizes = [len(text) for text in FILES.values()]
    folders = 2  # the application's own, and lib
    blocks = sum(-(-size // BLOCK) for size in sizes if size > CACHE)
    marks = sum(sizes) // (WINDOW * block_size)
    assert blocks + folders <= counted["vfs", "erase"] <= blocks + folders + 1 + 2 * marks
    content = sum(-(-size // CACHE) for size in sizes)
    again = marks * (max(sizes) // CACHE + 6)  # the last block of file and list, and their names
    removed = len(application("1.2.0")) + 1 + 3  # files, their list, directories
    names = 2 * len(FILES) + 3 * folders + 2 * removed
    probe = 3  # boot.py's, in /etc
    assert content < counted["vfs", "program"] <= content + names + probe + 3 + again
    assert set(counted) <= {
        (label, kind)
        for label in ("nvs", "otadata", "ota_0", "ota_1", "ota_0 trailer", "ota_1 trailer", "vfs")
        for kind in ("erase", "program")
    }


@pytest.mark.parametrize(
    "files",
    [
        {f"module_{number:03}.py": "y" * 200 for number in range(200)},
        {f"folder_{number:03}/x.py": "" for number in range(100)},
    ],
    ids=["many files", "many folders"],
)
def test_a_littlefs_that_runs_full_ends_the_update_and_takes_the_next(
    tmp_path: Path, files: dict[str, str]
) -> None:
    """What an archive takes there is known at its end only: a block for each file and more."""
    full = {"main.py": "# too much\n", **files}
    first, second, third = (application(f"1.{number}.0") for number in (2, 3, 5))
    updates = [
        Update(True, first),
        Update(True, second),
        Update(False, full, fails="filesystem"),
        Update(False, third),
    ]
    folder = Scenario(updates).write(tmp_path / "s")
    (told,) = run(folder, [])
    assert (told["boots"], told["asked"], told.get("error")) == (2, 1, None)
    folder = Scenario(updates[:-1]).write(tmp_path / "failing")
    (told,) = run(folder, [])
    assert (told["boots"], told["asked"], told.get("error")) == (1, 1, None)
    assert "it is full; " in told["result"]["detail"]
    assert told["blobs"] == ["ACCEPTED", "NONE", "RECEIVING", "NONE", "history"]
    assert not [label for label, _, _ in told["done"] if label.startswith(("ota_0", "otadata"))]

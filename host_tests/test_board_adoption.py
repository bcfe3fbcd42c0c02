"""The judgement of a board that runs something already: what is said, kept and refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from sim import image
from twinslot.board import adoption, running
from twinslot.formats import otadata, table

RECORD = otadata.Record
GOOD = running.Running((1, 26, 1), image.TABLE, "ota_0", (RECORD(1, 2), None), None, 300_000)
ONE_SLOT = replace(GOOD, table=(*image.TABLE[:3], image.TABLE[4]))

AGENT = {
    "/boot.py": b"boot of the project".ljust(5000),  # two blocks of flash
    "/ota/__init__.mpy": b"M",  # lies in its directory, and takes no block
    "/ota/bundle.mpy": b"B" * 20_000,  # five blocks
    "/link.mpy": b"L",
    "/etc/settings.json": b"{}",
}
"""What comes beside an application: 28 KB of flash."""
DEMO = {**AGENT, "/main.py": b"import ota\n"}
USER = {"/main.py": b"import ota\n"}

BOOT_REPLACED = "its boot.py is replaced: what that did belongs at the top of main.py"
UNUSED = (
    "nothing on it uses the agent: until main.py makes one, no update comes over the air "
    "(docs/your-application.md); --app DIR brings an application that does"
)


def found(
    *paths: str, board: running.Running = GOOD, mounts: tuple[str, ...] = ()
) -> adoption.Found:
    """A board with files of 5 bytes each at these paths."""
    return adoption.Found(board, "Generic ESP32", "30aea4", dict.fromkeys(paths, 5), mounts)


def judged(
    board: running.Running = GOOD,
    files: Mapping[str, bytes] = USER,
    wanted: Mapping[str, bytes] = AGENT,
) -> adoption.Needs:
    return adoption.needs(found(*files, board=board), files, wanted)


# -- what is said of the board ---------------------------------------------------------------------


def test_a_board_is_described_with_its_table_files_and_free_room() -> None:
    assert [*found("/main.py", "/lib/pump.py").lines()] == [
        "MicroPython 1.26.1 on Generic ESP32",
        "  table: nvs 20 KB, otadata 8 KB, ota_0 1728 KB, ota_1 1728 KB, vfs 576 KB; ota_0 runs",
        "  files: 2 of 10 bytes; 292 KB free",
    ]


def test_a_board_without_table_and_file_system_is_described_too() -> None:
    bare = replace(GOOD, table=(), free=None)
    assert [*found(board=bare).lines()] == [
        "MicroPython 1.26.1 on Generic ESP32",
        "  files: 0 of 0 bytes; no file system at /",
    ]


def test_other_file_systems_are_said_to_be_left_alone() -> None:
    told = [*found(mounts=("/sd", "/usb")).lines()]
    assert told[-1] == "  also mounted, and left alone: /sd, /usb"
    assert not any("mounted" in line for line in found().lines())


@pytest.mark.parametrize("path", ["/ota/bundle.mpy", "/ota/agent.py", "/ota/agent.mpy"])
def test_the_agent_is_known_by_its_bundle_or_its_module(path: str) -> None:
    assert found("/main.py", path).has_agent


@pytest.mark.parametrize("path", ["/ota/__init__.py", "/ota.py", "/agent.py", "/lib/ota/agent.py"])
def test_other_files_are_not_taken_for_the_agent(path: str) -> None:
    assert not found(path).has_agent


# -- files alone, or all of the flash --------------------------------------------------------------


def test_a_board_that_fits_needs_files_alone() -> None:
    assert judged() == adoption.Needs(
        flash=(), changes=("boot.py, the agent and settings come onto it, 28 KB",), left=()
    )


# No id of a test has the interpreter's name in it: `tools.mutation` would leave the test out.
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(
            {"version": (1, 19, 1)}, "MicroPython 1.19.1 is older than 1.22", id="release"
        ),
        pytest.param({"table": image.TABLE[2:]}, "its table has no otadata", id="otadata"),
        pytest.param({"table": ONE_SLOT.table}, "its table has 1 OTA slot of two", id="slot"),
        pytest.param({"free": None}, "it has no file system at /", id="no-files"),
        pytest.param({"fat": True}, running.FAT, id="fat"),
    ],
)
def test_what_files_cannot_mend_takes_a_flash_and_is_said_once(
    change: dict[str, Any], reason: str
) -> None:
    needs = judged(replace(GOOD, **change))
    assert needs.flash == (reason,)
    assert needs.changes == (
        "all of its flash is written: MicroPython, a table with two slots, files",
        "the files that were saved come back to their places",
        "boot.py, the agent and settings come onto it, 28 KB",
    )


def test_every_reason_for_a_flash_is_said() -> None:
    worst = replace(GOOD, version=(1, 20, 0), table=(), free=None, fat=True)
    assert len(judged(worst).flash) == 6


@pytest.mark.parametrize(
    ("version", "flash"), [((1, 21, 9), True), ((1, 22), False), ((1, 22, 0), False)]
)
def test_the_oldest_release_that_the_agent_runs_on_may_stay(
    version: tuple[int, ...], flash: bool
) -> None:
    assert bool(judged(replace(GOOD, version=version)).flash) == flash


def test_data_of_the_boards_own_is_said_to_stay_when_its_flash_is_written() -> None:
    fonts = table.Partition("fonts", 0x40, 1, 0x3E8000, 0x8000)
    logs = table.Partition("logs", 0x40, 2, 0x3F0000, 0x8000)
    own = (*image.TABLE, fonts, logs)
    said = "its partitions fonts, logs stay where they are; --drop LABEL gives one up"
    assert said in judged(replace(GOOD, free=None, table=own)).changes
    assert said not in judged(replace(GOOD, table=own)).changes


def test_room_is_judged_before_anything_is_sent_and_the_last_block_counts() -> None:
    assert judged(replace(GOOD, free=28 << 10)).flash == ()
    with pytest.raises(adoption.AdoptionError) as caught:
        judged(replace(GOOD, free=(28 << 10) - 1))
    assert str(caught.value) == (
        "boot.py, the agent and settings take 28 KB, and 27 KB are free on the board: remove files "
        "that it does not need, or give --firmware, which makes a new file system"
    )


def test_a_full_board_whose_flash_is_written_anyway_is_not_refused() -> None:
    assert judged(replace(ONE_SLOT, free=0)).flash


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"encrypted": True}, running.UnfitError, "flash encryption is on"),
        ({"records": (RECORD(1, 0), None)}, running.PendingError, "a new image is under test"),
        ({"records": (RECORD(1, 1), None)}, running.PendingError, "a new image is under test"),
    ],
)
def test_a_board_that_must_not_change_is_refused(
    change: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        judged(replace(GOOD, **change))


# -- what a person is told of their files ----------------------------------------------------------


def test_a_boot_py_of_its_own_is_said_to_be_replaced_and_ours_is_not() -> None:
    assert BOOT_REPLACED in judged(files={**USER, "/boot.py": b"import gc\n"}).changes
    assert BOOT_REPLACED not in judged(files={**USER, "/boot.py": AGENT["/boot.py"]}).changes
    assert BOOT_REPLACED not in judged(files=USER).changes


@pytest.mark.parametrize(
    "files",
    [
        {"/main.py": b"import time\nimport ota\n"},
        {"/lib/app.py": b"def run():\n    from ota import Agent\n"},
    ],
)
def test_an_application_that_uses_the_agent_leaves_nothing_to_do(files: dict[str, bytes]) -> None:
    assert judged(files=files).left == ()


@pytest.mark.parametrize(
    "files",
    [
        {"/main.py": b"import otadata\n# import ota\n"},
        {"/boot.py": b"import ota\n"},  # is replaced
        {"/ota/agent.py": b"import ota\n"},  # the agent's own
    ],
)
def test_an_application_that_does_not_use_the_agent_is_told_of(files: dict[str, bytes]) -> None:
    assert judged(files=files).left == (UNUSED,)


def test_the_main_py_that_comes_is_judged_not_the_one_that_it_replaces() -> None:
    old = {"/main.py": b"print()\n"}
    assert judged(files=old, wanted=DEMO).left == ()
    assert judged(files=USER, wanted={**AGENT, **old}).left == (UNUSED,)


# -- what is never written over --------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ota/__init__.py", "/ota.py", "/ota.mpy"])
def test_another_librarys_ota_is_refused_by_name(path: str) -> None:
    with pytest.raises(adoption.AdoptionError) as caught:
        judged(files={"/main.py": b"", path: b"", "/ota/zip.py": b""})
    assert str(caught.value) == (
        f"{path} on the board is another library's, and the agent has that name: rename or remove "
        "it there first (docs/moving-in.md); its files are saved"
    )


def test_our_own_agent_may_be_written_over() -> None:
    assert judged(files={**USER, "/ota/bundle.mpy": b"", "/ota/__init__.mpy": b""}).flash == ()


def test_the_main_py_of_the_board_stays_and_the_demos_comes_where_none_is() -> None:
    assert adoption.beside(found("/main.py"), DEMO) == AGENT
    assert adoption.beside(found("/lib/pump.py"), DEMO) == DEMO


@pytest.mark.parametrize("path", ["/link.py", "/link.mpy"])
def test_a_link_of_the_application_stays_and_one_of_ours_is_renewed(path: str) -> None:
    kept = adoption.beside(found(path), AGENT)
    assert kept == {name: data for name, data in AGENT.items() if name != "/link.mpy"}
    assert adoption.beside(found(path, "/ota/bundle.mpy"), AGENT) == AGENT


def test_files_come_back_after_a_flash_where_nothing_newer_was_written() -> None:
    old = {"/data/log.bin": b"1", "/boot.py": b"old", "/etc/settings.json": b"old"}
    assert adoption.back(old, DEMO) == {"/data/log.bin": b"1"}


def test_the_boards_own_main_py_comes_back_over_the_demos() -> None:
    assert adoption.back({"/main.py": b"mine"}, DEMO) == {"/main.py": b"mine"}


def test_an_old_agent_does_not_come_back_into_the_new_one() -> None:
    assert adoption.back({"/ota/agent.py": b"old", "/otaku.py": b"mine"}, DEMO) == {
        "/otaku.py": b"mine"
    }

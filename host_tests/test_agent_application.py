"""Application files on their road: into the spare directory, tested with their image, taken back.

In process, on the simulated chip; the board's file system is a folder. The real littlefs and the
power that fails are in test_application_power_cuts.py.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import time
import traceback
from pathlib import Path
from typing import Any

import hardware
import pytest
from agent_bench import FLAT, IMAGE, KEY, PRODUCT, Chip, Patient, application, pack, tree
from chipboard import on_load
from layout import SLOT_SIZE

from sim import image
from twinslot.formats import archive
from twinslot.formats.component import application_content, firmware_content
from twinslot.formats.head import read_head
from twinslot.trust import keys, signing


@pytest.fixture
def chip(tmp_path: Path) -> Chip:
    return Chip(tmp_path)


def test_an_application_alone_runs_with_the_image_that_ran_before(chip: Chip) -> None:
    files = application("1.1.0")
    assert chip.update("job-1", pack("1.1.0", 2, files)) == "SUCCEEDED"
    assert chip.service.details("job-1") == {"reason": "accepted v1.1.0", "version": "1.1.0"}
    assert (chip.board.running, chip.entered) == (1, "app_0")
    assert tree(chip.folder / "app_0") == files
    assert chip.image(1) == chip.image(0)
    assert chip.trailer(1) == ([2, 1], "app_0")
    assert chip.agent.running == ("1.1.0", 2)


def test_what_lay_flat_stays_as_it_was(chip: Chip) -> None:
    before = tree(chip.folder)
    chip.update("job-1", pack("1.1.0", 2, application("1.1.0")))
    after = tree(chip.folder)
    assert {name: after[name] for name in before} == before


def flat_board(chip: Chip) -> dict[str, bytes]:
    """Give the flat board more files; return those that no update may remove."""
    kept = {"boot.py": b"# boot\n", "data.json": b"{}", "lib/sensor/driver.py": b"# shared\n"}
    for name, data in {**kept, "sensor/part.mpy": b"# old\n", "tool.py": b"# old\n"}.items():
        (chip.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (chip.folder / name).write_bytes(data)
    return kept


def test_the_second_application_removes_the_flat_modules_that_no_slot_goes_with(
    chip: Chip,
) -> None:
    kept = flat_board(chip)
    modules = {"sensor/part.py": b"", "data.json": b"", "tool.py": b"", "lib/sensor/x.py": b""}
    chip.update("job-1", pack("1.1.0", 2, application("1.1.0", more=modules)))
    here = tree(chip.folder)
    assert {name: here[name] for name in FLAT} == FLAT, "the way back"
    assert "sensor/part.mpy" in here
    assert chip.update("job-2", pack("1.2.0", 3, application("1.2.0"))) == "SUCCEEDED"
    here = tree(chip.folder)
    assert {name: here[name] for name in here if name in kept} == kept
    assert not {"main.py", "app.py", "sensor/part.mpy", "tool.py"} & set(here)


def test_the_flat_modules_stay_when_the_next_update_is_refused(chip: Chip) -> None:
    flat_board(chip)
    chip.update("job-1", pack("1.1.0", 2, application("1.1.0")))
    before = tree(chip.folder)
    stranger = pack("1.2.0", 3, application("1.2.0"), key=keys.generate())
    assert chip.update("job-2", stranger) == "FAILED"
    assert tree(chip.folder) == before


def test_room_that_flat_modules_will_give_back_is_counted(
    chip: Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    (chip.folder / "app.py").write_bytes(b"#" * 40_000)
    chip.update("job-1", pack("1.1.0", 2, application("1.1.0")))
    monkeypatch.setattr(os, "statvfs", lambda _: (4096, 4096, 100, 0, 0, 0, 0, 0, 0, 255))
    assert chip.update("job-2", pack("1.2.0", 3, application("1.2.0"))) == "SUCCEEDED"


@pytest.mark.parametrize(
    "listing",
    [
        None,
        b"../main.py\nboot.py\n/etc/x.py\n\n\xff.py\n",
        b"7 ../main.py\n",
        b"7 boot.py\n",
        b"7 /etc/x.py\n",
        b"7 \xff.py\n",
    ],
)
def test_a_listing_that_the_application_spoiled_removes_nothing_but_modules(
    chip: Chip, listing: bytes | None
) -> None:
    kept = {**flat_board(chip), "etc/x.py": b"# the board's\n"}
    (chip.folder / "etc/x.py").write_bytes(kept["etc/x.py"])
    chip.update("job-1", pack("1.1.0", 2, application("1.1.0")))
    path = chip.folder / "app_0/.files"
    path.unlink() if listing is None else path.write_bytes(listing)
    assert chip.update("job-2", pack("1.2.0", 3, application("1.2.0"))) == "SUCCEEDED"
    here = tree(chip.folder)
    assert {name: here[name] for name in here if name in kept} == kept
    assert not set(FLAT) & set(here), "removed at rest, by the next one's own list"


@pytest.mark.parametrize("application_first", [False, True])
def test_image_and_application_arrive_as_one(chip: Chip, application_first: bool) -> None:
    files = application("1.1.0")
    data = pack("1.1.0", 2, files, behaviour="good", application_first=application_first)
    assert chip.update("job-1", data) == "SUCCEEDED"
    assert (chip.board.running, chip.entered) == (1, "app_0")
    assert tree(chip.folder / "app_0") == files
    assert chip.image(1) != chip.image(0)
    assert chip.trailer(1) == ([2], "app_0")


@pytest.mark.parametrize("block_size", [256, 1024, 4096, 16384])
def test_blocks_of_every_size_bring_both(chip: Chip, block_size: int) -> None:
    files = application("1.1.0")
    chip.service.add("job-1", pack("1.1.0", 2, files, behaviour="good"))
    for _ in range(4):
        if chip.boot(block_size=block_size, window=8) is None and chip.step(20000) is None:
            break
    assert chip.service.status("job-1") == "SUCCEEDED"
    assert tree(chip.folder / "app_0") == files


def test_a_block_that_reaches_into_what_is_complete_brings_the_rest_only(chip: Chip) -> None:
    """The archive has come, the image has not; larger blocks, from a new start on, overlap both."""
    files = application("1.1.0", more={"more.bin": bytes(3000)})
    data = pack("1.1.0", 2, files, behaviour="good", application_first=True)
    chip.service.add("job-1", data)
    assert chip.boot(checkpoint_blocks=1) is None
    image_at = read_head(data).manifest.components[1].offset
    assert image_at % 16384
    while chip.agent.journal.next < image_at:
        assert chip.step(1) is None
    assert chip.agent.journal.next == image_at
    chip.service.stream_requests.clear()
    assert chip.boot(block_size=16384) is None
    assert isinstance(chip.step(20000), hardware.Reset)
    assert [request["o"] for request in chip.service.stream_requests] == [0, image_at // 16384]
    chip.until_quiet()
    assert chip.service.status("job-1") == "SUCCEEDED"
    assert tree(chip.folder / "app_0") == files


def test_directories_take_turns_and_an_image_alone_keeps_the_one_that_runs(chip: Chip) -> None:
    first, third = application("1.1.0"), application("1.3.0")
    chip.update("job-1", pack("1.1.0", 2, first))
    chip.update("job-2", pack("1.2.0", 3, behaviour="good"))
    assert (chip.board.running, chip.entered) == (0, "app_0")
    assert chip.trailer(0) == ([3, 2], "app_0")
    assert tree(chip.folder / "app_0") == first
    chip.update("job-3", pack("1.3.0", 4, third))
    assert (chip.board.running, chip.entered) == (1, "app_1")
    assert chip.trailer(1) == ([4, 3], "app_1")
    assert tree(chip.folder / "app_1") == third
    assert tree(chip.folder / "app_0") == first, "the way back"
    chip.update("job-4", pack("1.4.0", 5, application("1.4.0"), behaviour="good"))
    assert (chip.board.running, chip.entered) == (0, "app_0")
    assert chip.trailer(0) == ([5], "app_0")
    assert chip.image(0) != chip.image(1)


def test_a_failing_self_test_takes_both_back(chip: Chip) -> None:
    old = application("1.1.0")
    chip.update("job-1", pack("1.1.0", 2, old))
    before = chip.image(1), chip.trailer(1)
    bad = application("1.2.0", more={"selftest.py": b"def run():\n    raise ValueError('no')\n"})
    assert chip.update("job-2", pack("1.2.0", 3, bad, behaviour="good")) == "FAILED"
    assert chip.service.details("job-2")["cause"] == "self_test"
    assert (chip.board.running, chip.entered) == (1, "app_0")
    assert (chip.image(1), chip.trailer(1)) == before
    assert tree(chip.folder / "app_0") == old
    assert chip.agent.running == ("1.1.0", 2)


def test_the_first_application_can_be_rolled_back_to_flat(chip: Chip) -> None:
    before = tree(chip.folder)
    bad = application("1.1.0", more={"selftest.py": b"def run():\n    raise ValueError('no')\n"})
    assert chip.update("job-1", pack("1.1.0", 2, bad)) == "FAILED"
    assert (chip.board.running, chip.entered) == (0, "")
    after = tree(chip.folder)
    assert {name: after[name] for name in before} == before


def test_what_a_failed_update_left_behind_is_removed_when_the_board_rests(chip: Chip) -> None:
    data = bytearray(pack("1.1.0", 2, application("1.1.0")))
    data[4096 + 600] ^= 1  # in main.py
    assert chip.update("job-1", bytes(data)) == "FAILED"
    assert chip.service.details("job-1")["cause"] == "bad_image"
    assert not (chip.folder / "app_0").exists()
    assert not (chip.folder / "app_1").exists()


def test_leftovers_of_an_earlier_try_do_not_survive_in_the_next(chip: Chip) -> None:
    (chip.folder / "app_0/lib").mkdir(parents=True)
    (chip.folder / "app_0/lib/old.py").write_bytes(b"# of an earlier try\n")
    (chip.folder / "app_0/main.mpy").write_bytes(b"# stale\n")
    files = application("1.1.0")
    chip.update("job-1", pack("1.1.0", 2, files))
    assert tree(chip.folder / "app_0") == files


def test_a_directory_as_deep_as_a_path_can_say_is_removed_without_recursion(
    chip: Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chip's stack would not hold fifty generators."""
    deep = application("1.1.0", more={"d/" * 48 + "x.py": b"deep\n"})
    assert chip.update("job-1", pack("1.1.0", 2, deep)) == "SUCCEEDED"
    assert tree(chip.folder / "app_0") == deep
    chip.update("job-2", pack("1.2.0", 3, application("1.2.0")))
    depths = set()
    stat, rmdir = os.stat, os.rmdir

    def look(path: Any, **rest: Any) -> Any:
        if "app_0/d" in str(path):
            depths.add(len(traceback.extract_stack()))
        return stat(path, **rest)

    def remove(path: Any) -> None:
        depths.add(len(traceback.extract_stack()))
        rmdir(path)

    monkeypatch.setattr(os, "stat", look)
    monkeypatch.setattr(os, "rmdir", remove)
    files = application("1.3.0")
    assert chip.update("job-3", pack("1.3.0", 4, files)) == "SUCCEEDED"
    assert 0 < len(depths) <= 2, "of measuring and of removing"
    assert tree(chip.folder / "app_0") == files


def test_a_file_that_does_not_read_back_ends_the_update(
    chip: Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip.service.add("job-1", pack("1.1.0", 2, application("1.1.0")))
    assert chip.boot() is None

    def spoil(finalize: Any) -> None:
        (chip.folder / "app_0/lib/sensor/driver.py").write_bytes(b"# driver of 6.6.6\n")

    on_load("finalize", spoil)
    assert chip.step() is None
    assert chip.service.status("job-1") == "FAILED"
    assert chip.service.details("job-1")["cause"] == "bad_image"
    assert chip.board.running == 0


@pytest.mark.parametrize("lost", [1, 2, 5])
def test_lost_blocks_come_again_in_order(chip: Chip, lost: int) -> None:
    files = application("1.1.0", more={"data.bin": os.urandom(60_000)})
    chip.service.drop_blocks.add(lost)
    chip.service.add("job-1", pack("1.1.0", 2, files))
    assert chip.boot() is None
    deadline = time.monotonic() + 10
    while chip.step() is None and time.monotonic() < deadline:
        time.sleep(0.02)  # the request timer runs in real time
    chip.until_quiet()
    assert tree(chip.folder / "app_0") == files


def test_a_verified_pair_waits_through_resets_and_is_hashed_again(chip: Chip) -> None:
    later = Patient()
    chip.service.add("job-1", pack("1.1.0", 2, application("1.1.0")))
    chip.until_quiet(later)
    chip.until_quiet(later)
    assert later.asked == [("Activate", "1.1.0")] * 2
    (chip.folder / "app_0/app.py").write_bytes(b"version = 'changed'\n")
    chip.until_quiet(later)
    assert later.asked[2][0] == "Fail"
    assert "does not hold the files that the manifest names" in later.asked[2][1]


def test_a_file_that_changed_while_a_verified_update_waited_is_not_started(chip: Chip) -> None:
    later = Patient()
    chip.service.add("job-1", pack("1.1.0", 2, application("1.1.0")))
    chip.boot(later)
    chip.step()
    assert later.asked == [("Activate", "1.1.0")]
    (chip.folder / "app_0/app.py").write_bytes(b"version = 'changed'\n")
    chip.agent.activate()
    assert chip.step() is None
    assert chip.board.running == 0
    assert chip.service.details("job-1")["cause"] == "bad_image"


def test_a_listing_that_is_no_text_is_no_archives(chip: Chip) -> None:
    later = Patient()
    chip.service.add("job-1", pack("1.1.0", 2, application("1.1.0")))
    chip.until_quiet(later)
    (chip.folder / "app_0/.files").write_bytes(b"\xff\n")
    chip.until_quiet(later)
    assert "does not hold the files that the manifest names" in later.asked[1][1]
    assert chip.board.running == 0


def test_files_that_the_application_wrote_beside_its_own_do_not_matter(chip: Chip) -> None:
    def later(event: str, detail: Any) -> None:
        pass

    chip.service.add("job-1", pack("1.1.0", 2, application("1.1.0")))
    chip.until_quiet(later)
    (chip.folder / "app_0/log.txt").write_bytes(b"written in the test that a power cut ended\n")
    chip.until_quiet()
    assert chip.service.status("job-1") == "SUCCEEDED"


def test_an_application_too_large_for_the_file_system_is_refused_with_both_numbers(
    chip: Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(chip.folder), chip.board.slot_bytes(1, SLOT_SIZE)
    monkeypatch.setattr(os, "statvfs", lambda _: (4096, 4096, 100, 2, 2, 0, 0, 0, 0, 255))
    assert chip.update("job-1", pack("1.1.0", 2, application("1.1.0"))) == "FAILED"
    details = chip.service.details("job-1")
    assert (details["cause"], details["reason"]) == ("too_large", "aborted: 0x14000000")
    assert "takes 12 KB, the file system has room for 8 KB" in details["detail"]
    assert (tree(chip.folder), chip.board.slot_bytes(1, SLOT_SIZE)) == before


def test_a_file_system_that_runs_full_ends_the_update_with_its_numbers(
    chip: Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip.service.add("job-1", pack("1.1.0", 2, application("1.1.0")))
    assert chip.boot() is None
    opened = open

    class Full:
        def write(self, data: Any) -> int:
            raise OSError(28, "no space")

        def close(self) -> None:
            raise OSError(28, "no space")

    def spoil(writer: Any) -> None:
        writer.open = lambda path, mode="r": (
            Full() if path.endswith("app.py") else opened(path, mode)
        )

    on_load("directory_writer", spoil)
    assert chip.step() is None
    details = chip.service.details("job-1")
    assert details["cause"] == "filesystem"
    assert "app_0/app.py: it is full;" in details["detail"]
    assert "bytes are free" in details["detail"]
    assert (chip.board.running, chip.agent.state) == (0, "Ready")
    assert not (chip.folder / "app_0").exists()


def test_the_trailer_loses_its_word_before_its_directory_is_set_aside(
    chip: Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old pair must not boot with half its files: first the trailer, then the files."""
    chip.update("job-1", pack("1.1.0", 2, application("1.1.0")))
    chip.update("job-2", pack("1.2.0", 3, application("1.2.0")))
    assert chip.trailer(1)[1] == "app_0"
    assert chip.entered == "app_1"
    seen = []
    rename = os.rename

    def watched(old: Any, new: Any) -> None:
        if "app_0" in str(old):
            end = chip.board.slot_bytes(1, SLOT_SIZE)[-4096:]
            seen.append(hashlib.sha256(end[:4064]).digest() == end[4064:])
        rename(old, new)

    monkeypatch.setattr(os, "rename", watched)
    chip.update("job-3", pack("1.3.0", 4, application("1.3.0")))
    assert seen == [False]


def test_a_board_flashed_without_a_record_takes_an_application(tmp_path: Path) -> None:
    chip = Chip(tmp_path)
    chip.board.flash_slot(0, image.firmware(version="1.0.0", size=IMAGE))
    files = application("1.1.0")
    assert chip.update("job-1", pack("1.1.0", 2, files)) == "SUCCEEDED"
    assert chip.trailer(1) == ([2], "app_0")
    assert chip.image(1) == chip.image(0)
    assert chip.board.slot_bytes(1, SLOT_SIZE - 4096) == chip.board.slot_bytes(0, SLOT_SIZE - 4096)


def test_keys_that_do_not_know_what_runs_judge_nothing_and_a_file_with_both_does(
    chip: Chip,
) -> None:
    chip.update("job-1", pack("1.1.0", 2, application("1.1.0")))
    newer = keys.generate()
    alone = keys.public_pem(newer.public_key())
    chip.board.write_etc("trusted_keys.pem", alone)
    assert chip.update("job-2", pack("1.2.0", 3, behaviour="good", key=newer)) == "FAILED"
    said = chip.service.details("job-2")
    assert said["cause"] == "settings"
    assert "bring the key that signed it, too" in said["detail"]
    chip.board.write_etc("trusted_keys.pem", keys.public_pem(KEY.public_key()) + alone)
    assert chip.update("job-3", pack("1.2.0", 3, behaviour="good", key=newer)) == "SUCCEEDED"
    assert (chip.board.running, chip.entered) == (0, "app_0")


def test_a_file_that_hides_a_frozen_module_is_named_in_the_status(chip: Chip) -> None:
    firmware = image.firmware(version="1.1.0", size=IMAGE)
    files = application("1.1.0", more={"dht.py": b"", "umqtt/__init__.py": b"", "mine.py": b""})
    contents = [
        firmware_content(firmware, 0, {"dht", "umqtt", "neopixel"}),
        application_content(archive.build(files)),
    ]
    chip.update("job-1", signing.build(contents, KEY, PRODUCT, "1.1.0", 2, 1_790_000_000))
    repl_status: Any = importlib.import_module("ota.repl_status")
    assert (
        repl_status.lines(chip.agent)[0]
        == "Runs      ota_1  valid  version 1.1.0  sequence 2  app_0"
    )
    (line,) = [line for line in repl_status.lines(chip.agent) if line.startswith("Warning")]
    assert line == "Warning   dht, umqtt in the application hide what the firmware has frozen"
    chip.update("job-2", pack("1.2.0", 3, application("1.2.0")))
    assert not [line for line in repl_status.lines(chip.agent) if line.startswith("Warning")]


def old_names(chip: Chip) -> list[str]:
    """Names of what is set aside, to be removed."""
    return sorted(path.name for path in chip.folder.glob(".old_*"))


@pytest.mark.parametrize("free", [0, 90])
def test_the_first_block_does_not_wait_for_the_files_that_are_replaced(
    chip: Chip, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    """Neither where there is plenty of room, nor where the old ones must give it back."""
    many = {f"part_{n}.py": b"# part\n" * 100 for n in range(200)}
    chip.update("job-1", pack("1.1.0", 2, application("1.1.0", more=many)))
    chip.update("job-2", pack("1.2.0", 3, application("1.2.0")))
    done: list[str] = []
    asked: list[int] = []
    stream = chip.service._stream

    def noting(name: str) -> Any:
        action = getattr(os, name)

        def noted(path: Any, *args: Any, **rest: Any) -> Any:
            if str(path).startswith(str(chip.folder)):
                done.append(name)
            return action(path, *args, **rest)

        return noted

    def watched(*args: Any, **rest: Any) -> None:
        asked.append(len(done))
        stream(*args, **rest)

    files = application("1.3.0", more=many)
    with monkeypatch.context() as during:
        for name in ("stat", "listdir", "remove", "rmdir", "mkdir", "rename"):
            during.setattr(os, name, noting(name))
        during.setattr(os, "statvfs", lambda _: (4096, 4096, 100, free, free, 0, 0, 0, 0, 255))
        during.setattr(chip.service, "_stream", watched)
        assert chip.update("job-3", pack("1.3.0", 4, files)) == "SUCCEEDED"
    assert tree(chip.folder / "app_0") == files
    assert asked[1] - asked[0] < 30, "of head and first blocks"
    assert done.count("remove") >= 200


def test_as_much_is_removed_as_the_new_files_take_and_the_rest_at_rest(
    chip: Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {f"part_{n}.py": b"# part\n" * 100 for n in range(50)}
    chip.update("job-1", pack("1.1.0", 2, application("1.1.0", more=many)))
    chip.update("job-2", pack("1.2.0", 3, application("1.2.0")))
    later = Patient()
    chip.service.add("job-3", pack("1.3.0", 4, application("1.3.0")))
    assert chip.boot(later) is None
    assert chip.step() is None
    assert later.asked == [("Activate", "1.3.0")]
    assert old_names(chip) == [".old_0"]
    left = len(list((chip.folder / ".old_0").iterdir()))
    assert 30 < left < 50
    chip.until_quiet()
    assert chip.service.status("job-3") == "SUCCEEDED"
    assert old_names(chip) == []


def test_what_power_cuts_left_set_aside_is_removed_at_rest(chip: Chip) -> None:
    for number in (0, 1, 7):
        (chip.folder / f".old_{number}/lib").mkdir(parents=True)
        (chip.folder / f".old_{number}/lib/x.py").write_bytes(b"# old\n")
    (chip.folder / ".old_1/.files").write_bytes(b"0 lib/\n6 lib/x.py\n6 gone.py\n6 ../main.py\n")
    before = tree(chip.folder)
    chip.until_quiet()
    assert old_names(chip) == []
    after = tree(chip.folder)
    assert after == {path: data for path, data in before.items() if not path.startswith(".old_")}


def test_room_is_judged_by_what_the_package_says_of_blocks(
    chip: Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = application("1.1.0")
    said: list[int | str] = [40, "lib/font.bin", 100_000, "app.py", 5000, "main.py", 1]
    contents = [application_content(archive.build(files), said)]
    data = signing.build(contents, KEY, PRODUCT, "1.1.0", 2, 1_790_000_000)
    # 38 and the two of /etc, which are counted twice, but two stay free.
    monkeypatch.setattr(os, "statvfs", lambda _: (4096, 4096, 100, 38, 38, 0, 0, 0, 0, 255))
    before = tree(chip.folder), chip.board.slot_bytes(1, SLOT_SIZE)
    assert chip.update("job-1", data) == "FAILED"
    assert chip.service.details("job-1")["detail"] == (
        "the application takes 160 KB, the file system has room for 152 KB; its largest files: "
        "lib/font.bin (98 KB), app.py (5 KB), main.py (1 KB)"
    )
    assert (tree(chip.folder), chip.board.slot_bytes(1, SLOT_SIZE)) == before
    monkeypatch.setattr(os, "statvfs", lambda _: (4096, 4096, 100, 40, 40, 0, 0, 0, 0, 255))
    chip.service.add("job-2", signing.build(contents, KEY, PRODUCT, "1.1.0", 2, 1_790_000_001))
    chip.until_quiet()
    assert chip.service.status("job-2") == "SUCCEEDED"


@pytest.mark.parametrize("count", [2**32 - 3, -3])
def test_a_file_system_that_seems_more_than_full_is_counted_rightly(
    chip: Chip, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """MicroPython's littlefs counts the blocks of directories twice, and then has none below 0."""
    monkeypatch.setattr(os, "statvfs", lambda _: (4096, 4096, 100, count, count, 0, 0, 0, 0, 255))
    assert chip.update("job-1", pack("1.1.0", 2, application("1.1.0"))) == "FAILED"
    assert "room for 0 KB" in chip.service.details("job-1")["detail"]

"""boot.py: whatever it meets, the board comes up; a new image proves itself or goes."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import hardware
import nvs
import pytest
from agent_bench import IMAGE, Bench, packed
from layout import SLOTS

from sim import image
from twinslot.formats.component import firmware_content
from twinslot.formats.head import read_head
from twinslot.formats.trailer import write_trailer
from twinslot.trust import signing

NEW, PENDING, VALID, ABORTED = 0, 1, 2, 4


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.syspath_prepend(str(tmp_path))  # where the board's selftest.py lies
    return Bench(tmp_path)


def activated(bench: Bench) -> None:
    """Bring the board to the reset into a new, untested image."""
    bench.service.add("job-1", packed("1.1.0", 2))
    assert bench.boot() is None
    assert isinstance(bench.step(), hardware.Reset)


def boot_only(bench: Bench) -> Any:
    """Power on and run boot.py. Returns the Reset that ended it, if any."""

    def start() -> None:
        bench.board.power_on()
        bench.board.boot_py()

    return bench.board.run(start)


def noted(bench: Bench) -> str:
    """Return the stage of the trial that is noted in NVS."""
    stored = nvs.Store(bench.board.flash).get("ota", "trial")
    return bytes(stored[1:]).decode().split(" ")[0] if stored else ""


def selftest(bench: Bench, body: str) -> None:
    (bench.board.folder / "selftest.py").write_text(body)


def record(bench: Bench, slot: int) -> int | None:
    found = [r for r in bench.board.records() if r and (r[0] - 1) % 2 == slot]
    return max(found)[1] if found else None


def test_a_new_image_is_watched_from_the_first_moment(bench: Bench) -> None:
    activated(bench)
    assert boot_only(bench) is None
    assert 24_000 < hardware.board.watchdog_ms <= 25_000
    assert noted(bench) == "main"
    assert record(bench, 1) == PENDING


def test_an_ordinary_boot_arms_nothing_and_leaves_rtc_memory_alone(bench: Bench) -> None:
    assert boot_only(bench) is None
    assert hardware.board.watchdog_ms is None
    assert hardware.board.rtc == b""


@pytest.mark.parametrize(
    "body",
    [
        "def run():\n    raise ValueError('no sensor')\n",
        "def run():\n    raise SystemExit\n",
        "def run():\n    assert False\n",
        "import nothing_of_that_name\n",
        "def run(:\n",
        "run = None\n",
        "",
    ],
)
def test_any_failing_self_test_rolls_back_at_once(bench: Bench, body: str) -> None:
    activated(bench)
    selftest(bench, body)
    assert isinstance(boot_only(bench), hardware.Reset)
    (bench.board.folder / "selftest.py").unlink()
    bench.until_quiet()
    assert bench.board.running == 0
    assert record(bench, 1) == ABORTED
    assert bench.service.details("job-1")["cause"] == "self_test"


def test_ctrl_c_reaches_the_repl_and_is_no_failed_test(bench: Bench) -> None:
    activated(bench)
    selftest(bench, "def run():\n    raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        boot_only(bench)
    assert record(bench, 1) == PENDING
    assert 24_000 < hardware.board.watchdog_ms <= 25_000, "the deadline goes on"


def test_a_soft_reset_neither_tests_again_nor_prolongs_the_deadline(bench: Bench) -> None:
    activated(bench)
    assert boot_only(bench) is None
    selftest(bench, "def run():\n    raise ValueError('tested twice')\n")
    bench.board.cause = hardware.SOFT
    assert boot_only(bench) is None
    assert record(bench, 1) == PENDING
    assert 5_000 < hardware.board.watchdog_ms <= 25_000
    assert noted(bench) == "main", "which runs again"


def test_waking_from_deep_sleep_under_test_resets_at_once(bench: Bench) -> None:
    activated(bench)
    assert boot_only(bench) is None
    bench.board.cause = hardware.DEEPSLEEP
    assert isinstance(boot_only(bench), hardware.Reset)
    bench.until_quiet()
    assert bench.board.running == 0


@pytest.mark.compatibility(
    "7",
    "a new image has 300 s to prove itself, a setting",
    unlike="16 s",
    because="Wi-Fi, TLS and a busy broker may take minutes",
)
@pytest.mark.parametrize(
    "settings", [b"", b"[]", b"{", b'{"self_test_s": 0}', b'{"self_test_s": "x"}', None]
)
def test_wrong_settings_leave_the_default_deadline(bench: Bench, settings: bytes | None) -> None:
    activated(bench)
    path = bench.board.folder / "etc" / "settings.json"
    path.unlink()
    if settings is not None:
        path.write_bytes(settings)
    assert boot_only(bench) is None
    assert 304_000 < hardware.board.watchdog_ms <= 305_000


@pytest.mark.parametrize("blob", [b"", b"\xff", b"[]", b'{"v": 2}', b'{"v": 1, "slot": 3}'])
def test_a_lost_journal_does_not_keep_an_image_from_its_test(bench: Bench, blob: bytes) -> None:
    activated(bench)
    nvs.Store(bench.board.flash).set("ota", "journal", b"b", blob)
    bench.until_quiet()
    assert bench.board.running == 1
    assert record(bench, 1) == VALID
    assert bench.service.status("job-1") == "SUCCEEDED"


def test_a_broken_nvs_does_not_keep_the_board_down(bench: Bench) -> None:
    activated(bench)
    start = SLOTS[0][3]  # everything before the first slot but otadata
    bench.board.cells.getbuffer()[0x9000:0xE000] = os.urandom(0x5000)
    assert start > 0xE000
    assert boot_only(bench) is None
    assert 24_000 < hardware.board.watchdog_ms <= 25_000


def test_without_rollback_in_the_bootloader_the_old_image_returns_and_updates_end(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, rollback=False)
    activated(bench)
    bench.until_quiet()
    assert bench.board.running == 0
    details = bench.service.details("job-1")
    assert details["cause"] == "no_rollback"
    assert "flash a newer one by cable" in details["detail"]
    bench.service.add("job-2", packed("1.2.0", 3))
    bench.step()
    assert bench.service.details("job-2")["cause"] == "wrong_target"
    assert "bootloader has no rollback" in bench.service.details("job-2")["detail"]


def test_without_rollback_a_file_is_refused_once_and_by_event(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rollback=False)
    activated(bench)
    bench.until_quiet()
    failed = []
    bench.agent.callback = lambda event, detail: failed.append((event, str(detail)))
    path = tmp_path / "x.ota"
    path.write_bytes(packed("1.2.0", 3))
    bench.agent.install(str(path))
    bench.step()
    ((event, detail),) = failed
    assert event == "Fail"
    assert "bootloader has no rollback" in detail
    assert bench.agent.state == "Ready"


def test_a_bootloader_in_a_slot_is_refused_although_set_boot_takes_it(bench: Bench) -> None:
    merged = image.image([(0x40078000, b"bootloader code".ljust(5000, b"\1"))])
    data = signing.build(
        [firmware_content(merged)], bench.key, "demo-board", "1.1.0", 2, 1_790_000_000
    )
    bench.service.add("job-1", data)
    bench.until_quiet()
    assert bench.board.running == 0
    assert bench.service.details("job-1")["cause"] == "bad_image"


def flashed(bench: Bench, slot: int, directory: str, sequence: int = 1) -> None:
    """Flash a slot whose trailer names a directory."""
    head = read_head(packed(f"1.0.{slot}", sequence))
    firmware = image.firmware(version=f"1.0.{slot}", size=IMAGE)
    bench.board.flash_slot(slot, firmware, write_trailer([head.record], directory))


def application(bench: Bench, name: str, **files: str) -> Path:
    """Make an application's directory with these files beside main.py."""
    folder = bench.board.folder / name
    folder.mkdir(exist_ok=True)
    for stem, text in {"main": "", **files}.items():
        (folder / f"{stem}.py").write_text(text)
    return folder


def valid(bench: Bench, slot: int) -> None:
    """Let this slot run, accepted."""
    bench.board.power_on()
    if slot:
        partition: Any = importlib.import_module("esp32").Partition
        partition(partition.RUNNING).get_next_update().set_boot()
        bench.board.power_on()
        partition.mark_app_valid_cancel_rollback()


def test_the_directory_in_the_trailer_becomes_the_current_one(bench: Bench) -> None:
    flashed(bench, 0, "app_1")
    folder = application(bench, "app_1")
    assert boot_only(bench) is None
    assert bench.board.entered == str(folder)


def test_the_image_under_test_is_tested_by_the_selftest_of_its_own_directory(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench.board.folder / "selftest.py").write_text("def run():\n    raise ValueError('flat')\n")
    flashed(bench, 1, "app_0")
    application(bench, "app_0", selftest="def run():\n    print('own self-test')\n")
    bench.board.power_on()
    partition: Any = importlib.import_module("esp32").Partition
    partition(partition.RUNNING).get_next_update().set_boot()
    assert boot_only(bench) is None
    assert bench.board.running == 1
    assert "own self-test" in capsys.readouterr().out


def test_an_image_under_test_without_its_directory_has_failed_its_self_test(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    flashed(bench, 1, "app_0")
    bench.board.power_on()
    partition: Any = importlib.import_module("esp32").Partition
    partition(partition.RUNNING).get_next_update().set_boot()
    assert isinstance(boot_only(bench), hardware.Reset)
    assert boot_only(bench) is None
    assert bench.board.running == 0
    assert "app_0 holds no application" in capsys.readouterr().out


@pytest.mark.parametrize("there", ["nothing", "an empty directory"])
def test_where_the_application_is_gone_the_other_slot_is_tried_and_tested(
    bench: Bench, there: str
) -> None:
    flashed(bench, 0, "app_0")
    flashed(bench, 1, "app_1", sequence=2)
    valid(bench, 1)
    application(bench, "app_0")
    if there != "nothing":
        (bench.board.folder / "app_1").mkdir()
    bench.until_quiet()
    assert bench.board.running == 0
    assert bench.board.entered == str(bench.board.folder / "app_0")
    assert bench.agent.image_state == 2, "tested and accepted"
    newest = bench.agent.journal.history()[0]
    assert (newest["status"], newest["origin"]) == ("SUCCEEDED", "local")
    told = f"{bench.board.folder / 'app_1'} holds no application"
    assert newest["detail"] == told[:96]  # as long as the history keeps it


@pytest.mark.parametrize("other", ["no trailer", "no application either", "fails its test"])
def test_where_nothing_else_can_start_there_is_a_prompt_and_no_loop(
    bench: Bench, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench.board.folder / "main.py").write_text("")  # of the time before directories
    flashed(bench, 0, "app_0")
    flashed(bench, 1, "app_1", sequence=2)
    valid(bench, 1)
    if other == "no trailer":
        bench.board.flash_slot(0, image.firmware(version="1.0.0", size=IMAGE))
    elif other == "fails its test":
        application(bench, "app_0", selftest="def run():\n    raise ValueError('no')\n")
    boots = 0
    while boot_only(bench) is not None:
        boots += 1
        assert boots < 6, "a loop"
    assert bench.board.running == 1
    assert bench.board.entered == str(bench.board.folder / "etc"), "main.py of old does not start"
    assert "app_1 holds no application" in capsys.readouterr().out
    assert boot_only(bench) is None, "nor at the next start"


def test_a_trailer_that_names_another_directory_leads_nowhere(bench: Bench) -> None:
    (bench.board.folder.parent / "main.py").write_text("")
    flashed(bench, 0, "..")
    application(bench, "etc")
    flashed(bench, 0, "etc")
    assert boot_only(bench) is None
    assert bench.board.entered == str(bench.board.folder / "etc")

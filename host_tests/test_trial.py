"""A trial sees what the application does, and ends by its own clock.

These run boot.py and main.py in this process. test_trial_on_board.py has the same board as a
process of its own.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import hardware
import nvs
import pytest
import shims
from agent_bench import IMAGE, Bench, Patient, packed
from chipboard import Interpreter
from layout import SLOT_SIZE, find

from sim import image
from twinslot.trust import keys

NEW, PENDING, VALID, INVALID, ABORTED = range(5)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Bench(tmp_path)


def begin(bench: Bench, main: str = "") -> dict[str, Any]:
    """Bring the board to the first start of a new image. Returns the names of `__main__`."""
    bench.service.add("job-1", packed("1.1.0", 2))
    (bench.board.folder / "main.py").write_text(main)
    assert bench.boot() is None
    assert isinstance(bench.step(), hardware.Reset)
    return start(bench)


def start(bench: Bench) -> dict[str, Any]:
    """Power on and run boot.py, which must end. Returns the names of `__main__`."""

    def booting() -> dict[str, Any]:
        bench.board.power_on()
        return bench.board.boot_py()

    names = bench.board.run(booting)
    assert isinstance(names, dict), names
    return names


def run_main(bench: Bench, names: dict[str, Any]) -> Any:
    """Run main.py. Returns the Reset that ended it, if any."""
    return bench.board.run(lambda: bench.board.main_py(names))


def end_of_job(bench: Bench) -> dict[str, str]:
    """Let the old image come back and report. Returns the job's details."""
    bench.until_quiet()
    assert bench.board.running == 0
    assert bench.service.status("job-1") == "FAILED"
    return bench.service.details("job-1")


def state_of(bench: Bench, slot: int) -> int | None:
    found = [r for r in bench.board.records() if r and (r[0] - 1) % 2 == slot]
    return max(found)[1] if found else None


def noted(bench: Bench) -> str:
    """Return the stage of the trial that is noted in NVS."""
    stored = nvs.Store(bench.board.flash).get("ota", "trial")
    return bytes(stored[1:]).decode().split(" ")[0] if stored else ""


# Exceptions that a plain `except Exception` does not take, or whose text cannot be had so easily.
UNUSUAL = [
    (
        b"import asyncio\nasync def stuck():\n    await asyncio.sleep(9)\n"
        b"async def main():\n    task = asyncio.create_task(stuck())\n    await asyncio.sleep(0)\n"
        b"    task.cancel()\n    await task\nasyncio.run(main())\n",
        "CancelledError",
    ),
    (b"raise GeneratorExit\n", "GeneratorExit"),
    (b"class Own(BaseException):\n    pass\nraise Own('over')\n", "Own: over"),
    (
        b"class Mute(Exception):\n    def __str__(self):\n        raise ValueError\nraise Mute\n",
        "Mute",
    ),
    (
        b"CODES = {7: 'no sensor'}\nclass Coded(Exception):\n    def __str__(self):\n"
        b"        return CODES[self.args[0]]\nraise Coded(7)\n",
        "Coded: no sensor",
    ),
]


@pytest.mark.parametrize(
    ("main", "said"),
    [
        ("import absent\n", "ModuleNotFoundError: No module named 'absent'"),
        ("x = 1\nnobody\n", "NameError: name 'nobody' is not defined (\"main.py\", line 2"),
        ("def f(:\n", "SyntaxError: "),
        ("def f():\n    raise OSError(5, 'no sensor')\nf()\n", "OSError: [Errno 5] no sensor"),
        ("raise MemoryError\n", "MemoryError: "),
        (
            "import asyncio\nasync def main():\n    await asyncio.sleep(0)\n    1 / 0\n"
            "asyncio.run(main())\n",
            "ZeroDivisionError: division by zero",
        ),
        ("raise ValueError('a\\nb\\x00' + 300 * 'c')\n", "ValueError: a b"),
        ("class Odd(Exception):\n    pass\nraise Odd\n", "Odd: "),
        *[(main.decode(), said) for main, said in UNUSUAL],
    ],
)
def test_an_exception_that_leaves_main_py_ends_the_trial_at_once_and_is_told(
    bench: Bench, main: str, said: str
) -> None:
    names = begin(bench, main)
    assert isinstance(run_main(bench, names), hardware.Reset)
    details = end_of_job(bench)
    assert details["cause"] == "crash"
    assert said in details["detail"]
    assert details["detail"].isprintable()
    assert state_of(bench, 1) == ABORTED


def test_an_ended_trial_is_not_tried_again_when_the_power_is_cut_before_it_was_told(
    bench: Bench,
) -> None:
    assert isinstance(run_main(bench, begin(bench, "1 / 0\n")), hardware.Reset)
    bench.board.cause = hardware.PWRON
    assert end_of_job(bench)["cause"] == "crash"


def test_main_py_finds_what_it_finds_after_acceptance(bench: Bench) -> None:
    main = (
        "from pathlib import Path\n"
        "assert __name__ == '__main__'\n"
        "assert set(globals()) <= {'__name__', '__doc__', '__builtins__', 'Path'}, set(globals())\n"
        "ran = str(Path.cwd())\n"
    )
    names = begin(bench, main)
    assert run_main(bench, names) is None
    assert names["ran"] == str(bench.board.folder)
    assert bench.board.stage is None, "nothing stays mounted"
    assert noted(bench) == "returned", "which is no failure by itself"
    assert state_of(bench, 1) == PENDING


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_and_a_soft_reset_pass_through_main_py(bench: Bench, raised: type) -> None:
    names = begin(bench, f"raise {raised.__name__}\n")
    with pytest.raises(raised):
        run_main(bench, names)
    assert state_of(bench, 1) == PENDING
    assert noted(bench) == ("repl" if raised is KeyboardInterrupt else "main")


def test_after_a_soft_reset_main_py_runs_as_it_always_does(bench: Bench) -> None:
    begin(bench)
    bench.board.cause = hardware.SOFT
    start(bench)
    assert bench.board.stage is None
    assert len(bench.board.threads) == 1, "the deadline goes on"


def test_an_accepted_image_runs_without_any_of_this(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.until_quiet()
    start(bench)
    assert (bench.board.running, state_of(bench, 1)) == (1, VALID)
    assert bench.board.stage is None
    assert bench.board.threads == []


def test_a_soft_reset_gains_no_time(bench: Bench) -> None:
    begin(bench)
    for _ in range(3):
        shims.advance(6_000)
        bench.board.cause = hardware.SOFT
        start(bench)
        hardware.board.rtc = b"whatever the application writes"
    left = hardware.board.watchdog_ms
    assert 0 < left <= 7_000 + 100, "20 s and 5 to spare, less 18"
    assert isinstance(bench.board.run(lambda: bench.board.time_passes(2_500)), hardware.Reset)
    assert end_of_job(bench)["cause"] == "no_agent", "nobody stopped it"


def test_settings_that_the_image_changes_gain_no_time_after_a_soft_reset(bench: Bench) -> None:
    begin(bench)
    path = bench.board.folder / "etc/settings.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "self_test_s": 3600}))
    shims.advance(6_000)
    bench.board.cause = hardware.SOFT
    start(bench)
    assert 0 < hardware.board.watchdog_ms <= 19_000 + 100, "20 s and 5 to spare, less 6"


def test_without_threads_the_agents_own_step_ends_a_trial_at_its_deadline(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    assert bench.boot() is None
    assert isinstance(bench.step(), hardware.Reset)
    bench.boot(lambda *_: None)
    bench.step()
    bench.board.threads.clear()
    shims.advance(19_000)
    assert bench.step() is None
    shims.advance(1_000)
    assert isinstance(bench.step(), hardware.Reset)
    assert end_of_job(bench)["cause"] == "no_answer"


def test_an_application_that_feeds_a_watchdog_of_its_own_meets_the_deadline(bench: Bench) -> None:
    names = begin(bench, "import machine\nwdt = machine.WDT(timeout=8000)\n")
    assert run_main(bench, names) is None
    assert hardware.board.watchdog_ms == 8000
    assert isinstance(bench.board.run(lambda: bench.board.time_passes(21_000)), hardware.Reset)
    details = end_of_job(bench)
    assert details["cause"] == "returned"


def test_the_thread_of_the_deadline_ends_with_the_acceptance(bench: Bench) -> None:
    begin(bench)
    partition: Any = importlib.import_module("esp32").Partition
    partition.mark_app_valid_cancel_rollback()
    assert bench.board.run(lambda: bench.board.time_passes(30_000)) is None
    assert state_of(bench, 1) == VALID


def torn(bench: Bench, slot: int, state: int) -> None:
    """Let the state word of a slot's record be one that nobody writes."""
    cells = bench.board.cells.getbuffer()
    start = find("otadata")[3]
    for sector in (start, start + 4096):
        sequence = int.from_bytes(cells[sector : sector + 4], "little")
        if sequence != 0xFFFFFFFF and (sequence - 1) % 2 == slot:
            cells[sector + 24 : sector + 28] = state.to_bytes(4, "little")


TORN = [0xFFFFFFFF, 5, 0x11, 0x80000001]


@pytest.mark.parametrize("state", TORN)
def test_a_torn_record_of_an_image_that_the_journal_knows_is_tested(
    bench: Bench, state: int
) -> None:
    begin(bench, "import absent\n")
    torn(bench, 1, state)
    bench.board.cause = hardware.PWRON
    names = start(bench)
    assert bench.board.running == 1
    assert state_of(bench, 1) == PENDING
    assert isinstance(run_main(bench, names), hardware.Reset)
    assert end_of_job(bench)["cause"] == "crash"


@pytest.mark.parametrize("state", TORN)
def test_a_torn_record_of_an_unknown_image_leads_back(bench: Bench, state: int) -> None:
    begin(bench)
    torn(bench, 1, state)
    nvs.Store(bench.board.flash).set("ota", "journal", b"")
    bench.board.cause = hardware.PWRON
    bench.until_quiet()
    assert bench.board.running == 0
    assert state_of(bench, 1) == ABORTED
    assert start(bench) and bench.board.running == 0, "for good"


@pytest.mark.parametrize("state", TORN)
def test_a_torn_record_of_the_only_image_there_is_becomes_valid(bench: Bench, state: int) -> None:
    assert bench.boot() is None
    torn(bench, 0, state)
    bench.board.cause = hardware.PWRON
    start(bench)
    assert bench.board.running == 0
    assert state_of(bench, 0) == VALID


@pytest.mark.parametrize("operation", range(1, 5))
def test_a_power_cut_while_a_torn_record_is_mended_leaves_a_board_that_ends_the_job(
    bench: Bench, operation: int
) -> None:
    begin(bench)
    torn(bench, 1, 0xFFFFFFFF)
    bench.board.cause = hardware.PWRON
    bench.board.power_on()
    bench.board.flash.cut_at = bench.board.flash.operations + operation
    bench.board.run(bench.board.boot_py)
    bench.board.flash.cut_at = None
    bench.until_quiet()
    assert bench.service.status("job-1") in ("SUCCEEDED", "FAILED")
    assert state_of(bench, bench.board.running) == VALID


def test_an_image_under_test_that_starts_again_has_a_bootloader_without_rollback(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    begin(bench)
    bench.board.rollback = False  # as one that leaves the record PENDING
    bench.board.cause = hardware.HARD
    bench.until_quiet()
    assert bench.board.running == 0
    assert bench.service.details("job-1")["cause"] == "no_rollback"


def test_an_image_that_is_activated_again_by_hand_is_tried_again(bench: Bench) -> None:
    names = begin(bench, "import absent\n")
    assert isinstance(run_main(bench, names), hardware.Reset)
    start(bench)  # the old image, whose agent never runs
    partition: Any = importlib.import_module("esp32").Partition
    partition(partition.RUNNING).get_next_update().set_boot()
    bench.board.cause = hardware.HARD
    start(bench)
    assert bench.board.running == 1
    assert bench.board.stage is not None


def test_what_the_application_keeps_in_rtc_memory_is_there_in_the_trial_and_after(
    bench: Bench,
) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    assert bench.boot() is None
    hardware.board.rtc = b'{"starts": 7}'
    assert isinstance(bench.step(), hardware.Reset)
    names = start(bench)
    assert hardware.board.rtc == b'{"starts": 7}'
    (bench.board.folder / "main.py").write_text("import absent\n")
    assert isinstance(run_main(bench, names), hardware.Reset)
    end_of_job(bench)
    assert hardware.board.rtc == b'{"starts": 7}'


def test_the_agent_learns_the_version_of_boot_py_and_flash_is_written_once(bench: Bench) -> None:
    assert bench.boot() is None
    assert bytes(nvs.Store(bench.board.flash).get("ota", "boot"))[1:] == b"0.3.0"
    before = bench.board.flash.operations
    start(bench)
    assert bench.board.flash.operations == before


def test_a_slot_that_a_cable_filled_is_no_trial(bench: Bench) -> None:
    bench.board.flash_slot(0, image.firmware(version="1.0.0", size=IMAGE))
    start(bench)
    assert bench.board.stage is None
    assert hardware.board.watchdog_ms is None


def accepted(bench: Bench, **options: Any) -> None:
    """Let an update be accepted by an agent that is made with these options."""
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.options = options
    for _ in range(3):
        if bench.boot() is None and bench.step() is None:
            break
    assert bench.service.status("job-1") == "SUCCEEDED"


def fed(bench: Bench, steps: int = 3) -> list[int]:
    """Return what the watchdog is fed with in some steps."""
    heard: list[int] = []
    hardware.board.watchdog = heard.append
    for _ in range(steps):
        bench.agent.step()
    return heard


class Threads:
    """Stands for `_thread`: keeps what is started."""

    def __init__(self) -> None:
        self.started: list[Any] = []

    def start_new_thread(self, function: Any, _arguments: Any) -> None:
        self.started.append(function)


@pytest.mark.parametrize(("given", "rests"), [(None, (1 << 30) - 1), (8000, 8000)])
def test_an_accepted_image_gets_the_applications_own_watchdog_back(
    bench: Bench, given: int | None, rests: int
) -> None:
    accepted(bench, watchdog_ms=given)
    assert hardware.board.watchdog_ms == rests
    assert fed(bench) == [rests] * 3


def test_after_shutdown_no_watchdog_of_a_trial_bites(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = Threads()
    accepted(bench)
    monkeypatch.setitem(sys.modules, "_thread", threads)
    bench.agent.shutdown()
    bench.agent.start()
    bench.agent.shutdown()
    assert len(threads.started) == 1, "it is fed from a thread, one of them"
    heard: list[int] = []
    hardware.board.watchdog = heard.append

    class Enough(Exception):
        pass

    def sleep(seconds: int) -> None:
        assert seconds * 1000 < (1 << 30) - 1
        if len(heard) == 3:
            raise Enough

    monkeypatch.setattr(importlib.import_module("time"), "sleep", sleep)
    with pytest.raises(Enough):
        threads.started[0]()
    assert len(heard) == 3


@pytest.mark.parametrize("given", [None, 8000])
def test_shutdown_starts_no_thread_without_need(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, given: int | None
) -> None:
    threads = Threads()
    if given:
        accepted(bench, watchdog_ms=given)
    else:
        bench.boot()
    monkeypatch.setitem(sys.modules, "_thread", threads)
    bench.agent.shutdown()
    assert threads.started == []


def test_the_watchdog_of_an_accepted_trial_is_fed_after_a_soft_reset_too(bench: Bench) -> None:
    accepted(bench)
    bench.board.cause = hardware.SOFT
    assert bench.boot() is None
    assert fed(bench) == [(1 << 30) - 1] * 3
    bench.board.cause = hardware.HARD
    assert bench.boot() is None
    assert fed(bench) == [], "a hard reset ends it"
    bench.board.cause = hardware.SOFT
    assert bench.boot() is None
    assert fed(bench) == []


@pytest.mark.parametrize("left", [b"", b"\x00" * 3000, None], ids=["lost", "damaged", "whole"])
def test_no_fault_of_the_journal_lowers_the_floor(bench: Bench, left: bytes | None) -> None:
    accepted(bench)
    assert bench.agent.journal.accepted() == (2, 1_790_000_000)
    # Back to the old image, which would lower the floor if only trailers counted.
    bench.board.run(lambda: __import__("ota").rollback(True))
    bench.until_quiet()
    assert bench.board.running == 0
    if left is not None:
        nvs.Store(bench.board.flash).set("ota", "journal", b"b" if left else b"", left)
    bench.boot()
    bench.service.add("job-2", packed("1.1.0", 2))
    bench.step()
    assert bench.service.details("job-2")["cause"] == "same_sequence"
    bench.service.add("job-3", packed("1.0.5", 1))
    bench.step()
    assert bench.service.details("job-3")["cause"] == "old_sequence"


def test_an_image_under_test_raises_the_floor_only_when_it_is_accepted(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else one that fails its test would lock out the packages between it and what runs."""

    def floor() -> int:
        capsys.readouterr()
        bench.board.run(lambda: __import__("ota").status())
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "Floor " in line]
        shown = int(line.split("sequence ")[1].split()[0])
        assert bench.agent._awake().board.floor == shown
        return shown

    bench.service.add("job-1", packed("5.0.0", 5))
    patient = Patient()
    bench.boot()
    bench.step()
    bench.boot(patient)
    bench.step()
    assert (bench.agent.running, bench.agent.image_state) == (("5.0.0", 5), 1)
    assert bench.agent.journal.accepted()[0] < 5
    assert floor() < 5, "under test"
    bench.agent.accept()
    bench.step()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert floor() == 5, "accepted"


@pytest.mark.parametrize("blob", [b"", b"{", b"[]", b'{"v":1,"floor":"9"}', b'{"v":7,"floor":99}'])
def test_a_damaged_floor_leaves_what_runs_accepted(bench: Bench, blob: bytes) -> None:
    accepted(bench)
    nvs.Store(bench.board.flash).set("ota", "trust", b"b", blob)
    bench.boot()
    bench.service.add("job-2", packed("1.0.5", 1))
    bench.step()
    assert bench.service.details("job-2")["cause"] == "old_sequence"
    bench.service.add("job-3", packed("1.2.0", 3))
    bench.until_quiet()
    bench.until_quiet()
    assert bench.agent.running == ("1.2.0", 3)
    assert bench.agent.journal.accepted() == (3, 1_790_000_000)


CHANGES = {
    "the image": lambda bench: bench.board.damage(1, 5000),
    "the trailer": lambda bench: bench.board.damage(1, SLOT_SIZE - 4096 + 50),
    "the keys": lambda bench: bench.board.write_etc(
        "trusted_keys.pem", keys.public_pem(keys.generate().public_key())
    ),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("restarted", [False, True])
def test_what_changed_while_a_verified_update_waited_is_not_started(
    bench: Bench, what: str, restarted: bool
) -> None:
    patient = Patient()
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot(patient)
    bench.step()
    assert ("Activate", "1.1.0") in patient.asked
    if restarted:
        bench.board.cause = hardware.PWRON
        bench.boot(patient)
        bench.step()
    CHANGES[what](bench)
    bench.agent.activate()
    assert bench.step() is None
    assert bench.board.running == 0
    assert bench.service.details("job-1")["cause"] == "bad_image"
    assert [r for r in bench.board.records() if r and r[1] == NEW] == []


def names_of_boot(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what boot.py defines before the first of its classes that asks otadata."""
    monkeypatch.setitem(sys.modules, "micropython", Interpreter())
    source = (Path(__file__).parent.parent / "boot.py").read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "boot"}
    exec(source.split("class Record")[0], names)
    return names


@pytest.mark.parametrize("text", ["x", "\u00e9", '"', "\u65e5", " ", "\n"])
def test_the_agent_reads_the_end_that_boot_py_notes_at_every_length(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    assert bench.boot() is None
    chip: Any = importlib.import_module("ota.chip")
    boot = names_of_boot(monkeypatch)
    for length in (0, 1, 119, 120, 121, 199, 200, 201, 2000):
        boot["note"]("selftest", 20_000)
        chip._note = None
        chip.note("agent", text * length)
        with pytest.raises(hardware.Reset):
            boot["end"]("crash", text * length)
        chip._note = None
        stage, deadline, link, end = chip.noted()
        assert (stage, deadline) == ("agent", "20000")
        assert link == text.replace("\n", " ") * min(length, 120)
        assert end == "crash " + text * min(length, 200)


@pytest.mark.parametrize("text", ["x", "\u00e9", '"', "\u65e5"])
def test_boot_py_and_the_agent_read_each_others_journal_at_every_length(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    assert bench.boot() is None
    agents: Any = importlib.import_module("ota.journal")
    errors: Any = importlib.import_module("ota.errors")
    boots = names_of_boot(monkeypatch)["Journal"]
    long = 0
    for length in [*range(0, 2100, 7), *range(1880, 2060)]:
        noted = agents.Journal()
        job = {"job": "j", "status": "FAILED", "details": {"detail": "kept"}}
        try:
            noted.finish(
                phase=agents.ACTIVATED, slot="ota_1", sequence=7, tries=1, source=text * length,
                result=job,
            )  # fmt: skip
        except errors.FlashError:
            long += 1
            continue  # more than the agent ever writes
        mine = boots()
        mine.save(phase="TESTING", cause="crash", detail=text * 200)
        read = agents.Journal()
        assert not read.lost
        assert (read.phase, read.slot, read.cause) == ("TESTING", "ota_1", "crash")
        assert (read.sequence, read.tries) == (7, 1)
        whole = read.result == job and read.source == text * length and read.detail == text * 200
        assert whole or len(json.dumps(vars(noted)["source"], ensure_ascii=True)) > 500
    assert long, "the longest was reached"

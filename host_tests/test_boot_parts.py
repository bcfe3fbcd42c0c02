"""Each part of boot.py by itself: what it notes, when it ends a trial, and what it leaves alone."""

from __future__ import annotations

import contextlib
import gc
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import hardware
import pytest
from agent_bench import IMAGE, packed
from chipboard import ROOT, ChipBoard

from sim import image
from twinslot.formats.head import read_head
from twinslot.formats.trailer import write_trailer

NEW, PENDING, VALID, INVALID, ABORTED = range(5)


FIRMWARE = image.firmware(version="1.0.0", size=IMAGE)
RECORD = read_head(packed("1.0.0", 1)).record
FLAT = write_trailer([RECORD], "")


@pytest.fixture
def board(tmp_path: Path) -> ChipBoard:
    board = ChipBoard(tmp_path)
    board.flash_slot(0, FIRMWARE, FLAT)
    board.write_etc("settings.json", {"self_test_s": 20})
    board.power_on()
    return board


@pytest.fixture
def boot(board: ChipBoard) -> Iterator[Any]:
    source = (ROOT / "boot.py").read_text(encoding="utf-8")
    source = source.replace('ROOT = "/"', f'ROOT = "{board.folder}/"')
    (board.folder / "boot.py").write_text(source, encoding="utf-8")
    source, end, _ = source.partition('\nattempt("the note of this')
    assert end
    names: dict[str, Any] = {"__name__": "boot"}
    with board._on_chip():
        exec(compile(source, "boot.py", "exec"), names)
        yield Part(names)


class Part:
    """The names of boot.py as attributes: what is set here, boot.py's functions see."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.__dict__ = names


class Nvs:
    """NVS that loses what was not committed, as the chip's does. kept: what the flash holds."""

    kept: ClassVar[dict[str, Any]] = {}

    def __init__(self, namespace: str) -> None:
        assert namespace == "ota"
        self._new: dict[str, Any] = {}

    def set_blob(self, key: str, data: bytes) -> None:
        self._new[key] = bytes(data)

    def set_i32(self, key: str, number: int) -> None:
        assert type(number) is int
        self._new[key] = number

    def get_blob(self, key: str, buf: bytearray) -> int:
        data = Nvs.kept.get(key)
        if data is None or len(data) > len(buf):
            raise OSError(-4354)
        buf[: len(data)] = data
        return len(data)

    def get_i32(self, key: str) -> int:
        if key not in Nvs.kept:
            raise OSError(-4354)
        return int(Nvs.kept[key])

    def commit(self) -> None:
        Nvs.kept.update(self._new)


class FullNvs(Nvs):
    """NVS that takes nothing."""

    def commit(self) -> None:
        raise OSError(-4357)


@pytest.fixture
def kept(boot: Any) -> dict[str, Any]:
    """Return what NVS holds, which begins empty."""
    Nvs.kept = {}
    boot.NVS = Nvs
    return Nvs.kept


def ended(boot: Any) -> list[tuple[str, str]]:
    """Let `end` be noted instead of done. Returns the (cause, detail) of each."""
    ends: list[tuple[str, str]] = []
    boot.end = lambda cause, detail: ends.append((cause, detail))
    return ends


# -- the note of the trial ------------------------------------------------------------------------


def test_without_a_note_there_is_no_stage_and_no_deadline(boot: Any, kept: dict[str, Any]) -> None:
    assert boot.noted() == ["", "0", ""]
    kept["trial"] = b"one word"
    assert boot.noted() == ["one", "word"]
    kept["trial"] = b"\xff\xfe"
    assert boot.noted() == ["", "0", ""]


def test_a_note_is_committed_and_read_back(boot: Any, kept: dict[str, Any]) -> None:
    boot.note("main", 20_000)
    assert kept["trial"] == b"main 20000 "
    assert boot.noted() == ["main", "20000", ""]
    boot.note("main", 5, "no Wi-Fi sim")
    assert boot.noted() == ["main", "5", "no Wi-Fi sim"]
    boot.note("main", 5, 505 * "x")
    assert boot.noted() == ["main", "5", 505 * "x"]
    boot.note("main", 5, 506 * "x")
    assert boot.noted() == ["", "0", ""], "longer than the agent's notes are"


def test_a_note_that_nvs_does_not_take_is_said_and_stops_nothing(
    boot: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    boot.NVS = FullNvs
    boot.note("main", 5)
    assert "boot: NVS takes no note: -4357" in capsys.readouterr().out


def test_the_end_of_a_trial_is_noted_behind_the_agents_text_and_always_resets(
    boot: Any, kept: dict[str, Any]
) -> None:
    boot.note("main", 5, "no Wi-Fi")
    with pytest.raises(hardware.Reset):
        boot.end("crash", 201 * "x")
    assert kept["trial"].decode() == f"main 5 no Wi-Fi\ncrash {200 * 'x'}"
    kept["trial"] = b"torn"
    with pytest.raises(hardware.Reset):
        boot.end("crash", "")


# -- the deadline ---------------------------------------------------------------------------------


class Clock:
    """boot.py's `time`: sleeping lets it go on. slept: milliseconds of each sleep."""

    def __init__(self) -> None:
        self.now = 0
        self.slept: list[int] = []

    def ticks_ms(self) -> int:
        return self.now

    def sleep_ms(self, milliseconds: int) -> None:
        self.slept.append(milliseconds)
        self.now += milliseconds


class Otadata:
    """otadata whose record has a state from some moment on."""

    def __init__(self, clock: Clock, valid_at: int = 1 << 30) -> None:
        self._clock, self._valid_at = clock, valid_at

    def readblocks(self, sector: int, state: bytearray, offset: int) -> None:
        assert (sector, offset) == (1, 24)
        state[0] = VALID if self._clock.now >= self._valid_at else PENDING


def test_the_watch_looks_every_second_and_ends_the_trial_at_its_deadline(
    boot: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, ends = Clock(), ended(boot)
    boot.time = clock
    station = SimpleNamespace(status=lambda: 1010)
    network = SimpleNamespace(STA_IF=0, WLAN=lambda interface: station)
    monkeypatch.setitem(sys.modules, "network", network)
    boot.watch(2500, Otadata(clock), 1)
    assert clock.slept == [1000, 1000, 500]
    assert ends == [("deadline", "1010")]
    assert "boot: the deadline has passed, rolling back" in capsys.readouterr().out


def test_the_watch_ends_the_trial_although_nobody_tells_the_state_of_wifi(
    boot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, ends = Clock(), ended(boot)
    boot.time = clock
    monkeypatch.setitem(sys.modules, "network", None)
    with contextlib.suppress(ImportError):
        boot.watch(10, Otadata(clock), 1)
    assert ends == [("deadline", "")]


def test_the_watch_leaves_an_accepted_image_alone(boot: Any) -> None:
    clock, ends = Clock(), ended(boot)
    boot.time = clock
    boot.watch(5000, Otadata(clock, valid_at=2000), 1)
    assert (clock.slept, ends) == ([1000, 1000], [])


@pytest.mark.parametrize(
    ("said", "milliseconds"),
    [
        ('{"self_test_s": 10}', 10_000),
        ('{"self_test_s": 3600}', 3_600_000),
        ('{"self_test_s": 10.5}', 10_500),
        ('{"self_test_s": 9}', 300_000),
        ('{"self_test_s": 3601}', 300_000),
        ('{"self_test_s": null}', 300_000),
        ("{}", 300_000),
        ("[]", 300_000),
        ("{", 300_000),
    ],
)
def test_the_deadline_is_the_settings_within_its_bounds(
    board: ChipBoard, boot: Any, said: str, milliseconds: int
) -> None:
    board.write_etc("settings.json", said.encode())
    assert boot.read_deadline() == milliseconds
    assert type(boot.read_deadline()) is int


def test_the_watchdog_bites_five_seconds_after_the_deadline_and_the_thread_has_its_stack(
    board: ChipBoard, boot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks: list[int] = []
    threads = sys.modules["_thread"]
    monkeypatch.setattr(type(threads), "stack_size", lambda _, size: stacks.append(size))
    boot.time = SimpleNamespace(ticks_ms=lambda: 3000)
    record = boot.Record("otadata", 1, bytearray(32))
    deadline, names = boot.guard(record)
    assert deadline == 20_000
    assert hardware.board.watchdog_ms == 22_000
    assert board.threads == [(names["watch"], (20_000, "otadata", 1))]
    assert stacks == [5120, 0], "and the application's threads have their own"
    boot.time = SimpleNamespace(ticks_ms=lambda: 25_000)
    boot.guard(record)
    assert hardware.board.watchdog_ms == 5001, "also when the deadline has passed"


def test_a_port_without_threads_has_the_watchdog_alone(
    board: ChipBoard, boot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "_thread", None)
    boot.start_watch({}, 20_000, None)
    assert board.threads == []


def test_a_thread_that_cannot_start_leaves_the_default_stack(
    boot: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stacks: list[int] = []
    monkeypatch.setattr(
        type(sys.modules["_thread"]), "stack_size", lambda _, size: stacks.append(size)
    )
    boot.guard(SimpleNamespace())  # no Record, so that nothing can be started
    assert stacks == [5120, 0]
    assert "boot: the thread of the deadline failed: AttributeError" in capsys.readouterr().out


def test_the_part_that_stays_in_memory_is_the_first_one_alone(boot: Any) -> None:
    names = boot.alone()
    assert names["__name__"] == "boot"
    assert {"end", "noted", "note", "watch", "run", "described", "_Stage"} <= set(names)
    assert "Journal" not in names


# -- main.py under our eyes -----------------------------------------------------------------------


def test_main_py_is_the_only_file_of_the_stage(boot: Any) -> None:
    stage = boot._Stage(b"four")
    assert stage.stat("main.py") == stage.stat("/main.py") == (0x8000, 0, 0, 0, 0, 0, 4, 0, 0, 0)
    assert stage.open("main.py", "r").read() == b"four"
    for path in ("", "/", "boot.py", "main.mpy"):
        with pytest.raises(OSError) as error:
            stage.stat(path)
        assert error.value.args == (2,)
    assert stage.mount(False, True) is stage.umount() is stage.chdir("/") is None


def running(board: ChipBoard, boot: Any, main: str) -> dict[str, Any]:
    """Run a main.py, with `end` noted. Returns the names it had."""
    (board.folder / "main.py").write_text(main)

    def execfile(name: str, names: dict[str, Any]) -> None:
        exec(compile(Path(name).read_text(encoding="utf-8"), name, "exec"), names)

    boot.execfile = execfile
    board.stage = "mounted"
    names: dict[str, Any] = {}
    try:
        boot.run(str(board.folder), names)
    finally:
        assert board.stage is None
    return names


def test_main_py_that_dies_gives_its_memory_back_and_says_how(
    board: ChipBoard, boot: Any, kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    ends = ended(boot)
    boot.note("agent", 20_000)
    assert running(board, boot, "data = 5\nraise ValueError('no sensor')\n") == {}
    ((cause, detail),) = ends
    assert cause == "crash"
    assert detail.startswith("ValueError: no sensor (")
    assert detail.endswith('"main.py", line 2, in <module>)')
    told = capsys.readouterr().out
    assert "Traceback" in told
    assert "boot: main.py died, rolling back" in told
    assert boot.noted()[0] == "agent"


def test_ctrl_c_in_main_py_is_noted_with_the_same_deadline(
    board: ChipBoard, boot: Any, kept: dict[str, Any]
) -> None:
    boot.note("agent", 20_000, "x")
    with pytest.raises(KeyboardInterrupt):
        running(board, boot, "raise KeyboardInterrupt\n")
    assert boot.noted() == ["repl", "20000", ""]


@pytest.mark.parametrize(("before", "after"), [("main", "returned"), ("agent", "agent")])
def test_main_py_that_ends_is_noted_unless_an_agent_was_made(
    board: ChipBoard, boot: Any, kept: dict[str, Any], before: str, after: str
) -> None:
    boot.note(before, 20_000)
    running(board, boot, "x = 1\n")
    assert boot.noted() == [after, "20000", ""]


def raised(source: str) -> Exception:
    """Return what this source, of x.py, raises."""
    with pytest.raises(Exception) as caught:
        exec(compile(source, "x.py", "exec"), {})
    return caught.value


def test_an_exception_is_described_with_the_innermost_place_in_one_line(boot: Any) -> None:
    assert boot.described(OSError("a\n  b")) == "OSError: a b"
    said = 'ZeroDivisionError: division by zero ("x.py", line 2, in <module>)'
    assert boot.described(raised("\n1 / 0")) == said
    said = boot.described(raised(f"raise ValueError({'y' * 200!r})"))
    assert said == f'ValueError: {"y" * 108} ("x.py", line 1, in <module>)'


# -- the journal ----------------------------------------------------------------------------------


@pytest.mark.parametrize("blob", [None, b"", b"{", b"[]", b'{"v": 2, "slot": "x"}', b"\xff"])
def test_a_journal_that_is_lost_or_of_another_version_says_nothing(
    boot: Any, kept: dict[str, Any], blob: bytes | None
) -> None:
    if blob is not None:
        kept["journal"] = blob
    assert boot.Journal().fields == {}


def test_what_is_saved_is_committed_with_the_version_and_the_other_fields(
    boot: Any, kept: dict[str, Any]
) -> None:
    kept["journal"] = b'{"v": 1, "slot": "ota_1", "phase": "ACTIVATED"}'
    journal = boot.Journal()
    journal.save(phase="TESTING")
    said = {"v": 1, "slot": "ota_1", "phase": "TESTING"}
    assert json.loads(kept["journal"]) == journal.fields == said
    assert b" " not in kept["journal"]
    assert boot.Journal().fields == said


def test_of_a_journal_that_is_too_long_the_sentences_go_one_by_one(
    boot: Any, kept: dict[str, Any]
) -> None:
    empty = len(json.dumps({"detail": "", "v": 1}, separators=(",", ":")))
    journal = boot.Journal()
    journal.save(detail=(2048 - empty) * "x")
    assert len(kept["journal"]) == 2048, "as long as the agent reads"
    journal.save(detail=(2049 - empty) * "x")
    assert json.loads(kept["journal"]) == {"v": 1}
    journal.save(detail="d", source="s" * 2040, result={"job": "j"}, slot="ota_1")
    assert json.loads(kept["journal"]) == {"v": 1, "slot": "ota_1", "result": {"job": "j"}}
    journal.save(result="r" * 2040)
    assert json.loads(kept["journal"]) == {"v": 1, "slot": "ota_1"}


def test_a_trial_is_noted_for_its_own_slot_alone(boot: Any, kept: dict[str, Any]) -> None:
    kept["journal"] = b'{"v": 1, "slot": "ota_0", "job": "j"}'
    boot.note_test(boot.Journal())
    assert json.loads(kept["journal"]) == {
        "v": 1, "slot": "ota_0", "job": "j", "phase": "TESTING"
    }  # fmt: skip
    kept["journal"] = b'{"v": 1, "slot": "ota_1", "job": "j"}'
    boot.note_test(boot.Journal())
    assert json.loads(kept["journal"]) == {"v": 1, "slot": "ota_0", "phase": "TESTING"}


def test_whether_a_trial_is_under_way_is_told_and_written_when_it_changes(
    boot: Any, kept: dict[str, Any]
) -> None:
    assert boot.tried(False) is False
    assert kept == {}, "nothing to write"
    assert boot.tried(True) is False
    assert kept == {"tried": 1}
    assert boot.tried(True) is True
    assert boot.tried(False) is True
    assert kept == {"tried": 0}
    kept["tried"] = 2
    assert boot.tried(False) is False
    assert kept == {"tried": 2}


def test_the_version_is_written_once(boot: Any, kept: dict[str, Any]) -> None:
    boot.tell_version()
    assert kept == {"boot": boot.VERSION.encode()}
    boot.NVS = FullNvs
    boot.tell_version()
    kept["boot"] = b"0.0.1"
    with pytest.raises(OSError, match="-4357"):
        boot.tell_version()


# -- otadata and the trailers ---------------------------------------------------------------------


def write(boot: Any, sector: int, sequence: int, state: int, *, good: bool = True) -> None:
    """Write a record of otadata."""
    otadata = boot.Partition.find(boot.Partition.TYPE_DATA, subtype=0)[0]
    data = bytearray(b"\xff" * 4096)
    data[:4] = sequence.to_bytes(4, "little")
    data[24:28] = state.to_bytes(4, "little")
    checksum = boot.crc32(data[:4], 0xFFFFFFFF) ^ (not good)
    data[28:32] = checksum.to_bytes(4, "little")
    otadata.writeblocks(sector, data)


def test_the_active_record_is_the_higher_one_that_is_whole_and_not_refused(boot: Any) -> None:
    def found() -> list[tuple[int, int, int, int]]:
        return [(row[0], row[1], row[2].sector, row[2].state) for row in boot.records()]

    write(boot, 0, 0xFFFFFFFF, VALID)
    assert found() == []
    assert boot.active_record() == (None, None)
    write(boot, 0, 3, VALID)
    write(boot, 1, 4, PENDING)
    assert found() == [(4, 1, 1, PENDING), (3, 0, 0, VALID)]
    assert boot.active_record() == (None, None), "it names the slot that does not run"
    for state in (INVALID, ABORTED):
        write(boot, 1, 4, state)
        assert found() == [(3, 0, 0, VALID)]
    write(boot, 1, 4, VALID, good=False)
    assert found() == [(3, 0, 0, VALID)]
    record, other = boot.active_record()
    assert (record.sector, record.state, other) == (0, VALID, None)
    write(boot, 1, 2, PENDING)
    record, other = boot.active_record()
    assert (record.sector, other.sector, other.state) == (0, 1, PENDING)
    write(boot, 1, 1, VALID)
    record, other = boot.active_record()
    assert (record.sector, other) == (0, None), "of the same slot"
    write(boot, 0, 0xFFFFFFFF, VALID)
    assert found() == [(1, 0, 1, VALID)]


def test_a_record_is_rewritten_with_nothing_but_its_state_changed(boot: Any) -> None:
    write(boot, 0, 3, 17)
    ((_, _, record),) = boot.records()
    before = bytes(record.data)
    record.rewrite(PENDING)
    assert record.state == PENDING
    ((_, _, again),) = boot.records()
    assert bytes(again.data) == before[:24] + PENDING.to_bytes(4, "little") + before[28:]
    rest = bytearray(4096)
    record.partition.readblocks(0, rest)
    assert rest[32:] == b"\xff" * 4064


@pytest.mark.parametrize(
    ("fields", "other", "state", "said"),
    [
        ({"slot": "ota_0", "phase": "ACTIVATED"}, VALID, PENDING, ""),
        ({"slot": "ota_0", "phase": "TESTING"}, None, PENDING, ""),
        ({"slot": "ota_1", "phase": "TESTING"}, None, VALID, ""),
        ({"slot": "ota_0", "phase": "VERIFIED"}, PENDING, VALID, ""),
        ({}, VALID, ABORTED, "boot: this slot's record is torn; going back to the other slot"),
    ],
)
def test_a_torn_record_is_mended_by_what_journal_and_other_slot_say(
    boot: Any,
    capsys: pytest.CaptureFixture[str],
    fields: dict[str, str],
    other: int | None,
    state: int,
    said: str,
) -> None:
    write(boot, 0, 3, 17)
    ((_, _, record),) = boot.records()
    others = None if other is None else SimpleNamespace(state=other)
    resets = pytest.raises(hardware.Reset) if said else contextlib.nullcontext()
    with resets:
        boot.mend(record, others, SimpleNamespace(fields=fields))
    assert record.state == state
    assert capsys.readouterr().out.strip() == said


def test_the_directory_is_that_of_a_trailer_that_is_whole(board: ChipBoard, boot: Any) -> None:
    slot = boot.Partition(boot.Partition.RUNNING)
    assert boot.directory_of(slot) == ""
    trailer = bytearray(write_trailer([RECORD], "app_1"))
    board.flash_slot(0, FIRMWARE, bytes(trailer))
    assert boot.directory_of(slot) == "app_1"
    for at in (0, 4056, 4063, 4064, 4095):
        damaged = bytearray(trailer)
        damaged[at] ^= 1
        board.flash_slot(0, FIRMWARE, bytes(damaged))
        assert boot.directory_of(slot) is None, at


# -- the self-test --------------------------------------------------------------------------------


def test_the_built_in_test_leaves_nothing_behind(board: ChipBoard, boot: Any) -> None:
    etc = board.folder / "etc"
    before = sorted(etc.iterdir())
    boot.built_in_test()
    assert sorted(etc.iterdir()) == before
    for path in before:
        path.unlink()
    etc.rmdir()
    boot.built_in_test()
    assert list(etc.iterdir()) == []


def test_little_memory_and_a_file_that_does_not_keep_its_bytes_fail_the_test(boot: Any) -> None:
    collected = []
    boot.gc = SimpleNamespace(mem_free=lambda: 16_384, collect=lambda: collected.append(1))
    boot.built_in_test()
    assert collected == [1]
    boot.gc.mem_free = lambda: 16_383
    with pytest.raises(MemoryError, match="only 16383 bytes of heap are free"):
        boot.built_in_test()
    boot.gc = gc

    @contextlib.contextmanager
    def opened(path: str, mode: str) -> Iterator[Any]:
        yield SimpleNamespace(write=lambda data: None, read=lambda: b"other")

    boot.open = opened
    with pytest.raises(OSError, match="does not keep written bytes"):
        boot.built_in_test()


def test_the_applications_test_is_run_once_and_forgotten(board: ChipBoard, boot: Any) -> None:
    boot.application_test()
    (board.folder / "selftest.py").write_text("ran = []\n\n\ndef run():\n    ran.append(1)\n")
    sys.path.insert(0, str(board.folder))
    boot.application_test()
    assert "selftest" not in sys.modules
    (board.folder / "selftest.py").write_text("import absent_here\n\n\ndef run(): pass\n")
    sys.path_importer_cache.clear()
    with pytest.raises(ImportError, match="absent_here"):
        boot.application_test()


def test_a_main_py_in_the_firmware_is_found_without_running_it(
    boot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks: list[str] = []
    boot.micropython = SimpleNamespace(
        heap_lock=lambda: locks.append("locked"), heap_unlock=lambda: locks.append("free")
    )
    path = sys.path[:]
    tried: list[list[str]] = []

    def importing(fault: type[Exception] | None) -> Any:
        def imported(name: str) -> None:
            assert name == "main"
            assert locks[-1] == "locked"
            tried.append(sys.path[:])
            if fault:
                raise fault

        return imported

    for fault, there in ((ImportError, False), (MemoryError, True), (None, True)):
        boot.__import__ = importing(fault)
        boot.__dict__["__builtins__"] = {
            **vars(sys.modules["builtins"]), "__import__": importing(fault)
        }  # fmt: skip
        assert boot.has_frozen_main() is there
        assert locks[-1] == "free"
        assert sys.path == path
    assert tried == [[".frozen"]] * 3


# -- the way to the other slot --------------------------------------------------------------------


def test_a_failed_action_is_printed_and_ends_only_itself(
    boot: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert boot.attempt("it", divmod, 7, 2) == (3, 1)
    assert boot.attempt("it", divmod, 7, 0) is None
    assert "boot: it failed: ZeroDivisionError(" in capsys.readouterr().out


def test_a_bootloader_without_rollback_is_noted_once(
    board: ChipBoard, boot: Any, kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    board.flash_slot(1, FIRMWARE)
    with pytest.raises(hardware.Reset):
        boot.without_rollback(boot.Journal())
    assert json.loads(kept["journal"]) == {
        "v": 1,
        "no_rollback": True,
        "phase": "FAILED",
        "cause": "no_rollback",
        "detail": "the bootloader has no rollback; flash a newer one by cable",
    }
    assert "this bootloader has no rollback; going back" in capsys.readouterr().out
    board.power_on()
    assert board.running == 1
    boot.without_rollback(boot.Journal())
    assert next(row[2].state for row in boot.records()) == VALID
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("directory", ["", "app_0", "app_1"])
def test_an_application_is_a_main_py_in_one_of_the_directories(
    board: ChipBoard, boot: Any, directory: str
) -> None:
    path = str(board.folder) + "/" + directory
    with pytest.raises(OSError, match="holds no application"):
        boot.find_application(directory)
    Path(path).mkdir(exist_ok=True)
    (Path(path) / "main.py").write_text("")
    assert boot.find_application(directory) == path
    with pytest.raises(OSError, match="trailer names directory 'etc'"):
        boot.find_application("etc")


def test_the_applications_lib_comes_last_but_one_and_once(board: ChipBoard, boot: Any) -> None:
    assert boot.enter_application() == str(board.folder) + "/"
    board.flash_slot(0, FIRMWARE, write_trailer([RECORD], "app_1"))
    folder = board.folder / "app_1"
    folder.mkdir()
    (folder / "main.py").write_text("")
    sys.path[:] = ["", ".frozen", "/lib"]
    assert boot.enter_application() == str(folder)
    assert Path.cwd() == folder
    assert sys.path == ["", ".frozen", "lib", "/lib"]
    boot.enter_application()
    assert sys.path == ["", ".frozen", "lib", "/lib"]
    sys.path[:] = []
    boot.enter_application()
    assert sys.path == ["lib"]


def leaving(
    board: ChipBoard, boot: Any, fields: dict[str, Any], state: int = VALID
) -> dict[str, Any]:
    """Leave the running slot, whose application is gone. Returns the journal, {} if none."""
    journal = boot.Journal()
    journal.fields = dict(fields)
    with contextlib.suppress(hardware.Reset):
        boot.leave_application(OSError("it is gone"), journal, state)
    found: dict[str, Any] = json.loads(Nvs.kept.get("journal", b"{}"))
    return found


@pytest.mark.parametrize(
    ("fields", "after"),
    [
        ({}, {"origin": "local", "tries": 1}),
        (
            {"result": {"job": "j"}, "no_rollback": True, "job": "old", "slot": "ota_0"},
            {"origin": "local", "tries": 1, "result": {"job": "j"}, "no_rollback": True},
        ),
        *(
            (
                {"slot": "ota_1", "phase": phase, "tries": 1, "job": "j"},
                {"tries": 2, "job": "j"},
            )
            for phase in ("VERIFIED", "ACTIVATED", "TESTING")
        ),
        ({"slot": "ota_1", "phase": "FAILED", "tries": 2}, {"origin": "local", "tries": 1}),
        ({"slot": "ota_1", "phase": "TESTING"}, {"tries": 1}),
        ({"slot": "ota_1", "phase": "TESTING", "tries": 2}, None),
    ],
)
def test_the_other_slot_is_tried_twice_and_the_journal_says_so(
    board: ChipBoard,
    boot: Any,
    kept: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    fields: dict[str, Any],
    after: dict[str, Any] | None,
) -> None:
    board.flash_slot(1, FIRMWARE, FLAT)
    (board.folder / "main.py").write_text("")
    kept["tried"] = 1
    found = leaving(board, boot, fields)
    told = capsys.readouterr().out
    assert "boot: it is gone" in told
    assert Path.cwd() == board.folder / "etc"
    if after is None:
        assert found == {}
        assert "there is nothing else to start; deploy the application by cable" in told
        return
    assert found == {"v": 1, "phase": "ACTIVATED", "slot": "ota_1", "detail": "it is gone", **after}
    assert "boot: going back to ota_1" in told
    assert kept["tried"] == 0
    board.power_on()
    assert board.running == 1


def test_the_slot_is_not_left_in_a_test_nor_for_one_without_a_trailer(
    board: ChipBoard, boot: Any, kept: dict[str, Any]
) -> None:
    board.flash_slot(1, FIRMWARE)
    assert leaving(board, boot, {}) == {}
    board.flash_slot(1, FIRMWARE, FLAT)
    (board.folder / "main.py").write_text("")
    assert leaving(board, boot, {}, PENDING) == {}


def test_the_slot_is_not_left_for_one_whose_application_is_gone_too(
    board: ChipBoard, boot: Any, kept: dict[str, Any]
) -> None:
    board.flash_slot(1, FIRMWARE, write_trailer([RECORD], "app_1"))
    with pytest.raises(OSError, match="app_1 holds no application"):
        leaving(board, boot, {})
    assert kept == {}


# -- the trial as a whole -------------------------------------------------------------------------


class Trial:
    """boot.py on an image under test, whose parts note that they are called.

    calls: their names; frozen: whether the firmware has a main.py; cause: of the reset.
    """

    def __init__(self, boot: Any, cause: int = 1, *, frozen: bool = False) -> None:
        self.calls: list[str] = []
        self._boot = boot
        boot.time = SimpleNamespace(ticks_ms=lambda: 500)
        boot.machine = SimpleNamespace(
            reset_cause=lambda: cause, DEEPSLEEP_RESET=4, SOFT_RESET=5, reset=self._reset
        )
        boot.guard = self._guard
        boot.has_frozen_main = lambda: frozen
        for name in ("enter_application", "built_in_test", "application_test"):
            setattr(boot, name, self._noting(name))

    def run(self) -> Any:
        record = SimpleNamespace(state=PENDING)
        return self._boot.test(self._boot.Journal(), record, False)

    def _reset(self) -> None:
        self.calls.append("reset")
        raise hardware.Reset(hardware.HARD)

    def _guard(self, record: Any) -> tuple[int, dict[str, Any]]:
        self.calls.append("guard")
        return 20_000, {"run": print, "_Stage": lambda text: text}

    def _noting(self, name: str) -> Any:
        def part() -> str:
            self.calls.append(f"{name} at {self._boot.noted()[0]}")
            return "/app_0"

        return part


def test_a_trial_begins_with_its_notes_and_all_tests(
    board: ChipBoard, boot: Any, kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    trial = Trial(boot)
    assert trial.run() is True, "main.py runs under our eyes"
    assert trial.calls == [
        "guard",
        "enter_application at selftest",
        "built_in_test at selftest",
        "application_test at selftest",
    ]
    assert json.loads(kept["journal"])["phase"] == "TESTING"
    assert kept["trial"] == b"main 20000 "
    assert kept["tried"] == 1
    assert b'("/app_0", globals())' in board.stage
    shown: Any = sys.modules.pop("boot run")
    assert shown is print
    assert "image under test, accepted within 20 s or rolled back" in capsys.readouterr().out


def test_a_main_py_in_the_firmware_is_left_to_the_deadline_and_that_is_said(
    board: ChipBoard, boot: Any, kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert Trial(boot, frozen=True).run() is True
    assert board.stage is None
    assert "main.py is frozen into this firmware; only the deadline" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("stage", "after"),
    [
        ("selftest", "selftest"),
        ("repl", "repl"),
        ("main", "main"),
        ("returned", "main"),
        ("agent", "main"),
    ],
)
def test_after_a_soft_reset_a_trial_only_goes_on(
    boot: Any, kept: dict[str, Any], capsys: pytest.CaptureFixture[str], stage: str, after: str
) -> None:
    boot.note(stage, 20_000)
    trial = Trial(boot, 5)
    assert trial.run() is False
    assert trial.calls == ["guard"]
    assert boot.noted() == [after, "20000", ""]
    assert "boot: image under test, 19 s left" in capsys.readouterr().out


def test_a_trial_that_is_woken_from_sleep_ends_before_anything_else(boot: Any) -> None:
    trial = Trial(boot, 4)
    with pytest.raises(hardware.Reset):
        trial.run()
    assert trial.calls == ["reset"]


def test_a_failed_self_test_is_said_and_ends_the_trial(
    boot: Any, kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    trial, ends = Trial(boot), ended(boot)

    def fails() -> None:
        raise ValueError("no sensor")

    boot.application_test = fails
    trial.run()
    sys.modules.pop("boot run")
    [(cause, detail)] = ends
    assert cause == "self_test"
    assert detail.startswith("ValueError: no sensor (")
    said = capsys.readouterr()
    assert "boot: self-test failed, rolling back" in said.out


def test_a_trial_that_cannot_be_carried_out_ends_with_that_cause(
    boot: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = ended(boot)
    write(boot, 0, 3, PENDING)

    def fails(*_: Any) -> None:
        raise OSError(5)

    boot.test = fails
    assert not boot.start()
    assert ends == [("self_test", "the trial could not be carried out: OSError(5)")]
    said = capsys.readouterr().out
    assert "boot: no trial, rolling back: OSError(5)" in said


def test_a_record_that_is_mended_without_a_trial_lets_the_application_start(boot: Any) -> None:
    write(boot, 0, 3, 17)
    assert not boot.start()
    assert boot.active_record()[0].state == VALID


@pytest.mark.parametrize("state", [VALID, PENDING])
def test_a_slot_whose_application_is_gone_is_left_with_its_own_state(
    board: ChipBoard, boot: Any, state: int
) -> None:
    board.flash_slot(0, FIRMWARE, write_trailer([RECORD], "app_0"))
    write(boot, 0, 3, state)
    write(boot, 1, 2, ABORTED)
    left: list[Any] = []
    boot.leave_application = lambda error, journal, state: left.append((str(error), state))
    boot.enter_or_leave()
    assert left == [(f"{board.folder}/app_0 holds no application", state)]
    write(boot, 0, 0xFFFFFFFF, state)
    boot.enter_or_leave()
    assert left[1:] == [(f"{board.folder}/app_0 holds no application", None)]

"""Strangers on the network and on the broker: they can neither stop a board nor fool it.

Clock, replays, silence, slow peers, and what is no message of the agent's.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hardware
import nvs
import pytest
from agent_bench import IMAGE, Bench, Patient, packed, receive
from link_fixtures import need

from demo.stack import Stack

NOW = 1_800_000_000  # what the job service says by default
DAY = 86_400
BUILT = 1_750_000_000


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def pass_time(bench: Bench, *modules: str) -> Callable[[int], None]:
    """Let time pass for these modules of the agent, on call."""
    passed = 0

    def more(milliseconds: int) -> None:
        nonlocal passed
        passed += milliseconds

    for name in modules:
        module: Any = sys.modules[f"ota.{name}"]
        real = module.ticks_ms
        module.ticks_ms = lambda real=real: real() + passed
    return more


# -- messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rest",
    [b"\xff\xfe", b"$next/get/accepted\xc3", b"\x00", b"$next/get/\x00accepted", b"\xed\xa0"],
)
def test_a_topic_that_is_no_text_is_read_and_forgotten(bench: Bench, rest: bytes) -> None:
    bench.boot()
    bench.step()
    assert bench.agent.on_message(b"$aws/things/board-1/jobs/" + rest, b'{"timestamp": 1}')
    assert bench.step() is None
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"


def test_a_topic_that_is_no_text_does_not_end_a_trial(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    assert isinstance(bench.step(), hardware.Reset)
    bench.boot(patient := Patient())
    bench.agent.on_message(b"$aws/things/board-1/jobs/\xff", b"{}")
    bench.step()
    assert ("StartTest", "1.1.0") in patient.asked
    bench.agent.accept()
    bench.step()
    assert bench.service.status("job-1") == "SUCCEEDED"


@pytest.mark.parametrize("index", [40, 1 << 31, 1 << 62, (1 << 64) - 1])
@pytest.mark.parametrize("file_id", [0, 7])
def test_a_block_that_does_not_belong_is_passed_over(
    bench: Bench, index: int, file_id: int
) -> None:
    cbor2 = pytest.importorskip("cbor2")
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    receive(bench, 2)
    block = cbor2.dumps({"f": file_id, "i": index, "l": 4096, "p": bytes(4096)})
    bench.agent.on_message(b"$aws/things/board-1/streams/job-1/data/cbor", block)
    bench.agent.step()
    assert bench.in_hand
    bench.step()
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"


HALVES = [
    b'{"v":1,"phase":"TEST',
    b'{"v":1,"phase":"TESTING","result":{}}',
    b'{"v":1,"phase":7,"slot":[],"tries":-4,"next":-4096,"sequence":-1,"result":{"job":1}}',
    b'{"v":1,"phase":"NOBODY","origin":"nobody","next":99999999999999999999}',
    b"[1,2]",
    b"\xff\xfe\x00",
    b'{"v":1,"detail":null,"cause":{},"identity":5,"agreed":3,"armed":"x"}',
]


@pytest.mark.parametrize("left", HALVES)
@pytest.mark.parametrize("key", ["journal", "history", "trust", "failed", "trial"])
def test_half_a_blob_in_nvs_stops_neither_the_agent_nor_the_next_update(
    bench: Bench, key: str, left: bytes
) -> None:
    nvs.Store(bench.board.flash).set("ota", key, b"b", left)
    bench.boot()
    bench.step()
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.board.running == 1


@pytest.mark.parametrize("version", ["0.1\u00b3.1", "1.2", "1.2.x.3", "\u0661.1.1", "", None, 3])
def test_a_version_of_other_digits_is_a_settings_error(bench: Bench, version: Any) -> None:
    bench.boot()
    defaults: Any = importlib.import_module("ota.defaults")
    errors: Any = importlib.import_module("ota.errors")
    with pytest.raises(errors.SettingsError, match="version must be"):
        defaults.version_word(version)


# -- the clock -----------------------------------------------------------------------------------


class Clock:
    """The chip's clock module over a clock of this test's own. seconds: None while never set."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        assert bench.boot() is None
        self.chip: Any = importlib.import_module("ota.chip")
        self.clock: Any = importlib.import_module("ota.clock")
        self.seconds: int | None = None
        clock = self

        class Rtc:
            def datetime(self, when: tuple[int, ...]) -> None:
                year, month, day, _, hour, minute, second, _ = when
                text = (year, month, day, hour, minute, second, 0, 0, 0)
                clock.seconds = int(time.mktime(text) - time.timezone)

        monkeypatch.setattr(self.chip, "unix_time", lambda: self.seconds)
        monkeypatch.setattr(self.clock.machine, "RTC", Rtc)
        for name, value in {"hinted": False, "sure": False, "doubt": 0}.items():
            setattr(self.chip, name, value)

    def hear(self, *stamps: int, sure: bool = False) -> int | None:
        """Take the service's answers; returns the clock."""
        for stamp in stamps:
            self.clock.set_clock(stamp, (BUILT, BUILT + 3650 * DAY), sure)
        return self.seconds


@pytest.fixture
def clock(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(bench, monkeypatch)


@pytest.mark.parametrize("stamp", [0, -5, BUILT - 1, BUILT + 3651 * DAY, 3_090_000_000])
def test_a_time_out_of_bounds_is_not_believed(clock: Clock, stamp: int) -> None:
    assert clock.hear(stamp, stamp, stamp, sure=True) is None
    assert clock.hear(NOW) == NOW


def test_a_hint_is_corrected_by_two_answers_that_agree_and_by_one_that_is_sure(
    clock: Clock,
) -> None:
    assert clock.hear(NOW - 400 * DAY) == NOW - 400 * DAY
    assert clock.hear(NOW) == NOW - 400 * DAY
    assert clock.hear(NOW + 3 * DAY) == NOW - 400 * DAY, "these two do not agree"
    assert clock.hear(NOW + 3 * DAY + 2) == NOW + 3 * DAY + 2
    assert not clock.chip.sure
    assert clock.hear(NOW, sure=True) == NOW
    assert clock.chip.sure
    assert clock.hear(NOW + 9 * DAY, NOW + 9 * DAY) == NOW, "a hint moves no sure clock"


def test_a_good_answer_in_between_takes_a_doubt_away(clock: Clock) -> None:
    clock.hear(NOW)
    assert clock.hear(NOW - 9 * DAY, NOW, NOW - 9 * DAY) == NOW


def test_a_clock_that_the_application_set_may_show_the_local_time(clock: Clock) -> None:
    clock.seconds = NOW + 14 * 3600
    assert clock.hear(NOW, NOW, NOW, sure=True) == NOW + 14 * 3600
    assert not clock.chip.sure
    clock.seconds = NOW + 40 * DAY
    assert clock.hear(NOW, NOW) == NOW


@pytest.mark.parametrize("stamp", [-1, None, "2098", 4_070_908_800, True, 1e9, [1]])
def test_a_timestamp_that_is_none_leaves_the_clock_and_the_job_alone(
    bench: Bench, stamp: Any
) -> None:
    bench.service.now = stamp
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.service.jobs["job-1"].update(queuedAt=NOW, lastUpdatedAt=NOW)
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"


def test_a_package_from_the_far_future_does_not_move_the_bound(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, created=NOW + 3650 * DAY))
    bench.until_quiet()
    assert bench.service.status("job-1") == "SUCCEEDED"
    assert bench.agent.journal.accepted() == (2, 1_790_000_000), "of the package before"


@pytest.mark.parametrize("tls", [False, True])
def test_an_expiry_that_an_unsure_clock_judged_is_told(bench: Bench, tls: bool) -> None:
    bench.service.now = int(time.time())
    package = packed("1.1.0", 2, expires=1_790_000_000 + 900 * DAY)
    bench.service.add("job-1", package)
    for _ in range(4):
        broker = {"host": "b", "tls": tls}
        if bench.boot(broker=broker) is None and bench.step() is None:
            break
    assert bench.service.status("job-1") == "SUCCEEDED"
    told = "not sure" in bench.service.details("job-1").get("detail", "")
    assert told == (not tls)


# -- replays -------------------------------------------------------------------------------------


def reject(bench: Bench) -> Callable[[str, Any], None]:
    def callback(event: str, _detail: Any) -> None:
        if event == "Activate":
            bench.agent.activate()
        elif event == "StartTest":
            bench.agent.reject("no")

    return callback


def fail(bench: Bench, job: str, package: bytes) -> dict[str, str]:
    bench.service.add(job, package)
    bench.until_quiet(reject(bench))
    return bench.service.details(job)


def test_a_package_that_failed_twice_is_refused_from_its_head_until_another_comes(
    bench: Bench,
) -> None:
    bad = packed("1.1.0", 2)
    assert fail(bench, "job-1", bad)["cause"] == "rejected"
    of_one = bench.board.flash.operations
    assert fail(bench, "job-2", bad)["cause"] == "rejected"
    operations = bench.board.flash.operations
    slot = bench.board.slot_bytes(1, IMAGE)
    assert fail(bench, "job-3", bad)["cause"] == "failed_before"
    assert bench.board.slot_bytes(1, IMAGE) == slot
    assert bench.board.flash.operations - operations < of_one / 8, "the journal's, and no slot's"
    bench.service.add("job-4", packed("1.1.1", 2))
    bench.until_quiet()
    assert bench.service.status("job-4") == "SUCCEEDED"


def test_a_person_may_install_it_once_more(bench: Bench, tmp_path: Path) -> None:
    bad = packed("1.1.0", 2)
    for number in range(2):
        fail(bench, f"job-{number}", bad)
    path = tmp_path / "bad.ota"
    path.write_bytes(bad)
    bench.boot()
    bench.step()
    bench.agent.install(str(path))
    assert isinstance(bench.step(), hardware.Reset)
    bench.until_quiet()
    assert bench.board.running == 1


def test_a_cut_of_the_power_is_not_the_packages_fault(bench: Bench) -> None:
    package = packed("1.1.0", 2)
    for number in range(3):
        bench.service.add(f"job-{number}", package)
        bench.boot()
        assert isinstance(bench.step(), hardware.Reset)
        for _ in range(4):  # cut in its test, until the board gives it up
            bench.boot(Patient())
            bench.step()
            if bench.board.running == 0 and bench.service.status(f"job-{number}") == "FAILED":
                break
            bench.board.cause = hardware.PWRON
        assert bench.service.details(f"job-{number}")["cause"] == "power"


# -- NVS that is full ----------------------------------------------------------------------------


def fill_nvs(bench: Bench) -> None:
    store = nvs.Store(bench.board.flash)
    number = 0
    for size in (200, 20, 1):
        try:
            while True:
                store.set("readings", f"r{number}", b"b", bytes(size))
                number += 1
        except OSError:
            pass


def test_with_a_full_nvs_the_job_fails_with_a_sentence_and_the_board_goes_on(bench: Bench) -> None:
    bench.boot()
    bench.step()
    fill_nvs(bench)
    bench.service.add("job-1", packed("1.1.0", 2))
    assert bench.step() is None
    assert bench.service.status("job-1") == "FAILED"
    assert "NVS is full" in bench.service.details("job-1")["detail"]
    assert bench.agent.state == "Ready"
    assert bench.board.running == 0


def test_nvs_that_fills_in_mid_transfer_costs_no_more_than_the_checkpoints(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot()
    receive(bench, 3)
    fill_nvs(bench)
    for _ in range(3):
        if bench.step() is None:
            break
        bench.boot()
    assert bench.service.status("job-1") in ("SUCCEEDED", "FAILED")
    if bench.service.status("job-1") == "FAILED":
        assert "NVS is full" in bench.service.details("job-1")["detail"]


# -- silence, and slow peers ---------------------------------------------------------------------


def test_a_job_service_that_never_answers_is_told_with_the_counts(bench: Bench) -> None:
    bench.boot()
    stats = bench.agent.stats
    stats.unanswered = 3
    assert "job service" not in str(stats)
    stats.unanswered = 4
    assert "the job service has not answered 4 questions" in str(stats)
    bench.step()
    assert stats.unanswered == 0
    assert "job service" not in str(stats)


def test_after_a_long_silence_the_agent_subscribes_and_asks_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.boot()
    bench.step()
    more = pass_time(bench, "inbox", "agent")
    asked = bench.agent._inbox.asked
    topics: list[str] = []
    subscribe = bench.client.subscribe

    def subscribed(topic: str, qos: int = 0) -> None:
        topics.append(topic)
        subscribe(topic, qos)

    monkeypatch.setattr(bench.client, "subscribe", subscribed)
    more(899_000)
    bench.step()
    assert (topics, bench.agent._inbox.asked) == ([], asked)
    more(2_000)
    bench.step()
    assert bench.agent._inbox.asked == asked + 1
    assert "$aws/things/board-1/jobs/notify-next" in topics


def test_a_transfer_below_the_floor_is_given_up_and_one_that_was_dead_is_not(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2))
    bench.boot(min_rate=1000)
    receive(bench, 2)
    window: Any = importlib.import_module("ota.window")
    errors: Any = importlib.import_module("ota.errors")
    now = 0
    window.ticks_ms = lambda: now
    pace = window.Pace(1000)
    for _ in range(5):  # 4096 bytes in 50 s
        now += 50_000
        pace.add(4096)
    now += 50_000
    with pytest.raises(errors.SlowError, match="24576 bytes in 300 s, below min_rate"):
        pace.add(4096)
    pace = window.Pace(1000)
    for _ in range(20):  # silent for longer: not slow
        now += 61_000
        pace.add(1)
    for _ in range(700):
        now += 1_000
        pace.add(1001)


def test_a_slow_stream_ends_its_job_with_the_cause(bench: Bench) -> None:
    bench.service.add("job-1", packed("1.1.0", 2, size=400_000))
    bench.boot(min_rate=1000)
    receive(bench, 1)
    now = 0
    bench.in_hand.path._pace.add.__func__.__globals__["ticks_ms"] = lambda: now
    for _ in range(2000):
        now += 5_000
        bench.client.deliver()
        bench.agent.step()
        if not bench.in_hand:
            break
    bench.step()
    assert bench.service.status("job-1") == "FAILED"
    assert bench.service.details("job-1")["cause"] == "too_slow"
    assert json.dumps(bench.service.details("job-1"))


def test_before_a_broker_of_elsewhere_main_py_asks_an_ntp_server_for_the_time(
    tmp_path: Path,
) -> None:
    """Once: a clock that is set is left alone. The server that does not answer keeps nobody."""
    need("micropython")
    ntptime = (
        "import machine\n"
        "host = ''\n"
        "def settime():\n"
        "    print('NTP asks', host)\n"
        "    if host == 'silent.example':\n"
        "        raise OSError(110)\n"
        "    machine.RTC().datetime((2027, 1, 15, 4, 8, 0, 0, 0))\n"
    )
    with Stack(tmp_path / "stack", interpreter="micropython") as stack:
        board = stack.board(
            application={"/ntptime.py": ntptime.encode()}, settings={"ntp": "time.example"}
        )
        board.start()
        board.wait_console("State: Ready")
        text = board.log_path.read_text()
        assert text.count("NTP asks time.example") == 1
        assert text.index("NTP asks") < text.index("State: Ready")
        board.stop()
        settings = json.loads(board.read_file("/etc/settings.json"))
        settings["ntp"] = "silent.example"
        board.install({"/etc/settings.json": json.dumps(settings).encode()})
        board.start()
        at = board.wait_console("main: no time from silent.example")
        board.wait_console("State: Ready", since=at)

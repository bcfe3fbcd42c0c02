"""A trial on real MicroPython: how the application runs in it, how it ends, and what it costs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_bench import KEY, PRODUCT
from link_fixtures import need
from test_looking_inside import MAIN, Person, mpremote
from test_trial import UNUSUAL

from sim import image
from sim.board import Board, application_files, compile_module
from twinslot.formats.component import firmware_content
from twinslot.formats.head import read_head
from twinslot.formats.trailer import write_trailer
from twinslot.trust import keys, signing

PENDING, VALID, ABORTED = 1, 2, 4
DEADLINE_S = 10
ACTIVATE = (
    "from esp32 import Partition; import machine; "
    "Partition(Partition.RUNNING).get_next_update().set_boot(); machine.reset()"
)


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Callable[..., Board]]:
    """`trial(files, frozen)`: a board that runs MAIN in /app_0, and then tries /app_1."""
    need("micropython")
    with Board(tmp_path, interpreter="micropython") as board:

        def begin(files: dict[str, bytes], frozen: dict[str, bytes] | None = None) -> Board:
            for slot in (0, 1):
                options: dict[str, Any] = {"modules": frozen} if slot and frozen else {}
                firmware = image.firmware(version=f"1.{slot}.0", size=100_000, **options)
                packed = signing.build(
                    [firmware_content(firmware)],
                    KEY,
                    PRODUCT,
                    f"1.{slot}.0",
                    1 + slot,
                    1_790_000_000,
                )
                record = read_head(packed).record
                board.flash_firmware(slot, firmware, write_trailer([record], f"app_{slot}"))
            agent = application_files()
            boot = agent.pop("/boot.py")
            board.install(
                {
                    "/boot.py": boot,
                    **{f"/app_0{name}": data for name, data in agent.items()},
                    "/etc/settings.json": json.dumps(
                        {"product": PRODUCT, "thing": "board-1", "self_test_s": DEADLINE_S}
                    ).encode(),
                    "/etc/trusted_keys.pem": keys.public_pem(KEY.public_key()),
                    "/app_0/main.py": MAIN,
                    **{f"/app_1/{name}": data for name, data in files.items()},
                }
            )
            board.start()
            at = board.wait_console("main: runs 1.0.0")
            person = Person(board)
            person.stop_main()
            person.type(ACTIVATE + "\r")
            board.wait_console("boot: image under test", since=at)
            return board

        yield begin


def failed(board: Board, timeout: float = 30) -> dict[str, Any]:
    """Wait for the old image. Returns what it says of the trial."""
    board.wait_boots(3, timeout)
    assert board.boots[2][0] == 0
    at = board.log_path.read_bytes().rfind(b"image under test")
    board.wait_console("main: runs 1.0.0", since=at)
    newest: dict[str, Any] = json.loads(board.nvs("ota", "history") or b"")[0]
    return newest


SENSOR = b"def run():\n    raise OSError(19)\n"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"main.py": b"import absent\n"}, "ImportError: no module named 'absent'"),
        ({"main.py": b"def f(:\n"}, "SyntaxError: invalid syntax"),
        ({"main.py": b"import sensor\nsensor.run()\n", "sensor.py": SENSOR}, "OSError: "),
        (
            {"main.py": b"kept = []\nwhile True:\n    kept.append(bytearray(2000))\n"},
            "MemoryError: memory allocation failed",
        ),
        (
            {
                "main.py": b"import asyncio\nasync def f():\n    await asyncio.sleep_ms(1)\n"
                b"    1 / 0\nasyncio.run(f())\n"
            },
            "ZeroDivisionError: ",
        ),
    ],
    ids=["import", "syntax", "mpy", "memory", "asyncio"],
)
def test_a_main_py_that_dies_is_rolled_back_within_seconds(
    trial: Callable[..., Board], tmp_path: Path, files: dict[str, bytes], said: str
) -> None:
    if "sensor.py" in files:
        source = tmp_path / "sensor.py"
        source.write_bytes(files["sensor.py"])
        files = {"main.py": files["main.py"], "sensor.mpy": compile_module(source, "sensor.py")}
    began = time.monotonic()
    newest = failed(trial(files))
    assert newest["cause"] == "crash"
    assert newest["detail"].startswith(said)
    assert time.monotonic() - began < DEADLINE_S


@pytest.mark.slow
def test_threads_and_relative_paths_live_on_when_main_py_has_ended(
    trial: Callable[..., Board],
) -> None:
    main = (
        b"import _thread, time\n"
        b"def work():\n"
        b"    time.sleep_ms(500)\n"
        b"    print('thread:', open('data.txt').read(), __name__)\n"
        b"_thread.start_new_thread(work, ())\n"
        b"print('names:', sorted(n for n in globals() if n[:2] != '__'))\n"
    )
    board = trial({"main.py": main, "data.txt": b"here"})
    board.wait_console("names: ['_thread', 'time', 'work']")
    board.wait_console("thread: here __main__")
    assert board.log_path.read_bytes().count(b"thread:") == 1, "main.py ran once"
    newest = failed(board)
    assert newest["cause"] == "returned"


@pytest.mark.parametrize(("main", "said"), UNUSUAL)
def test_whatever_leaves_main_py_ends_the_trial_at_once(
    trial: Callable[..., Board], main: bytes, said: str
) -> None:
    board = trial({"main.py": main})
    newest = failed(board)
    assert newest["cause"] == "crash"
    assert said in newest["detail"]


@pytest.mark.parametrize(("main", "said"), UNUSUAL)
def test_whatever_leaves_the_self_test_ends_the_trial_at_once(
    trial: Callable[..., Board], main: bytes, said: str
) -> None:
    body = b"".join(b"    " + line + b"\n" for line in main.splitlines() if line)
    board = trial({"main.py": WATCHDOG, "selftest.py": b"def run():\n    global CODES\n" + body})
    newest = failed(board)
    assert newest["cause"] == "self_test"
    assert said in newest["detail"]


WATCHDOG = b"""
import machine, time
wdt = machine.WDT(timeout=4000)
print("main: feeds")
while True:
    wdt.feed()
    time.sleep_ms(100)
"""


@pytest.mark.slow
@pytest.mark.parametrize("doing", ["feeds its own watchdog", "resets softly without end"])
def test_nobody_prolongs_the_deadline(trial: Callable[..., Board], doing: str) -> None:
    began = time.monotonic()
    main = (
        WATCHDOG
        if doing.startswith("feeds")
        else WATCHDOG.replace(b"while True:", b"for _ in range(10):") + b"machine.soft_reset()\n"
    )
    board = trial({"main.py": main})
    board.wait_console("main: feeds")
    newest = failed_after(board, DEADLINE_S + 15)
    assert newest["cause"] == "no_agent", "nobody stopped it"
    assert time.monotonic() - began < DEADLINE_S + 12


def failed_after(board: Board, timeout: float) -> dict[str, Any]:
    """As `failed`, however often the board starts softly before."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if board.boots[-1][0] == 0 and len(board.boots) > 2:
            break
        time.sleep(0.1)
    at = board.log_path.read_bytes().rfind(b"image under test")
    board.wait_console("main: runs 1.0.0", since=at)
    newest: dict[str, Any] = json.loads(board.nvs("ota", "history") or b"")[0]
    return newest


@pytest.mark.slow
def test_a_frozen_main_py_goes_the_ordinary_way_and_the_trial_says_so(
    trial: Callable[..., Board],
) -> None:
    frozen = {"main.py": b"print('frozen main, in', __import__('os').getcwd())\nabsent\n"}
    board = trial({"main.py": b"print('the file')\n"}, frozen)
    board.wait_console("boot: main.py is frozen into this firmware")
    board.wait_console("frozen main, in /app_1")
    assert failed(board)["cause"] == "no_agent"
    assert b"the file" not in board.log_path.read_bytes()


MEASURE = b"""
import gc
gc.collect()
gc.collect()
print("heap:", gc.mem_alloc())
import sys
while True:
    __import__("time").sleep(1)
"""


def test_the_runner_keeps_little_of_the_heap(trial: Callable[..., Board]) -> None:
    board = trial({"main.py": MEASURE})
    at = board.wait_console("heap: ")
    board.wait_console("\n", since=at)
    in_trial = int(board.log_path.read_bytes()[at:].split()[0])
    person = Person(board)
    person.stop_main()
    person.type(
        "from esp32 import Partition; Partition.mark_app_valid_cancel_rollback(); "
        "import machine; machine.reset()\r"
    )
    board.wait_boots(3)
    at = board.wait_console("heap: ", since=at)
    board.wait_console("\n", since=at)
    ordinary = int(board.log_path.read_bytes()[at:].split()[0])
    # A word of the unix port is twice as long as the chip's.
    assert in_trial - ordinary <= 2 * 2048


@pytest.mark.slow
def test_the_repl_of_a_tool_gets_a_prompt_in_a_trial(trial: Callable[..., Board]) -> None:
    board = trial({"main.py": WATCHDOG})
    board.wait_console("main: feeds")
    assert "prompt 42" in mpremote(board, "exec", "print('prompt', 6 * 7)")
    assert failed_after(board, DEADLINE_S + 15)["cause"] == "stopped"

"""Application files, alone and together with an image: into a directory, and taken back."""

from pathlib import Path

import pytest

from board_tests.report import Report
from board_tests.test_2_updates import check_rolled_back
from board_tests.world import TRANSFER_S, World
from twinslot.board import files

_FAILS = b"def run():\n    raise ValueError('this application fails its self-test on purpose')\n"
BROKEN = files.compile_module(Path(__file__).with_name("broken.py"))
# Ways to leave main.py -> its text, and a part of what is told.
DEATHS = {
    "import": (b"__import__('absent')\n", "ImportError: no module named 'absent'"),
    "syntax": (b"def f(:\n", "SyntaxError: "),
    "memory": (b"kept = []\nwhile True:\n    kept.append(bytearray(1000))\n", "MemoryError: "),
    "mpy": (b"import broken\n", "ValueError: compiled"),
    "asyncio": (
        b"import asyncio\nasync def main():\n    await asyncio.sleep_ms(1)\n    1 / 0\n"
        b"asyncio.run(main())\n",
        "ZeroDivisionError",
    ),
    "cancelled": (b"import asyncio\nraise asyncio.CancelledError\n", "CancelledError"),
}
SOFT = b"""
import _thread, machine, time
_thread.start_new_thread(lambda: print("main.py: thread"), ())
time.sleep(1)
if machine.reset_cause() != machine.SOFT_RESET:
    print("main.py: resets")
    machine.soft_reset()
print("main.py: runs again")
"""
LOOPS = b"""
import time
print("main.py: loops")
while True:
    time.sleep_ms(100)
"""


def test_an_application_alone_runs_from_its_directory(world: World, report: Report) -> None:
    ended = world.update(application={"version.txt": b"application"}, task="heap")
    assert ended.status == "SUCCEEDED", ended.details
    facts = world.device.facts()
    assert facts["running"][4] != world.start
    assert world.device.working_directory() == world.spare
    assert world.device.read(f"{world.spare}/version.txt") == b"application"
    spent = ended.told["us"]
    total = spent["total"] - spent.get("sampling", 0)
    report.measured["application_alone_s"] = round(total / 1e6, 1)
    report.measured["heap_taken_by_an_application"] = ended.told["taken"]["peak"]
    report.weigh({"peak, application": ended.told["heap"]["peak"]})
    world.go_back()
    assert world.device.working_directory() == world.directory
    world.restart()  # asking has stopped the program


def test_image_and_application_arrive_as_one(world: World, report: Report) -> None:
    ended = world.update("both", application={"version.txt": b"both"})
    assert ended.status == "SUCCEEDED", ended.details
    assert world.device.facts()["running"][4] != world.start
    assert world.device.read(f"{world.spare}/version.txt") == b"both"
    report.measured["second_application_s"] = round(ended.told["us"]["first_block"] / 1e6, 1)
    world.go_back()


@pytest.mark.parametrize("kind", DEATHS)
def test_a_main_py_that_dies_is_rolled_back_with_its_exception(world: World, kind: str) -> None:
    main, said = DEATHS[kind]
    ended = world.update(application={"main.py": main, "broken.mpy": BROKEN})
    check_rolled_back(world, ended, "crash")
    assert said in ended.details["detail"]


def test_a_main_py_that_ends_is_left_alone_until_the_deadline(world: World) -> None:
    main = b"print('main.py:', __name__, open('version.txt').read())\n"
    ended = world.update(application={"main.py": main, "version.txt": b"ran once"})
    check_rolled_back(world, ended, "returned")
    said = [line for line in world.device.said if "main.py: __main__ ran once" in line]
    assert len(said) == 1


def test_threads_and_a_soft_reset_go_on_in_a_test_until_its_deadline(world: World) -> None:
    ended = world.update(application={"main.py": SOFT})
    check_rolled_back(world, ended, "no_agent")
    said = [line for line in world.device.said if line.startswith("main.py: ")]
    assert said.count("main.py: thread") == 2
    assert said.count("main.py: resets") == 1
    assert said.count("main.py: runs again") == 1


def test_ctrl_c_and_a_tools_repl_reach_an_application_under_test(world: World) -> None:
    def stop(since: int) -> None:
        world.device.wait_for("main.py: loops", TRANSFER_S, since=since)
        assert world.device.interrupt_test("print(6 * 7)").strip() == "42"

    ended = world.update(application={"main.py": LOOPS}, meanwhile=stop)
    check_rolled_back(world, ended, "stopped")


def test_image_and_application_that_fail_are_taken_back_together(world: World) -> None:
    ended = world.update("both", application={"selftest.py": _FAILS, "selftest.mpy": None})
    check_rolled_back(world, ended, "self_test")
    assert "this application fails its self-test" in ended.details["detail"]
    assert world.device.working_directory() == world.directory

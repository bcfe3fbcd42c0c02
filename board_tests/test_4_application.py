"""Application files, alone and together with an image: into a directory, and taken back."""

from board_tests.report import Report
from board_tests.test_2_updates import check_rolled_back
from board_tests.world import World

_FAILS = b"def run():\n    raise ValueError('this application fails its self-test on purpose')\n"


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


def test_a_main_py_that_dies_is_rolled_back_with_its_exception(world: World) -> None:
    ended = world.update(application={"main.py": b"__import__('absent')\n"})
    check_rolled_back(world, ended, "crash")
    assert "ImportError: no module named 'absent'" in ended.details["detail"]


def test_a_main_py_that_ends_is_left_alone_until_the_deadline(world: World) -> None:
    main = b"print('main.py:', __name__, open('version.txt').read())\n"
    ended = world.update(application={"main.py": main, "version.txt": b"ran once"})
    check_rolled_back(world, ended, "returned")
    said = [line for line in world.device.said if "main.py: __main__ ran once" in line]
    assert len(said) == 1


def test_image_and_application_that_fail_are_taken_back_together(world: World) -> None:
    ended = world.update("both", application={"selftest.py": _FAILS, "selftest.mpy": None})
    check_rolled_back(world, ended, "self_test")
    assert "this application fails its self-test" in ended.details["detail"]
    assert world.device.working_directory() == world.directory

"""docs/your-application.md: its examples take an update; its commands print what it shows."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from board_flashing import move_agent_to_lib
from link_fixtures import need
from slow_link import SlowPort
from test_first_board import Shell, commands

from bench.delay import DelayedPort
from demo import contents
from demo.children import StartError, wait_for
from demo.play import judged
from demo.stack import Stack
from sim.board import Board
from sim.chip import layout
from tools import subset
from tools.paths import ROOT
from twinslot.board import files

PAGE = (ROOT / "docs/your-application.md").read_text(encoding="utf-8")
BLOCKS: dict[str, str] = dict(
    re.findall(r"^<!-- ([^>]+) -->\n```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
)
MQTT_AS = ROOT / "host_tests/on_board/mqtt_as_double.py"
GAUGE = "def level():\n    return 42\n"
COUNTING = """
import store
counts = store.load()
counts["starts"] = counts.get("starts", 0) + 1
store.save(counts)
from gauge import level
"""


def deciding() -> str:
    """Return the plain application with the callback, put where the page says."""
    made = 'agent = Agent(link, settings["thing"], settings=settings)'
    step = "            wait = agent.step()"
    plain = BLOCKS["plain/main.py"]
    assert plain.count(made) == plain.count(step) == 1
    with_callback = made.replace("settings=", "on_event, settings=")
    assert f"`{with_callback}`" in PAGE
    plain = plain.replace(made, f"{COUNTING}\n{BLOCKS['on_event']}\n\n{with_callback}")
    return plain.replace(step, BLOCKS["loop"] + step)


def over_tls() -> str:
    """Return the plain application with the link of a broker that talks TLS."""
    made = 'link = Link(settings["thing"], broker["host"], broker["port"])\n'
    assert BLOCKS["plain/main.py"].count(made) == 1
    return BLOCKS["plain/main.py"].replace(made, BLOCKS["tls"])


def application(name: str) -> dict[str, str]:
    """Return the files of the application that the page calls so."""
    if name == "decides":
        beside = {path: BLOCKS[path] for path in ("selftest.py", "store.py")}
        return {"main.py": deciding(), "lib/gauge.py": GAUGE, **beside}
    if name == "tls":
        return {"main.py": over_tls()}
    found = {"main.py": BLOCKS[f"{name}/main.py"]}
    if name == "mqtt_as":
        found["lib/mqtt_as.py"] = MQTT_AS.read_text(encoding="utf-8")
    return found


def write(folder: Path, found: dict[str, str]) -> None:
    for path, text in found.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    need("micropython")
    with Stack(tmp_path_factory.mktemp("stack") / "stack", interpreter="micropython") as made:
        yield made


def pushed(stack: Stack, name: str) -> Board:
    """Let a board run the example, as a cable brings it; push the example over the air."""
    folder = stack.folder / name
    write(folder, application(name))
    board = stack.board(f"board-{name}", application=judged(folder, force=False))
    board.start()
    said = stack.fleet("push", name, f"board-{name}", "--mpy", "--timeout", "60")
    assert "\naccepted: " in said
    assert board.boots[-1][0] == 1
    assert contents.directory(board, 1) == "app_0"
    assert board.read_file("/app_0/main.py").decode() == application(name)["main.py"]
    return board


@pytest.mark.parametrize(
    "name",
    [
        "asyncio",
        pytest.param("threads", marks=pytest.mark.slow),
        pytest.param("mqtt_as", marks=pytest.mark.slow),
    ],
)
def test_an_example_takes_an_update_with_itself_and_accepts_it(stack: Stack, name: str) -> None:
    pushed(stack, name).close()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_board_that_sleeps_takes_an_update_over_several_wakes(stack: Stack) -> None:
    """Over a slow link: a block at a time. The example's times are shorter here."""
    text = application("sleeper")["main.py"]
    for there, here in {
        "up < 20_000": "up < 3_000",
        "deepsleep(600_000)": "deepsleep(200)",
    }.items():
        assert text.count(there) == 1, there
        text = text.replace(there, here)
    write(stack.folder / "sleeper", {"main.py": text})
    with DelayedPort(stack.broker_port, 150) as slow:
        board = stack.board(
            "board-sleeper",
            application=judged(stack.folder / "sleeper", force=False),
            settings={
                "broker": {"host": "127.0.0.1", "port": slow.port, "keepalive": 20},
                "window": 1,
            },
        )
        board.start()
        said = stack.fleet("push", "sleeper", "board-sleeper", "--mpy", "--timeout", "200")
        slots = [slot for slot, _ in board.boots]
        board.close()
    assert "\naccepted: " in said
    assert slots.index(1) >= 3, f"it slept meanwhile: {slots}"
    assert set(slots[slots.index(1) :]) == {1}, "and was not taken back"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_sleeper_of_20_s_takes_firmware_and_application_at_20_kb_a_second(stack: Stack) -> None:
    """The page's example with its own 20 s; only its sleep is shorter."""
    there, here = "deepsleep(600_000)", "deepsleep(200)"
    text = application("sleeper")["main.py"]
    assert "up < 20_000" in text
    assert text.count(there) == 1
    text = text.replace(there, here)
    filling = "".join(f"{number:06d}\n" for number in range(30_000))
    new = {"main.py": text, "data.txt": filling}
    with SlowPort(stack.broker_port, 20_000) as slow:
        board = stack.board(
            "board-slow",
            application={"/main.py": text.encode()},
            settings={"broker": {"host": "127.0.0.1", "port": slow.port, "keepalive": 20}},
        )
        package = stack.pack("2.0.0", 2, size=700_000, application=new)
        size = package.stat().st_size
        board.start()
        begun = time.monotonic()
        job = stack.publish(package, "board-slow")
        wait_for(lambda: stack.finished(job, "board-slow"), "the end of the job", timeout=300)
        took = time.monotonic() - begun
        slots = [slot for slot, _ in board.boots]
        image = stack.firmware("2.0.0", size=700_000)
        assert board.slot_bytes(1, len(image)) == image
        assert contents.directory(board, 1) == "app_0"
        assert board.read_file("/app_0/data.txt").decode() == filling
        assert board.read_file("/app_0/main.py").decode() == text
        board.close()
    assert stack.execution(job, "board-slow")["status"] == "SUCCEEDED"
    assert slots.index(1) >= 3, f"it slept meanwhile: {slots}"
    assert set(slots[slots.index(1) :]) == {1}, "and was not taken back"
    assert took > size / 20_000, "the link was as narrow as it is said to be"
    assert size < slow.down < 1.25 * size, "each wake went on where the one before had ended"


@pytest.mark.slow
def test_the_callback_decides_and_data_outlives_the_update(stack: Stack) -> None:
    board = pushed(stack, "decides")
    assert json.loads(board.read_file("/counts.json")) == {"starts": 2}
    write(stack.folder / "decides", {"lib/gauge.py": "def level():\n    return 0\n"})
    with pytest.raises(StartError, match="fleet push"):
        stack.fleet("push", "decides", "board-decides", "--timeout", "60")
    assert board.boots[-1][0] == 1
    assert json.loads(board.read_file("/counts.json"))["starts"] == 4
    assert b"the gauge is empty" in (board.nvs("ota", "history") or b"")
    board.close()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["/", "/lib"])
def test_applications_as_large_as_flashing_says_take_turns_in_4_mb(
    stack: Stack, place: str
) -> None:
    name = f"large{place.replace('/', '-')}"
    folder = stack.folder / f"of-{name}"
    write(folder, application("plain"))
    board = stack.board(name, application=judged(folder, force=False))
    there = files.application()
    there |= {path: board.read_file(path) for path in ("/main.py", *etc(board))}
    options = ["--timeout", "60"]
    if place == "/lib":
        options.append("--no-agent")
        there = files.agent_in_lib(there)
        move_agent_to_lib(board)
    most, agent = files.room(there, layout.VFS[4])
    for number in range((most - agent) // 4096 - 10):  # main.py, listing, directory
        (folder / f"{number}.bin").write_bytes(bytes([number]) * 4096)
    board.start()
    for directory in ("app_0", "app_1", "app_0"):
        assert "\naccepted: " in stack.fleet("push", folder.name, name, *options)
        assert contents.directory(board, board.boots[-1][0]) == directory
        assert ("ota" in board.list_files(f"/{directory}")) == (place == "/")
    board.close()


def etc(board: Board) -> list[str]:
    return [f"/etc/{name}" for name in board.list_files("/etc")]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_commands_print_what_the_page_shows(tmp_path: Path) -> None:
    need("micropython")
    page = PAGE
    for there, here in {
        "make play APP=../pump": f"{sys.executable} -m demo.play --app {tmp_path}/pump"
        f" --folder {tmp_path}/play",
        "cd twinslot": f"cd {ROOT}",
        ".../.cache/play": "...",
        "cd .cache/play": f"cd {tmp_path}/play",
        "../../../pump": "../pump",
    }.items():
        assert there in page, there
        page = page.replace(there, here)
    write(tmp_path / "pump", application("plain"))
    shell = Shell(tmp_path)
    with ExitStack() as up:
        for command in commands(page):
            shell.carry_out(command, up)
    failed = [line for line, code in shell.codes.items() if code]
    assert failed == ["fleet push ../pump board-1"]


def test_no_example_is_left_out() -> None:
    assert PAGE.count("```python\n") == len(BLOCKS)
    names = ("plain", "asyncio", "threads", "mqtt_as", "sleeper")
    used = {f"{name}/main.py" for name in names}
    assert set(BLOCKS) == used | {"tls", "selftest.py", "store.py", "on_event", "loop"}


@pytest.mark.parametrize(
    "name", ["plain", "tls", "asyncio", "threads", "mqtt_as", "decides", "sleeper"]
)
def test_the_examples_run_on_the_oldest_micropython(name: str) -> None:
    for path, text in application(name).items():
        if path != "lib/mqtt_as.py":
            may = frozenset({"ota", "link", "mqtt_as", "gauge", "store"})
            assert subset.check(text, subset.Rules(may, may_print=True)) == [], path

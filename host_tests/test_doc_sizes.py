"""Sizes and counts that pages name are those of the code: blocks to the block, KB to a twentieth.

What a run measures (heap, seconds) is not judged here; `make` writes those pages.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache

import pytest

from tools import size
from tools.paths import ROOT
from twinslot.board import files
from twinslot.firmware import agent
from twinslot.formats.littlefs_blocks import BLOCK, file_blocks, tree_blocks


@cache
def flashed(broker: str, chosen: tuple[str, ...] | None = None) -> dict[str, int]:
    """The files of a board, path to bytes. chosen: extensions; None: those of the broker's kind."""
    found = size.contents(broker)
    if chosen is not None:
        found = {path: found[path] for path in found if not path.startswith(files.AGENT)}
        found |= files.application(chosen=chosen)
    return {path: len(data) for path, data in found.items()}


def agents(sizes: dict[str, int]) -> dict[str, int]:
    return {path: sizes[path] for path in sizes if path.startswith(files.AGENT)}


def own_room(sizes: dict[str, int]) -> int:
    return size.own_room({path: bytes(length) for path, length in sizes.items()}, TOTAL)


def in_lib(sizes: dict[str, int]) -> int:
    """KB of each version where the agent lies in /lib."""
    moved = {f"/lib{path}" if path in agents(sizes) else path: sizes[path] for path in sizes}
    return files.room({path: bytes(length) for path, length in moved.items()}, TOTAL)[0] >> 10


TOTAL = size.file_system()
MQTT, TLS = flashed("mqtt"), flashed("tls")
AGENT = agents(MQTT)
KB = round(sum(AGENT.values()) / 1024)
BUNDLE = file_blocks(AGENT[f"/{agent.BUNDLE}"])
CONTENTS = sum(map(file_blocks, AGENT.values()))
YOURS = "docs/your-application.md"
ROOM = [size.own_room(size.contents(broker), TOTAL) for broker in ("mqtt", "tls")]

EXACT = [
    ("README.md", r"flash: (\d+) blocks of littlefs", CONTENTS),
    ("README.md", r"of the (\d+) that a board with 4 MB", TOTAL // BLOCK),
    ("docs/limits.md", r"two files in (\d+) blocks and a directory", CONTENTS),
    ("docs/architecture.md", r"the bundle takes (\d+) blocks", BUNDLE),
    ("docs/architecture.md", r"of the (\d+) blocks that 4 MB of flash leave", TOTAL // BLOCK),
    (YOURS, r"blocks of 4 KB \| (\d+) \|", files.room(size.contents("mqtt"), TOTAL)[0] // BLOCK),
    (YOURS, r"blocks of 4 KB \| \d+ \| (\d+)", files.room(size.contents("tls"), TOTAL)[0] // BLOCK),
    (YOURS, r"agent and its directories \| (\d+) \|", tree_blocks(AGENT)),
    (YOURS, r"agent and its directories \| \d+ \| (\d+)", tree_blocks(agents(TLS))),
    (YOURS, r"for your own files \| (\d+) KB \|", ROOM[0]),
    (YOURS, r"for your own files \| \d+ KB \| (\d+) KB", ROOM[1]),
    (YOURS, r"leaves (\d+) KB, of which each", TOTAL >> 10),
    (YOURS, r"without any, (\d+) KB more", own_room(flashed("mqtt", ())) - ROOM[0]),
    (YOURS, r"once, so (\d+) KB more of each", in_lib(MQTT) - ROOM[0]),
]
ROUGH = [
    ("README.md", r"The agent takes (\d+) KB of flash", KB),
    ("docs/limits.md", r"it has (\d+) KB in the file system", KB),
    ("docs/freezing.md", r"agent has some (\d+) KB as `.mpy`", KB),
    (YOURS, r"each update is (\d+) KB shorter", KB),
    ("docs/flashing.md", r"flashed files take some (\d+) KB", tree_blocks(MQTT) * BLOCK >> 10),
]


def named(page: str, pattern: str) -> int:
    """Return the one number of a page that a pattern finds, wherever its lines are broken."""
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    (number,) = re.findall(pattern, text)
    return int(number)


@pytest.mark.parametrize(("page", "pattern", "is_now"), EXACT)
def test_a_count_on_a_page_is_the_codes(page: str, pattern: str, is_now: int) -> None:
    assert named(page, pattern) == is_now, f"{page} is stale: it is {is_now} now"


@pytest.mark.parametrize(("page", "pattern", "is_now"), ROUGH)
def test_a_size_on_a_page_is_the_codes_to_a_twentieth(page: str, pattern: str, is_now: int) -> None:
    assert named(page, pattern) == pytest.approx(is_now, rel=0.05), f"{page}: {is_now} KB now"


def test_the_budget_that_a_page_names_is_the_budget() -> None:
    budget = tomllib.loads(size.BUDGETS.read_text(encoding="utf-8"))["room"]
    text = " ".join((ROOT / YOURS).read_text(encoding="utf-8").split())
    assert f"fails when less than {budget['mqtt']} and {budget['tls']} KB are left" in text


def test_the_picture_and_the_recording_show_the_files_that_are_pushed_today() -> None:
    """`make picture` and `make recording` draw them again."""
    main = (ROOT / "firmware/main.py").stat().st_size
    for page in ("docs/push.svg", "docs/recording.md"):
        text = (ROOT / page).read_text(encoding="utf-8").replace("&#160;", " ")
        assert int(re.findall(r"(\d+)  main\.py", text)[0]) == pytest.approx(main, rel=0.05), page
        pushed = int(re.findall(r"(\d+)  the agent, 3 files", text)[0])
        assert pushed == pytest.approx(sum(AGENT.values()), rel=0.05), f"{page} is stale"
        assert "link.mpy" not in text
    assert "![A push that is accepted and one that is rolled back](docs/push.svg)" in (
        ROOT / "README.md"
    ).read_text(encoding="utf-8")

"""What the firmware weighs is held against its budgets."""

from __future__ import annotations

import io
import re
import tomllib
from contextlib import nullcontext

import pytest
from rich.console import Console

from tools import heap, size
from twinslot.board import files, filesystem
from twinslot.formats.littlefs_blocks import BLOCK, SPARE

BUDGETS = tomllib.loads(size.BUDGETS.read_text(encoding="utf-8"))


def test_what_is_shipped_is_within_its_budget() -> None:
    sizes = size.shipped_sizes(size.contents("mqtt"))
    assert 30_000 < sizes[size.CORE] < sizes["ota/bundle.mpy"] < sizes[size.ALL]
    assert size.complaints(sizes, BUDGETS["bytes"]) == []


def test_two_versions_of_an_application_have_the_room_that_is_promised() -> None:
    rooms = size.rooms()
    assert BUDGETS["room"] == {"mqtt": 168, "tls": 160}
    assert size.complaints(rooms, BUDGETS["room"], at_least=True) == []
    assert rooms["tls"] < rooms["mqtt"] < size.file_system() >> 11


@pytest.mark.parametrize("broker", list(size.ETC))
def test_littlefs_itself_takes_two_versions_with_so_much_of_their_own(broker: str) -> None:
    """With as many blocks as are said to fit, and the two that littlefs needs free; not more."""
    found, total = size.contents(broker), size.file_system()
    stays = {path: data for path, data in found.items() if path.startswith(files.STAYS)}
    agents = {path: data for path, data in found.items() if path.startswith(files.AGENT)}

    def full(blocks: int) -> dict[str, bytes]:
        there = dict(stays)
        for version in ("/app_0", "/app_1"):
            there |= {f"{version}{path}": data for path, data in agents.items()}
            there[f"{version}/.files"] = bytes(100)
            there[f"{version}/own.bin"] = bytes(blocks * (BLOCK - 8))  # less its blocks' pointers
        return there

    blocks = size.own_room(found, total) * 1024 // BLOCK
    filesystem.build(full(blocks), total)
    with pytest.raises(filesystem.FilesystemError):
        filesystem.build(full(blocks + SPARE), total)


def test_each_file_and_directory_has_its_blocks_in_the_table_which_littlefs_confirms() -> None:
    found, total = size.contents("tls"), size.file_system()
    console = Console(file=io.StringIO(), width=100)
    console.print(size.block_table(found, total))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    blocks = {
        name: int(number) for name, number in re.findall(r"(\S+) +│ +[\d,]+ │ +(\d+) │", said)
    }
    directories = re.search(r"directories, two each +│ +│ +(\d+) │", said)
    together = re.search(r"together +│ +│ +(\d+) of (\d+) │", said)
    assert directories and together
    assert set(blocks) == set(found)
    assert int(together[1]) == sum(blocks.values()) + int(directories[1])
    mounted = filesystem.mount(bytearray(filesystem.build(found, total)))
    assert (int(together[1]), int(together[2])) == (mounted.used_block_count, total // BLOCK)


def test_a_heap_or_a_size_above_its_budget_makes_the_run_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also a budget that nothing is measured for; no chip is simulated here."""
    measured = {name: number for name, number in BUDGETS["heap"].items() if name != "rest"}
    monkeypatch.setattr(size, "Stack", lambda *_, **__: nullcontext())
    monkeypatch.setattr(heap, "measure_share", lambda _: heap.Share(modules=10, umqtt=5))
    monkeypatch.setattr(heap, "agent_at_rest", lambda _: BUDGETS["heap"]["rest"])
    monkeypatch.setattr(size, "heap_sizes", lambda *_: measured)
    assert size.main() == 0
    measured["peak"] += 1
    assert size.main() == 1
    peak = BUDGETS["heap"]["peak"]
    assert f"size: peak is {peak + 1}, 1 above its budget" in capsys.readouterr().out
    del measured["peak"]
    assert size.main() == 1
    assert "size: peak has a budget, but there is none" in capsys.readouterr().out


def test_what_is_above_its_budget_or_has_none_is_named() -> None:
    assert size.complaints({"a": 10, "b": 20}, {"a": 10, "b": 20}) == []
    assert size.complaints({"a": 10, "b": 9}, {"a": 9, "b": 10}, at_least=True) == [
        "b is 9, 1 below what it must be"
    ]
    assert size.complaints({"a": 12, "b": 20}, {"a": 10, "c": 5}) == [
        "a is 12, 2 above its budget",
        "b has no budget; give it one in budgets.toml",
        "c has a budget, but there is none",
    ]

"""docs/flash-wear.md says what the simulated flash counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.chip import layout
from sim.wear import Counts
from tools import wear

SECTORS = layout.FLASH_SIZE // layout.SECTOR
PAGE = wear.PAGE.read_text(encoding="utf-8")


def sector(label: str, number: int = 0) -> int:
    """The number of a partition's sector; -1: its last."""
    _, _, _, start, size = next(row for row in layout.TABLE if row[0] == label)
    return (start + (size if number < 0 else 0)) // layout.SECTOR + number


def counts(erases: dict[int, int], *, commits: int = 0, entries: int = 0) -> Counts:
    """Counters of a flash of which these sectors were erased."""
    return Counts(
        tuple(erases.get(number, 0) for number in range(SECTORS)),
        tuple(2 * erases.get(number, 0) for number in range(SECTORS)),
        commits,
        entries,
    )


def rows() -> dict[str, list[str]]:
    """The page's table: cells by the kind of update."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")][2:]
    return {name: cells for name, *cells in (line[2:-2].split(" | ") for line in lines)}


def test_a_row_is_what_one_update_does_on_average() -> None:
    erases = {
        sector("ota_0"): 1,
        sector("ota_0", -1): 2,
        sector("ota_1", -1): 3,
        sector("otadata", 1): 1,
        sector("vfs", 5): 2,
        sector("nvs"): 99,
    }
    made = wear.row("x", counts(erases, commits=6, entries=252), 2)
    assert str(made) == "| x | 3 | 0.5 | 1 | 108 | 3 | 1 | a slot's trailer | 1.5 | 18 |"
    assert wear.row("x", counts({sector("vfs"): 1}), 1).hottest == "file system"
    assert str(wear.row("x", counts({}), 1)).endswith("| none | 0 | over 1000 |")


def test_pages_of_nvs_count_where_they_are_the_hottest() -> None:
    made = wear.row("x", counts({sector("vfs"): 1}, entries=126 * 20), 1)
    assert made.years == pytest.approx(100_000 / (20 / 5) / 10 / 365)


def test_the_page_is_what_the_command_writes() -> None:
    lines = [line for line in PAGE.splitlines(keepends=True) if line.startswith("| ")][2:]
    empty = wear.page([])
    head, tail = empty.split("--- |\n\n")
    assert f"{head}--- |\n{''.join(lines)}\n{tail}" == PAGE
    assert list(rows()) == [kind.title for kind in wear.KINDS]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_pages_figures_are_those_of_a_run(tmp_path: Path) -> None:
    """NVS commits may be a few more or less: progress is noted as blocks come."""
    wanted = rows()
    for found in wear.measure(tmp_path / "stack", (wear.OVER_MQTT[0], wear.OVER_MQTT[-1])):
        *numbers, place, most, _ = wanted[found.name]
        slots, otadata, files, programs, commits, pages = map(float, numbers)
        assert (found.slots, found.otadata, found.files) == (slots, otadata, files)
        assert found.programs == pytest.approx(programs, rel=0.1, abs=16)  # four of each commit
        assert found.commits == pytest.approx(commits, abs=4)
        assert found.pages == pytest.approx(pages, abs=0.5)
        assert (found.hottest, found.hottest_erases) == (place, float(most))

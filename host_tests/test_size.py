"""What the firmware weighs is held against its budgets."""

from __future__ import annotations

import tomllib

from tools import heap, size

BUDGETS = tomllib.loads(size.BUDGETS.read_text(encoding="utf-8"))


def test_every_module_is_within_its_budget() -> None:
    sizes = size.module_sizes()
    assert sizes["ota/agent.mpy"] > 1000
    assert sizes[size.TOTAL] == sum(sizes.values()) - sizes[size.TOTAL]
    assert size.complaints(sizes, BUDGETS["mpy"]) == []


def test_a_small_chips_heap_is_the_budget_of_an_update() -> None:
    assert BUDGETS["heap"]["import"] < BUDGETS["heap"]["idle"] <= BUDGETS["heap"]["peak"]
    assert BUDGETS["heap"]["peak"] == heap.MOST == 90
    assert BUDGETS["heap"]["application"] <= heap.MOST


def test_what_is_above_its_budget_or_has_none_is_named() -> None:
    assert size.complaints({"a": 10, "b": 20}, {"a": 10, "b": 20}) == []
    assert size.complaints({"a": 12, "b": 20}, {"a": 10, "c": 5}) == [
        "a is 12, 2 above its budget",
        "b has no budget; give it one in budgets.toml",
        "c has a budget, but there is none",
    ]

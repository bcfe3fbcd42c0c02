"""Every promise of docs/threat-model.md has a test, and every attack of Uptane's list a row."""

from __future__ import annotations

import re

from tools.paths import ROOT

PAGE = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
# Uptane Standard 2.0, 4.2: eavesdrop; deny installation; interfere with functionality; control.
UPTANE = {
    "eavesdrop",
    "drop requests",
    "slow retrieval",
    "freeze",
    "partial installation",
    "rollback",
    "endless data",
    "mixed bundles",
    "mix and match",
    "arbitrary software",
}


def rows() -> list[list[str]]:
    """Return the cells of every row below a head that has a column `test`."""
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        head, _, *lines = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
        ]
        if "test" in head:
            found += [[line[0], line[head.index("test")]] for line in lines]
    return found


def test_each_row_names_one_test_that_there_is() -> None:
    sources = [
        path.read_text(encoding="utf-8") for path in (ROOT / "host_tests").rglob("test_*.py")
    ]
    known = set(re.findall(r"^def (test_\w+)", "\n".join(sources), re.MULTILINE))
    assert len(rows()) > 20
    for promise, test in rows():
        assert re.fullmatch(r"`test_\w+`", test), promise
        assert test.strip("`") in known, f"{promise}: there is no {test}"


def test_each_attack_of_uptanes_list_has_a_row() -> None:
    first = " ".join(promise for promise, _ in rows())
    assert {attack for attack in UPTANE if attack not in first} == set()

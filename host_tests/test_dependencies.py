"""pyproject.toml declares the distributions that src/ imports: all of them, and no other."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tools.paths import ROOT

SOURCE = ROOT / "src/twinslot"
# A board runs these files, whose imports are MicroPython's.
ON_BOARD = SOURCE / "board/on_board"


def imported(source: str) -> set[str]:
    """Return the top-level names that a module imports, at any depth."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module).partition(".")[0])
    return found


places_of_modules = cache(packages_distributions)


def distributions(modules: set[str]) -> set[str]:
    """Return the distributions that bring modules which are neither Python's own nor twinslot's."""
    places = places_of_modules()
    foreign = modules - sys.stdlib_module_names - {"twinslot"}
    return {normal(places[name][0]) for name in foreign}


def normal(name: str) -> str:
    """Return a distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def sources() -> Iterator[Path]:
    return (path for path in SOURCE.rglob("*.py") if ON_BOARD not in path.parents)


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {normal(re.split(r"[\[<>=!~; ]", line)[0]) for line in project["dependencies"]}


def test_every_distribution_that_the_package_imports_is_declared_and_no_other() -> None:
    modules = set().union(*(imported(path.read_text()) for path in sources()))
    assert distributions(modules) - declared() == set(), "imported, and not in pyproject.toml"
    assert declared() - distributions(modules) == set(), "declared, and not imported"


@pytest.mark.parametrize(
    "source",
    ["import serial.tools", "from serial import Serial", "def f():\n    import serial as s\n"],
)
def test_an_import_of_any_form_is_found(source: str) -> None:
    assert distributions(imported(source)) == {"pyserial"}
    assert distributions(imported("from . import serial\nimport json, twinslot.text")) == set()

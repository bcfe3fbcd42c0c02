"""The loader's table is the only place that says which modules are in memory, and it is right."""

from __future__ import annotations

import ast
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hardware
import pytest
from agent_bench import Bench, Chip, application, pack, packed
from ota import words

from twinslot.formats import component

ROOT = Path(__file__).resolve().parent.parent
OTA = ROOT / "firmware/ota"
MODULES = sorted(path.stem for path in OTA.glob("*.py") if path.stem != "__init__")
# What a module of pure decisions must not touch.
SHELL = {"machine", "esp32", "network", "os", "socket", "select", "tls", "ssl", "time", "_thread"}
PURE = {
    "archive",
    "cbor",
    "jobs",
    "manifest",
    "p256",
    "package",
    "recovery",
    "rsa",
    "stream_cbor",
    "stream_json",
    "trust",
    "ustar",
    "window",
    "words",
    "x509",
}
# A function that imports, and why that is no matter of memory.
IMPORTS_IN_FUNCTIONS = {
    ("link_open", "set_aside", "_thread"): "a port may have no threads",
    ("agent", "run", "asyncio"): "an application without asyncio never needs it",
    ("agent", "start_thread", "_thread"): "a port may have no threads",
    ("clock", "ask", "ntptime"): "an application without the setting never needs it",
    ("chip", "feed_for_ever", "_thread"): "a port may have no threads",
    ("chip", "fits_tls", "esp32"): "a port may not tell what its heap has free",
    ("errors", "_words", ".loader"): "the loader imports errors",
}
# In no row: used now and then, and gone.
LENT = {"link_open", "phases", "wifi", "words"}


def table() -> Any:
    """Return firmware/ota/phases.py as it stands."""
    names: dict[str, Any] = {}
    for statement in ast.parse((OTA / "phases.py").read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            try:
                names[statement.targets[0].id] = ast.literal_eval(statement.value)
            except ValueError:
                continue
    return names


TABLE = table()
# Its functions, beside the module that the loader loads and unloads.
phases = SimpleNamespace(**runpy.run_path(str(OTA / "phases.py")))
RESIDENT = TABLE["RESIDENT"].split()
OWN = TABLE["OWN"].split()
WORKING = TABLE["WORKING"].split()
EXTENSIONS = {name: set(modules.split()) for name, modules in TABLE["EXTENSIONS"].items()}
OF_EXTENSIONS = set().union(*EXTENSIONS.values())


def tree(module: str) -> ast.Module:
    return ast.parse((OTA / f"{module}.py").read_text(encoding="utf-8"))


def imported(statement: ast.stmt) -> Iterator[str]:
    """Yield the modules of the agent, or of the chip, that an import statement names."""
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom) and statement.level:
        if statement.module:
            yield "." + statement.module
        else:
            yield from ("." + alias.name for alias in statement.names if alias.name in MODULES)
    elif isinstance(statement, ast.ImportFrom):
        yield statement.module or ""


def needs(module: str) -> set[str]:
    """Return the modules of the agent that a module imports at its top."""
    found = {name for statement in tree(module).body for name in imported(statement)}
    return {name[1:] for name in found if name.startswith(".")}


def rows() -> dict[str, list[str]]:
    """Return every row of the table as the modules that are there, in the order of loading."""
    found = {}
    for phase, row in TABLE["PHASES"].items():
        found[phase] = RESIDENT + (WORKING if phase not in TABLE["ALONE"] else []) + row.split()
    transfer = found["transfer"]
    for name, row in TABLE["PATHS"].items():
        found[f"path {name}"] = transfer + row.split()
    for table in ("WRITERS", "WIDE_WRITERS"):
        for (kind, encoding), row in TABLE[table].items():
            found[f"{table} {kind} {encoding}"] = found["prepare"] + row.split()
    for name, row in TABLE["QUESTIONS"].items():
        found[f"question {name}"] = RESIDENT + row.split()
    for more, row in TABLE["MORE"].items():
        found[more or "nothing more"] = found["transfer"] + row.split()
    found["an application's own"] = RESIDENT + OWN
    found["a raw image"] = found["verify"] + ["p256", "rsa"]
    return found


ROWS = rows()


@pytest.mark.parametrize("row", ROWS)
def test_a_row_brings_what_its_modules_import_each_after_what_it_imports(row: str) -> None:
    here: set[str] = set()
    for module in ROWS[row]:
        assert module in MODULES, f"{row} names {module}, which is no module"
        lacking = needs(module) - here
        assert not lacking, f"{module} imports {lacking}, which {row} does not bring before it"
        here.add(module)


def named(*functions: str) -> set[str]:
    """Return the texts that the agent gives to these functions first."""
    nodes = (node for module in [*MODULES, "__init__"] for node in ast.walk(tree(module)))
    return {
        str(call.args[0].value)
        for call in nodes
        if isinstance(call, ast.Call)
        and ast.unparse(call.func).rpartition(".")[2] in functions
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }


def of_states() -> set[str]:
    """Return the phases of the engine's states."""
    for node in tree("engine").body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "STATES":
            assert isinstance(node.value, ast.Dict)
            rows = [row.elts[0] for row in node.value.values if isinstance(row, ast.Tuple)]
            return {ast.literal_eval(first) for first in rows}
    raise AssertionError("the engine has no states")


def test_every_phase_that_is_entered_has_its_row_and_no_other_phase_has() -> None:
    assert named("enter", "enter_now") | of_states() == set(TABLE["PHASES"])


def test_every_question_that_is_asked_has_its_row_and_no_other_has() -> None:
    assert named("ask", "_answer") == set(TABLE["QUESTIONS"])


def test_the_data_paths_are_those_of_streams_jobs_and_sources() -> None:
    sources = {"source", *TABLE["SCHEMES"].values()}
    assert set(TABLE["PATHS"]) == {"cbor", "json", "http"} | sources
    assert set(TABLE["SCHEMES"]) == {"http", "https"}
    assert set(TABLE["MORE"]) == {"", "hearing", "calling"}


def test_there_is_a_writer_for_each_kind_of_component_that_fleet_packs() -> None:
    firmware = (component.FIRMWARE, component.RAW)
    assert set(TABLE["WRITERS"]) == {firmware, (component.APPLICATION, component.RAW)}
    assert set(TABLE["WIDE_WRITERS"]) == {firmware}


def test_the_modules_of_a_phase_are_its_row_and_what_is_added() -> None:
    for phase, row in TABLE["PHASES"].items():
        base = [] if phase in {"rest", "look"} else WORKING
        assert phases.names_of(phase, "", "") == base + row.split()
    assert phases.names_of("serve", "window  cbor", "hearing") == [
        *WORKING, "jobs", "clock", "hear", "serve", "window", "cbor", "jobs", "clock", "hear",
    ]  # fmt: skip
    assert phases.names_of("rest", "", "calling") == ["calls"]


def test_a_source_has_the_data_path_of_its_scheme() -> None:
    for source in ("http://board.example/a.ota", "https://board.example/a.ota"):
        assert phases.path_of(source) == "address"
    others: list[object] = [
        "/sd/a.ota",
        "a.ota",
        "ftp://board.example/a.ota",
        object(),
        b"http://x",
    ]
    for other in others:
        assert phases.path_of(other) == "source"


def test_a_module_belongs_to_an_extension_or_to_the_core() -> None:
    for name, modules in EXTENSIONS.items():
        for module in modules:
            assert phases.extension_of(module) == name
    for module in ("agent", "engine", "manifest", "con", ""):
        assert phases.extension_of(module) == ""


def test_every_error_that_a_module_names_has_its_words() -> None:
    named = {row.split(" ")[0] for row in words.ROWS.split("\n") if row}
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Attribute) and node.attr.endswith("Error"):
                assert node.attr in named, f"{module} raises {node.attr}"


def test_every_module_is_in_a_row() -> None:
    assert {module for row in ROWS.values() for module in row} == {*MODULES} - LENT


def functions(module: str) -> Iterator[ast.AST]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("module", ["__init__", *MODULES])
def test_functions_import_nothing_for_the_heaps_sake(module: str) -> None:
    for function in functions(module):
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                for name in imported(node):
                    key = (module, function.name, name)  # type: ignore[attr-defined]
                    assert key in IMPORTS_IN_FUNCTIONS, f"{key} has no reason in this test"


@pytest.mark.parametrize("module", ["__init__", *MODULES])
def test_only_the_loader_touches_the_modules_of_the_interpreter(module: str) -> None:
    if module == "loader":
        return
    for node in ast.walk(tree(module)):
        assert not (
            isinstance(node, ast.Attribute)
            and node.attr == "modules"
            and isinstance(node.value, ast.Name)
            and node.value.id == "sys"
        ), module
        assert not (isinstance(node, ast.Name) and node.id in ("__import__", "delattr")), module


@pytest.mark.parametrize("module", MODULES)
def test_the_core_imports_no_extension_and_no_extension_imports_another(module: str) -> None:
    mine = next((modules for modules in EXTENSIONS.values() if module in modules), set())
    assert not (needs(module) & OF_EXTENSIONS) - mine


@pytest.mark.parametrize("module", sorted(PURE))
def test_pure_modules_import_no_shell(module: str) -> None:
    """Neither the chip nor a module that touches it: directly, or through another module."""
    seen: set[str] = set()
    todo = {module}
    while todo:
        name = todo.pop()
        seen.add(name)
        chip = {found for statement in tree(name).body for found in imported(statement)}
        assert not chip & SHELL or name == "compat", f"{module} reaches {chip & SHELL} by {name}"
        if name in ("loader", "errors", "compat"):
            continue
        todo |= (
            needs(name) - seen - {"chip", "slots", "journal"}
            if name == "recovery"
            else (needs(name) - seen)
        )


def test_every_module_can_be_seen_in_one_sitting() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in OTA.glob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def loaded() -> set[str]:
    return {name[4:] for name in sys.modules if name.startswith("ota.")}


class Watch:
    """After each step exactly the modules of the engine's phase are loaded, once all are."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.seen: set[str] = set()

    def step(self) -> None:
        loader: Any = sys.modules["ota.loader"]
        agent = self.bench.agent
        engine = agent._engine
        state = engine and engine.state
        if state == "tidying":
            self.seen.add("tidy")  # its last step may be the engine's, too
        agent.step()
        if loader._missing or agent._engine is not engine or engine is None:
            return
        assert loaded() == {*RESIDENT, *loader._wanted}, state
        self.seen.add(loader._phase)

    def run(self) -> Any:
        def loop() -> None:
            for _ in range(20_000):
                self.bench.client.deliver()
                self.step()
                if self.bench.agent._engine is None:
                    return

        return self.bench.board.run(loop)


def test_each_phase_of_an_update_runs_with_exactly_its_modules(tmp_path: Path) -> None:
    chip = Chip(tmp_path)
    chip.service.add("job-1", packed("1.1.0", 2))
    chip.service.add("job-2", pack("1.2.0", 3, application("1.2.0")))
    watch = Watch(chip)
    while chip.service.status("job-2") != "SUCCEEDED":
        chip.boot()
        ended = watch.run()
        assert ended is None or isinstance(ended, hardware.Reset)
    assert watch.seen >= {"serve", "open", "verify", "admit", "prepare", "transfer", "finish"}
    assert watch.seen >= {"trial", "tidy"}
    assert loaded() == set(RESIDENT)

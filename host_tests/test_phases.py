"""The loader's table is the only place that says which modules are in memory, and it is right."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import agent_bench
import chipboard
import nvs
import pytest
from agent_bench import KEY, Bench, Chip, application, pack, packed
from ota import chip, words
from raw_world import ECDSA, RSA, RawBench, Signer, firmware
from web_server import serving

from sim.build import CHIP
from twinslot.formats import component
from twinslot.formats.trust_set import RELEASE, ROOT, Entry, make_set
from twinslot.trust import keys

CHECKOUT = Path(__file__).resolve().parent.parent
OTA = CHECKOUT / "firmware/ota"
MODULES = sorted(path.stem for path in OTA.glob("*.py") if path.stem != "__init__")
# What a module of pure decisions must not touch.
SHELL = {"machine", "esp32", "network", "os", "socket", "select", "tls", "ssl", "time", "_thread"}
PURE = {
    "addresses",
    "archive",
    "cbor",
    "jobs",
    "keyset",
    "manifest",
    "p256",
    "package",
    "payload",
    "recovery",
    "rsa",
    "segments",
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
# A word of the core that is also the name of an extension's module, and what it means there.
OTHER_MEANINGS = {
    ("defaults", "report"): "a setting",
    ("defaults", "stream_json"): "a setting",
    ("engine", "report"): "a question of the table",
    ("jobs", "http"): "a scheme",
    ("serve", "http"): "a data path of the table",
    ("serve", "stream_json"): "a setting",
    ("start", "report"): "a setting",
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
    of_heads = set(TABLE["HEADS"].values())
    assert named("enter", "enter_now") | of_states() | of_heads == set(TABLE["PHASES"])


def test_every_question_that_is_asked_has_its_row_and_no_other_has() -> None:
    encodings = {encoding for _, encoding in TABLE["WRITERS"] if encoding}
    assert named("ask", "_answer") | encodings == set(TABLE["QUESTIONS"])


def test_a_head_without_a_package_is_read_by_the_phase_of_its_first_byte() -> None:
    assert TABLE["HEADS"] == {chip.IMAGE_MAGIC: "raw"}
    for name in TABLE["HEADS"].values():
        assert name in TABLE["PHASES"][name].split(), "the phase has the module of its name"


def test_the_data_paths_are_those_of_streams_jobs_and_sources() -> None:
    sources = {"source", *TABLE["SCHEMES"].values()}
    assert set(TABLE["PATHS"]) == {"cbor", "json", "http"} | sources
    assert set(TABLE["SCHEMES"]) == {"http", "https"}
    assert set(TABLE["MORE"]) == {"", "hearing", "calling"}


def test_there_is_a_writer_for_each_kind_of_component_that_fleet_packs() -> None:
    kinds, segments = (component.FIRMWARE, component.APPLICATION), 1
    assert set(TABLE["WRITERS"]) == {(kind, how) for kind in kinds for how in (0, segments)}
    assert set(TABLE["WIDE_WRITERS"]) == {(component.FIRMWARE, component.RAW)}


def test_the_modules_of_a_phase_are_its_row_and_what_is_added() -> None:
    for phase, row in TABLE["PHASES"].items():
        base = [] if phase in TABLE["ALONE"] else WORKING
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


def words_of_extensions(tree: ast.AST) -> Iterator[str]:
    """Yield the modules of extensions that a text names which names modules only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = [word.removeprefix("ota.") for word in node.value.split()]
            if set(words) <= {*MODULES}:
                yield from (word for word in words if word in OF_EXTENSIONS)


def handed_to_the_loader(tree: ast.AST) -> Iterator[str]:
    """Yield the same of what calls of the loader get; `ask` gets a question, which has a row."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).removeprefix("loader.")
            if called in ("module", "enter", "enter_now", "lend", "is_loaded", "_load"):
                yield from words_of_extensions(node)
            elif called == "ask":
                yield from (
                    word
                    for text in node.args
                    for word in words_of_extensions(text)
                    if word not in TABLE["QUESTIONS"]
                )


CORE = [module for module in ["__init__", *MODULES] if module not in {*OF_EXTENSIONS, "phases"}]


@pytest.mark.parametrize("module", CORE)
def test_the_core_names_no_module_of_an_extension(module: str) -> None:
    """It finds them through the table: by data path, scheme, first byte, kind or question."""
    assert set(handed_to_the_loader(tree(module))) == set()
    said = {(module, word) for word in words_of_extensions(tree(module))}
    assert said == {key for key in OTHER_MEANINGS if key[0] == module}


@pytest.mark.parametrize(
    "planted",
    [
        'loader.module("http_job")',
        'loader.enter_now("raw", engine.modules)',
        'loader.enter("connect", "source http http_job")',
        'loader.lend("x509")',
        'loader.ask("repl_status", "status")',
        'loader.lend(name="rsa")',
    ],
)
def test_a_name_of_an_extension_that_is_handed_to_the_loader_is_found(planted: str) -> None:
    assert set(handed_to_the_loader(ast.parse(planted)))


@pytest.mark.parametrize("module", sorted(OF_EXTENSIONS))
def test_an_extension_uses_public_names_of_the_core_only(module: str) -> None:
    assert private_names(tree(module)) == set()


@pytest.mark.parametrize(
    "planted",
    [
        "from .source import _opened",
        "from . import engine as states\nstates._NO_ROLLBACK",
        "def make(engine):\n    return engine._report()",
        "class A(Pulled):\n    def poll(self):\n        return self._waits",
    ],
)
def test_a_private_name_of_the_core_that_an_extension_uses_is_found(planted: str) -> None:
    assert private_names(ast.parse(planted))


def private_names(tree: ast.AST) -> set[str]:
    """Return the private names that a module uses and does not make itself."""
    own = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    own |= {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return {
        name for name in (used - own) | imported if name.startswith("_") and not name.endswith("__")
    }


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
        todo |= needs(name) - seen - (CONSTANTS_OF if name == "recovery" else set())


# Whose constants the pure recovery table uses. A module of their own would cost 212 bytes of the
# bundle, and heap at rest.
CONSTANTS_OF = {"journal", "slots"}


def test_recovery_takes_nothing_but_constants_of_the_modules_that_touch_the_chip() -> None:
    taken: set[str] = set()
    for node in ast.walk(tree("recovery")):
        if isinstance(node, ast.ImportFrom) and node.module in CONSTANTS_OF:
            taken.update(alias.name for alias in node.names)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "phases":
            taken.add(node.attr)
    assert needs("recovery") - {"compat"} == CONSTANTS_OF
    made = {}
    for module in CONSTANTS_OF:
        for node in tree(module).body:
            if isinstance(node, ast.Assign):
                made[ast.unparse(node.targets[0])] = ast.unparse(node.value)
    assert taken
    for name in taken:
        assert re.fullmatch(r"const\(\d+\)|'[A-Z]+'", made[name]), name


def test_every_module_can_be_seen_in_one_sitting() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in OTA.glob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def loaded() -> set[str]:
    return {name[4:] for name in sys.modules if name.startswith("ota.")}


class Watch:
    """Whenever a phase is whole, exactly its modules are loaded. seen: the phases that were whole.

    added: what callers added to them; more: the keys of MORE.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: set[str] = set()
        self.added: set[str] = set()
        self.more: set[str] = set()

        def fresh_ota(folder: Path) -> Any:
            found = chipboard.fresh_ota(folder)
            self._follow(sys.modules["ota.loader"])
            return found

        monkeypatch.setattr(agent_bench, "fresh_ota", fresh_ota)

    def _follow(self, loader: Any) -> None:
        real = loader.enter

        def enter(phase: str, also: str = "", more: str = "") -> Any:
            whole = real(phase, also, more)
            if whole:
                wanted = phases.names_of(phase, also, more)
                assert loaded() == {*RESIDENT, *wanted}, (phase, also, more)
                self.seen.add(phase)
                self.added.update(also.split())
                self.more.add(more)
            return whole

        loader.enter = enter


def take(bench: Bench, job: str, steps: int = 3000, **settings: Any) -> None:
    """Let the board take its job, through every reset, until it rests."""
    for _ in range(6):
        if bench.boot(**settings) is None and bench.step(steps) is None:
            break
    assert bench.service.status(job) == "SUCCEEDED", bench.service.jobs[job]
    for _ in range(100):  # what the update left behind goes
        bench.client.deliver()
        bench.agent.step()
    assert loaded() == set(RESIDENT), "at rest"


def packages(folder: Path) -> None:
    """Firmware, then an application, by the stream in CBOR; the application asks to be told."""
    chip = Chip(folder)
    chip.service.add("job-1", packed("1.1.0", 2))
    take(chip, "job-1")
    chip.service.add("job-2", pack("1.2.0", 3, application("1.2.0")))
    take(chip, "job-2")


def over_json(folder: Path) -> None:
    bench = Bench(folder)
    bench.service.add("job-1", packed("1.1.0", 2))
    take(bench, "job-1", stream_json=1, wide_writes=0)


def raw_image(folder: Path, signer: Signer) -> None:
    bench = RawBench(folder, signer)
    bench.add("job-1", firmware())
    take(bench, "job-1")


def by_http(folder: Path) -> None:
    bench = Bench(folder)
    with serving(packed("1.1.0", 2)) as server:
        bench.service.add("job-1", server.data)
        bench.service.offer_http("job-1", f"{server.url}?X-Amz-Expires=60&X-Amz-Signature=1")
        take(bench, "job-1", 20_000)


def installed(bench: Bench, source: str) -> None:
    """Install what no job names."""
    bench.boot()
    bench.agent.install(source)
    while bench.step(20_000) is not None:
        bench.boot()
    assert bench.agent.journal.history()[0]["status"] == "SUCCEEDED"


def at_an_address(folder: Path) -> None:
    with serving(packed("1.1.0", 2)) as server:
        installed(Bench(folder), server.url)


def from_a_file(folder: Path) -> None:
    bench = Bench(folder)
    (folder / "x.ota").write_bytes(packed("1.1.0", 2))
    installed(bench, str(folder / "x.ota"))


def with_keys(folder: Path) -> None:
    """A package brings a set of keys; NVS loses it, and the next start stores it again."""
    bench = Bench(folder)
    both = Entry(keys.public_bytes(KEY.public_key()), RELEASE | ROOT)
    bench.service.add("job-1", packed("1.1.0", 2, trust=make_set(1, [both])))
    take(bench, "job-1")
    stored = nvs.Store(bench.board.flash)
    before = stored.get("ota", "trust")
    stored.set("ota", "trust", b"")
    (folder / "etc" / "trust.json").unlink()
    bench.boot()
    assert stored.get("ota", "trust") == before


ALL_BUT = {"raw", "settle"}  # phases that not every update has
ROADS: dict[str, tuple[Any, set[str], str]] = {
    "packages": (packages, set(), "cbor"),
    "json": (over_json, set(), "json"),
    "raw image, ECDSA": (functools.partial(raw_image, signer=ECDSA), {"raw"}, "cbor"),
    "raw image, RSA": (functools.partial(raw_image, signer=RSA), {"raw"}, "cbor"),
    "http": (by_http, set(), "http"),
    "address": (at_an_address, set(), "address"),
    "file": (from_a_file, set(), "source"),
    "keys": (with_keys, {"settle"}, "cbor"),
}


@pytest.mark.parametrize("road", ROADS)
def test_each_phase_of_an_update_runs_with_exactly_its_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, road: str
) -> None:
    monkeypatch.syspath_prepend(str(CHIP / "cpython"))
    sockets: Any = importlib.import_module("cpython_sockets")
    monkeypatch.setitem(sys.modules, "socket", sockets.socket)  # as a chip has them
    update, phases_of_it, path = ROADS[road]
    watch = Watch(monkeypatch)
    update(tmp_path)
    assert watch.seen == {*TABLE["PHASES"]} - ALL_BUT | phases_of_it
    assert watch.added >= {*TABLE["PATHS"][path].split()}
    assert watch.more == {*TABLE["MORE"]}


def test_these_roads_go_through_every_phase_and_every_data_path() -> None:
    assert set().union(*(phases_of_it for _, phases_of_it, _ in ROADS.values())) == ALL_BUT
    assert {path for _, _, path in ROADS.values()} == set(TABLE["PATHS"])

"""The agent as one file: what is built, what a board makes of it, which extensions are in it."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from connected_board import port, running_board
from hypothesis import given
from hypothesis import strategies as st
from ota import defaults

from sim.board import SOFT
from tools import interpreters
from tools.interpreters import INTERPRETERS, Interpreter, InterpreterMissing
from tools.paths import ROOT, VENV_BIN
from twinslot.board import deploy, files
from twinslot.board.cable import Cable
from twinslot.firmware import agent, extensions
from twinslot.formats import bundle, bundle_words

BUNDLED = interpreters.ON_BOARD / "bundled.py"
# The oldest WebAssembly build loads no .mpy at all.
LOAD_MPY = [found for found in INTERPRETERS if found.wasm != "micropython-oldest"]
SOURCES = {path.stem for path in (ROOT / "firmware/ota").glob("*.py")} - {"__init__"}
MODULES = st.dictionaries(
    st.text("abcdefghij_0123456789", min_size=1, max_size=12), st.binary(max_size=3000), max_size=20
)


# -- what is built --------------------------------------------------------------------------------


@given(MODULES, st.lists(st.sampled_from(["http", "raw", "json"]), unique=True))
def test_what_is_built_is_read_back_and_does_not_depend_on_order(
    modules: dict[str, bytes], chosen: list[str]
) -> None:
    data = bundle.build(modules, chosen)
    assert bundle.read(data) == bundle.Bundle(modules, tuple(sorted(chosen)))
    turned = dict(reversed(modules.items()))
    assert bundle.build(turned, list(reversed(chosen))) == data


def test_a_bundle_is_a_line_an_index_the_words_and_the_deflated_modules() -> None:
    """As the board reads it: places of five digits, a stored block, and no window above 2 KB."""
    far = random.Random(2).randbytes(2500)  # repeated farther away than the window reaches
    modules = {"b": b"beta" * 900 + far + far, "a": bytes(range(256)) * 8}
    data = bundle.build(modules, ["raw", "http"])
    head, index, rest = data.split(b"\n", 2)
    assert head == b"ota-bundle %d http raw" % len(data)
    found = re.fullmatch(rb"/a ([0-9a-f]{5})/b ([0-9a-f]{5})", index)
    assert found
    first, second = (int(at, 16) for at in found.groups())
    words = data[len(data) - len(rest) : first]
    size = len(words) - 5
    assert words[:5] == bytes((0, size & 255, size >> 8, ~size & 255, ~size >> 8 & 255))
    for at, name in ((first, "a"), (second, "b")):
        inflate, rest, made = zlib.decompressobj(-11), data[at:], b""
        assert inflate.decompress(words) == words[5:]
        while not inflate.eof:  # piece by piece, so that the window is all that it remembers
            made += inflate.decompress(rest, 64)
            rest = inflate.unconsumed_tail
        assert made == modules[name]
    assert bundle.read(bundle.build({})) == bundle.Bundle({}, ())
    reader = (ROOT / "firmware/ota/__init__.py").read_text(encoding="utf-8")
    assert f'"{bundle.NAME}"' in reader
    assert "self._skip = bytearray(100)" in reader
    assert f"for _ in range({size // 100}):" in reader


def test_a_bundle_of_a_release_before_the_words_is_read() -> None:
    old = b"ota-bundle %d http\n/a %05x\n"
    module = zlib.compress(b"alpha" * 9, 9, -10)
    head = len(old % (99, 0))
    data = old % (head + len(module), head) + module
    assert bundle.read(data) == bundle.Bundle({"a": b"alpha" * 9}, ("http",))


def test_blocks_of_a_module_begin_where_its_bytes_change() -> None:
    chance = random.Random(3)
    parts = [bytes(chance.choices(kind, k=800)) for kind in (b"abcdefgh", b"\x80ABCD", range(64))]
    order = (parts[0], parts[1], parts[2]), (parts[2], parts[1], parts[0])
    for pieces in order:
        packed = zlib.compressobj(9, zlib.DEFLATED, -11, 9, zdict=bundle_words.WORDS)
        known = [packed.compress(piece) + packed.flush(zlib.Z_BLOCK) for piece in pieces]
        least = sum(map(len, known)) + len(packed.flush())
        found = len(bundle.build({"a": b"".join(pieces)})) - len(bundle.build({})) - len("/a 00000")
        assert found < least + 5


def test_the_words_spare_a_bundle_more_than_they_take() -> None:
    found = bundle.read(agent.compiled(extensions.everything())[agent.BUNDLE]).modules
    alone = sum(len(zlib.compress(data, 9, -11)) for data in found.values())
    both = len(bundle_words.WORDS)
    for data in found.values():
        packed = zlib.compressobj(9, zlib.DEFLATED, -11, zdict=bundle_words.WORDS)
        both += len(packed.compress(data) + packed.flush())
    assert both < 0.96 * alone, "the agent has grown away from its words: make words"


def test_damage_in_a_bundle_is_named() -> None:
    data = bundle.build({"a": b"alpha" * 100, "b": b"beta" * 100})
    for damaged, words in (
        (data + b"x", f"has {len(data) + 1} bytes of {len(data)}"),
        (data.replace(b"/b ", b"/b-"), "index is damaged"),
        (data.replace(b"/b ", b"\xff\xff "), "index is damaged"),
        (data[:-20] + b"\xff" * 20, "modules are damaged: "),
        (data[:-20] + b"\x07" * 20, "modules are damaged: Error -3"),
        (b"x" + data, "no bundle of modules"),
        (data.replace(bundle_words.WORDS, b"x" * 5000), "has 5"),
        (data.replace(b"\n\x00", b"\n\x02"), "modules are damaged"),
        (data.replace(b"\n\x00", b"\n\x01"), "words are damaged"),
    ):
        with pytest.raises(bundle.BundleError, match=words):
            bundle.read(damaged)


def test_a_module_above_the_largest_or_cut_in_its_midst_is_named() -> None:
    largest = bundle.build({"a": bytes(1 << 18)})
    assert len(bundle.read(largest).modules["a"]) == 1 << 18
    with pytest.raises(bundle.BundleError, match="one is cut, or above 262144 bytes"):
        bundle.read(bundle.build({"a": bytes((1 << 18) + 1)}))


def test_a_bundle_is_told_by_its_first_line_whole_or_not() -> None:
    data = bundle.build({"a": b"alpha"})
    assert bundle.is_bundle(data) is bundle.is_bundle(data[:-3]) is True
    for other in (b"", b"ota-bundle", b"x" + data):
        assert bundle.is_bundle(other) is False


def test_modules_of_more_than_a_megabyte_fit_no_bundle() -> None:
    noise = random.Random(1).randbytes(1 << 19)
    assert len(bundle.build({"a": noise})) > 1 << 19
    with pytest.raises(bundle.BundleError, match=r"modules of \d+ bytes do not fit .* 1048576"):
        bundle.build({"a": noise, "b": noise})


@given(MODULES, st.data())
def test_a_bundle_that_is_cut_or_longer_is_refused(
    modules: dict[str, bytes], draw: st.DataObject
) -> None:
    whole = bundle.build(modules, ["http"])
    length = draw.draw(st.integers(0, len(whole) - 1))
    for data in (whole[:length], whole + b"\0"):
        with pytest.raises(bundle.BundleError):
            bundle.read(data)


@pytest.mark.parametrize("data", [b"", b"M\x06\x00\x1f", b"ota-bundle x\n\n", b"ota-bundle 14\n/a"])
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(bundle.BundleError):
        bundle.read(data)


def test_the_same_sources_make_the_same_bytes_wherever_and_whenever(tmp_path: Path) -> None:
    """From a checkout with another path, in another time zone, with files of another age."""
    for folder in ("firmware", "src"):
        shutil.copytree(ROOT / folder, tmp_path / "copy" / folder)
    for path in (tmp_path / "copy").rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    build = (
        "import sys; from twinslot.firmware import agent\n"
        "for data in agent.compiled(('http', 'console')).values(): sys.stdout.buffer.write(data)"
    )
    done = subprocess.run(
        [sys.executable, "-c", build],
        cwd=tmp_path / "copy",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "copy/src"), "TZ": "Pacific/Auckland"},
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"".join(agent.compiled(("console", "http")).values())
    assert str(ROOT).encode() not in done.stdout


# -- extensions -----------------------------------------------------------------------------------


def test_every_module_of_an_extension_is_there_and_belongs_to_one() -> None:
    named = [module for modules in extensions.table().values() for module in modules]
    assert len(named) == len(set(named))
    assert set(named) < SOURCES
    known = {"console", "http", "json", "raw", "report", "segments", "wide"}
    assert set(extensions.table()) == known


def test_none_all_and_names_are_understood_and_others_refused_with_the_list() -> None:
    known = extensions.everything()
    assert extensions.parse("none") == ()
    assert extensions.parse("all") == known == tuple(sorted(extensions.table()))
    assert extensions.parse("raw, http,raw") == ("http", "raw")
    assert extensions.parse("+raw", ("console", "http")) == ("console", "http", "raw")
    assert extensions.parse("+raw, http", ("console",)) == ("console", "http", "raw")
    assert extensions.parse("raw", ("console",)) == ("raw",), "only + keeps the usual ones"
    assert extensions.choose(None, ("raw", "http")) == ("http", "raw")
    assert extensions.choose("+json", ("http",)) == ("http", "json")
    assert extensions.choose("none", ("http",)) == ()
    for text in ("htpp", "http,", "", "none,http", "+", "+all", "+none", "http,+raw", "++raw"):
        with pytest.raises(extensions.ExtensionError, match=", ".join(known)):
            extensions.parse(text)


def test_a_board_gets_the_console_http_and_what_its_settings_ask_for(tmp_path: Path) -> None:
    assert extensions.asked_for({"wide_writes": 0}) == ("console", "http")
    assert extensions.asked_for({}) == ("console", "http", "wide")
    every = {"wide_writes": 1, "raw_images": 1, "stream_json": 1, "report": 1}
    by_name = {"segments"}  # alone: no setting asks for it
    assert set(extensions.asked_for(every)) == set(extensions.everything()) - by_name
    etc = {"/etc/settings.json": b'{"raw_images": 1, "wide_writes": 0}'}
    assert files.extensions_for(etc) == ("console", "http", "raw")
    assert files.extensions_for({}) == extensions.asked_for({})
    assert files.extensions_of_fleet(tmp_path) == extensions.asked_for({})
    for thing, setting in (("board-1", "report"), ("board-2", "raw_images")):
        (tmp_path / thing).mkdir()
        (tmp_path / thing / "settings.json").write_text(f'{{"{setting}": 1}}')
    assert files.extensions_of_fleet(tmp_path) == ("console", "http", "raw", "report", "wide")


def test_what_asks_for_an_extension_is_a_setting_with_that_default() -> None:
    for name, (setting, usual) in extensions.ASKED_BY.items():
        assert name in extensions.table()
        assert defaults.AGENT[setting][:3] == (usual, 0, 1)


@pytest.mark.parametrize("chosen", [(), ("http",), ("console", "raw")])
def test_the_bundle_holds_the_core_and_the_chosen_extensions(chosen: tuple[str, ...]) -> None:
    table = extensions.table()
    left_out = {module for name in table if name not in chosen for module in table[name]}
    held = bundle.read(agent.compiled(chosen)[agent.BUNDLE])
    assert set(held.modules) == SOURCES - left_out
    assert held.extensions == chosen
    plain = {f"ota/{name}.py" for name in {*held.modules, "__init__"}}
    assert set(agent.sources(chosen)) == plain


# -- what MicroPython makes of it -----------------------------------------------------------------


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work tree whose agent is compiled: /firmware holds `ota` as a board does."""
    root = tmp_path_factory.mktemp("bundled")
    for folder in ("sim/chip", "host_tests/on_board"):
        shutil.copytree(ROOT / folder, root / folder)
    found = {**agent.compiled(extensions.everything()), **agent.link(compiled=True)}
    for path, data in found.items():
        (root / "firmware" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "firmware" / path).write_bytes(data)
    held = bundle.read(found[agent.BUNDLE]).modules
    lines = [f"{name} {len(data)}\n" for name, data in held.items()]
    (root / "host_tests/on_board/expected.txt").write_text("".join(lines))
    return root


def run(interpreter: Interpreter, tree: Path, tests: list[str]) -> dict[str, interpreters.Outcome]:
    """Run functions of bundled.py in that tree."""
    try:
        argv = interpreter.command(BUNDLED, tests)
    except InterpreterMissing as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    replaced = {
        str(ROOT): str(tree),
        str(interpreters.ON_BOARD / "runner.py"): str(tree / "host_tests/on_board/runner.py"),
    }
    done = subprocess.run(
        [replaced.get(word, word) for word in argv], capture_output=True, text=True, timeout=300
    )
    return interpreters.read_outcomes(done.stdout + done.stderr, tests)


@pytest.mark.parametrize("interpreter", LOAD_MPY, ids=lambda interpreter: interpreter.label)
def test_micropython_imports_the_agent_out_of_one_file(
    interpreter: Interpreter, tree: Path
) -> None:
    names = interpreters.test_names(BUNDLED)
    assert len(names) > 8
    outcomes = run(interpreter, tree, names)
    failed = [f"{name}:\n{outcomes[name].output}" for name in names if not outcomes[name].passed]
    assert not failed, "\n".join(failed)


# -- on a board -----------------------------------------------------------------------------------


def test_the_mount_comes_back_after_a_soft_reset(tmp_path: Path) -> None:
    with running_board(tmp_path / "board") as board, Cable(port(board)) as cable:
        assert cable.evaluate("__import__('ota').__path__") == "/.ota"
        at = len(board.log_path.read_bytes())
        cable.soft_reset()
        board.wait_console("main: runs 1.1.0", since=at)
        assert board.boots[-1] == (0, SOFT)
        assert cable.evaluate("__import__('ota').__path__") == "/.ota"
        assert cable.execute("import ota\nota.status()").startswith("Runs      ota_0  valid")


@pytest.mark.slow
def test_mpremotes_commands_go_on_working_beside_the_mount(tmp_path: Path) -> None:
    with running_board(tmp_path / "board") as board:

        def mpremote(*words: str) -> str:
            argv = [str(VENV_BIN / "mpremote"), "connect", port(board), "resume", *words]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        size = len(board.read_file("/ota/bundle.mpy"))
        assert re.search(rf" {size} bundle\.mpy\n", mpremote("fs", "ls", ":/ota"))
        assert " main.py\n" in mpremote("fs", "ls")
        assert " errors.mpy\n" in mpremote("fs", "ls", ":/.ota")
        assert "<VfsLfs2>" in mpremote("df")
        mpremote("fs", "cp", "-r", ":/", str(tmp_path / "copy"))
        found = {
            f"/{path.relative_to(tmp_path / 'copy').as_posix()}": path.read_bytes()
            for path in (tmp_path / "copy").rglob("*")
            if path.is_file()
        }
        assert found == board.files()


def test_a_board_with_a_damaged_bundle_says_so_and_a_deploy_repairs_it(tmp_path: Path) -> None:
    with running_board(tmp_path / "board") as board:
        board.stop()
        whole = board.read_file("/ota/bundle.mpy")
        board.install({"/ota/bundle.mpy": whole[:-1]})
        at = len(board.log_path.read_bytes())
        board.start()
        board.wait_console(
            "ImportError: ota/bundle.mpy is damaged: install the agent again", since=at
        )
        found = {"/ota/bundle.mpy": whole, "/main.py": board.read_file("/main.py")}
        with Cable(port(board)) as cable:
            done = deploy.deploy(cable, lambda *_: found, lambda _: None)
            assert set(done.write) == {"/ota/bundle.mpy"}
            cable.reset()
        board.wait_console("main: runs 1.1.0", since=at)

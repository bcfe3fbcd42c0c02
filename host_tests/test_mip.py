"""The agent in somebody's own project: by mip, or frozen."""

from __future__ import annotations

import io
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from link_fixtures import need
from mpremote import mip as mpremote_mip

from sim.board import Board, firmware
from tools import mip as sources
from tools.paths import ROOT, VENV_BIN
from twinslot import __version__
from twinslot.board import files
from twinslot.board.cable import Cable
from twinslot.firmware import agent, extensions, mip
from twinslot.formats import bundle

MANIFEST = ROOT / "manifest.py"
AGENT = {
    "link.py",
    *(f"ota/{path.name}" for path in (ROOT / "firmware/ota").glob("*.py")),
}


def read(path: Path) -> dict[str, Any]:
    package: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return package


class ATransport:
    """What mpremote's mip asks of a board; keeps what is written."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def fs_exists(self, path: str) -> bool:
        return True

    def fs_writefile(self, path: str, data: bytes, progress_callback: object = None) -> None:
        self.files[path] = data


AS_SOURCE = AGENT - {f"ota/{name}.py" for name in extensions.table()["segments"]}
"""All but the extension with which they would fill the file system of 4 MB of flash."""


def test_the_package_lists_every_module_of_the_agent_and_link() -> None:
    package = read(sources.SOURCES)
    assert {target for target, _ in package["urls"]} == AS_SOURCE, "`make mip` lists them"
    assert all(source == f"firmware/{target}" for target, source in package["urls"])
    assert sources.SOURCES.read_text(encoding="utf-8") == mip.text(sources.listing())


def test_both_lists_bear_the_projects_version() -> None:
    assert read(sources.SOURCES)["version"] == __version__
    assert f'version="{__version__}"' in MANIFEST.read_text()


def test_the_package_resolves_from_a_repository_on_github(monkeypatch: pytest.MonkeyPatch) -> None:
    """mpremote's own code resolves the addresses; only the download is replaced."""
    site = "https://raw.githubusercontent.com/owner/repo/v1/"

    def urlopen(url: str) -> io.BytesIO:
        assert url.startswith(site)
        return io.BytesIO((ROOT / url.removeprefix(site)).read_bytes())

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    transport = ATransport()
    mpremote_mip._install_package(transport, "github:owner/repo", "", "/lib", "v1", True)
    wanted = {f"/lib/{path}": (ROOT / "firmware" / path).read_bytes() for path in AS_SOURCE}
    assert transport.files == wanted


def test_the_compiled_package_is_whole(tmp_path: Path) -> None:
    paths = mip.build(tmp_path / "mip", extensions.everything())
    assert paths == ["link.mpy", "ota/__init__.mpy", agent.BUNDLE]
    assert [target for target, _ in read(tmp_path / "mip/package.json")["urls"]] == paths
    *modules, bundled = [(tmp_path / "mip" / path).read_bytes() for path in paths]
    assert all(module.startswith(b"M\x06") for module in modules)
    names = {f"ota/{name}.py" for name in bundle.read(bundled).modules}
    assert names == AGENT - {"link.py", "ota/__init__.py"}


def frozen() -> dict[str, Path]:
    """Return what the manifest freezes: name in the image to source.

    Follows package() and module() of MicroPython's manifest language, base_path relative to the
    manifest (docs.micropython.org, MicroPython manifest files).
    """
    found: dict[str, Path] = {}

    def package(name: str, base_path: str = ".") -> None:
        base = MANIFEST.parent / base_path
        found.update({p.relative_to(base).as_posix(): p for p in (base / name).rglob("*.py")})

    def module(name: str, base_path: str = ".") -> None:
        found[name] = MANIFEST.parent / base_path / name

    names = {"package": package, "module": module, "metadata": lambda **_: None}
    exec(compile(MANIFEST.read_text(), str(MANIFEST), "exec"), names)
    return found


def test_the_manifest_freezes_the_whole_agent_and_never_boot_py() -> None:
    """boot.py stays a file: an image that froze it would bring its own, untested by any other."""
    assert set(frozen()) == AGENT
    assert all(path.is_file() for path in frozen().values())


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A board with MicroPython and boot.py, switched off."""
    need("micropython")
    with Board(tmp_path / "board", interpreter="micropython") as board:
        board.flash_firmware(0, firmware(version="1.0.0"))
        board.install({"/boot.py": (ROOT / "boot.py").read_bytes()})
        yield board


def port(board: Board) -> str:
    return "socket://{}:{}".format(*board.console)


@pytest.mark.slow
def test_a_frozen_agent_runs_without_a_file_of_it(board: Board) -> None:
    modules = {name[:-3] + ".mpy": files.compile_module(path) for name, path in frozen().items()}
    board.flash_firmware(0, firmware(version="1.0.0", modules=modules))
    board.start()
    with Cable(port(board)) as cable:
        said = cable.execute("import link, ota\nota.status()")
    assert said.startswith("Runs      ota_0  valid")
    assert board.list_files("/") == ["boot.py"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["py", "mpy"])
def test_mpremote_installs_an_agent_that_can_be_imported(
    board: Board, tmp_path: Path, form: str
) -> None:
    package = "./package.json"
    if form == "mpy":
        mip.build(tmp_path / "mip", ("console",))
        package = str(tmp_path / "mip/package.json")
    board.start()
    command: list[str | Path] = [
        VENV_BIN / "mpremote",
        "connect",
        port(board),
        "resume",
        "mip",
        "install",
        package,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    with Cable(port(board)) as cable:
        assert cable.evaluate("__import__('ota').__file__") == f"/lib/ota/__init__.{form}"
        assert cable.execute("import ota\nota.status()").startswith("Runs      ota_0  valid")

"""The built package works in a fresh environment and an empty folder, without a checkout.

Wheel and sdist are built from what git has. The environment sees those libraries of .venv that the
wheel declares, with what these declare, and no other; neither this checkout nor its editable
install. Nothing is downloaded, but by pipx and uv, which are tried where a package index answers.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from email.parser import Parser
from importlib import metadata
from pathlib import Path

import pytest
from link_fixtures import need
from packaging.requirements import Requirement

from demo import children
from sim import image
from sim.board import firmware
from tools import natives
from tools.paths import ROOT, VENV_BIN, VENV_PYTHON
from twinslot import __version__
from twinslot.formats.chips import CHIPS

DATA = "twinslot/firmware/on_board"
ON_BOARD = {
    "boot.py",
    *(path.relative_to(ROOT / "firmware").as_posix() for path in (ROOT / "firmware").rglob("*.py")),
}
IMAGE = 120_000  # bytes
PIP = [str(VENV_PYTHON), "-m", "pip", "--disable-pip-version-check", "--quiet"]
OFFLINE = ["--no-deps", "--no-index"]
TOOLS = {"pipx": ["pipx", "install"], "uv": ["uv", "tool", "install"]}


def run(argv: list[str], **options: object) -> str:
    """Run a program that has to succeed; returns what it prints."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone of the repository holds."""
    folder = tmp_path_factory.mktemp("source")
    listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def wheel_of(source: Path, folder: Path) -> Path:
    """Build the wheel of a source tree or an sdist."""
    run([*PIP, "wheel", *OFFLINE, "--no-build-isolation", "-w", str(folder), str(source)])
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run([sys.executable, "-c", build, str(folder)], cwd=source)
    (found,) = folder.glob("*.tar.gz")
    return found


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def declared(wheel: Path) -> list[str]:
    """Return the requirements of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        said = Parser().parsestr(archive.read(name).decode())
    return said.get_all("Requires-Dist") or []


def libraries(requirements: list[str]) -> dict[str, metadata.Distribution]:
    """Return the distributions in .venv that requirements ask for, and what these ask for."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [(Requirement(line), frozenset({""})) for line in requirements]
    while waiting:
        asked, extras = waiting.pop()
        if asked.marker and not any(asked.marker.evaluate({"extra": name}) for name in extras):
            continue
        if asked.name not in found:
            found[asked.name] = metadata.distribution(asked.name)
            more = found[asked.name].requires or []
            waiting += [(Requirement(line), frozenset({"", *asked.extras})) for line in more]
    return found


def environment_of(home: Path, requirements: list[str]) -> list[str]:
    """Make an environment that has these libraries of .venv alone. Returns pip's command in it."""
    venv.create(home, with_pip=False, symlinks=True)
    site = next(home.glob("lib/python*/site-packages"))
    for library in libraries(requirements).values():
        for name in {path.parts[0] for path in library.files or ()} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(natives.site_packages() / name)
    return [*PIP, "--python", str(home / "bin/python")]


class Installed:
    """An environment with `fleet`, and an empty folder to work in."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.home = home
        self.environment = {"PATH": f"{home}/bin:/usr/bin:/bin", "HOME": str(folder)}

    def fleet(self, *arguments: object) -> str:
        """Run `fleet ARGUMENTS` in the folder; returns what it prints."""
        argv = [str(self.home / "bin/fleet"), *map(str, arguments)]
        said = run(argv, cwd=self.folder, env=self.environment)
        assert str(ROOT) not in said
        return said

    def start(self, argv: list[str], log: str) -> "subprocess.Popen[bytes]":
        """Start a program in the folder."""
        with (self.folder / log).open("ab") as file:
            return subprocess.Popen(
                argv,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                preexec_fn=children.die_with_parent,
            )


@pytest.fixture
def installed(tmp_path: Path, wheel: Path) -> Installed:
    """The wheel, by a pip that refuses where a requirement is not there."""
    pip = environment_of(tmp_path / "venv", declared(wheel))
    run([*pip, "install", "--no-index", str(wheel)])
    return Installed(tmp_path, tmp_path / "venv")


def packs(fleet: Installed) -> None:
    """Make a fleet and a package of an application, which needs the firmware and mpy-cross."""
    fleet.fleet("init", "--product", "lab")
    (fleet.folder / "app").mkdir()
    (fleet.folder / "app/main.py").write_text("import ota\n")
    version = ("--version", "2.0", "--sequence", "2")
    fleet.fleet("pack", "--app", "app", *version, "--mpy", "-o", "app.ota")
    said = fleet.fleet("inspect", "app.ota")
    assert "signature holds" in said
    assert "ota/bundle.mpy" in said


# -- what is built --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_wheel_installs_one_top_level_name(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names(wheel)}
    assert tops == {"twinslot", f"twinslot-{__version__}.dist-info"}


@pytest.mark.slow
def test_the_wheel_holds_what_boards_run_and_nothing_of_tests_simulator_or_demo(
    wheel: Path,
) -> None:
    found = names(wheel)
    modules = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    data = {f"{DATA}/{name}" for name in ON_BOARD}
    assert {name for name in found if name.startswith("twinslot/")} == modules | data
    with zipfile.ZipFile(wheel) as archive:
        for name in ON_BOARD:
            there = ROOT / ("boot.py" if name == "boot.py" else f"firmware/{name}")
            assert archive.read(f"{DATA}/{name}") == there.read_bytes()


@pytest.mark.slow
def test_the_sdist_builds_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"boot.py", "firmware/main.py", "firmware/ota/agent.py", "setup.py"} < inside
    assert not {name for name in inside if name.startswith(("sim", "demo", "host_tests"))}
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(wheel_of(sdist, tmp_path)) as other:
        contents = [
            {name: archive.read(name) for name in archive.namelist() if "dist-info" not in name}
            for archive in (one, other)
        ]
    assert contents[0] == contents[1]


# -- what is installed ----------------------------------------------------------------------------


@pytest.mark.slow
def test_the_installed_package_is_its_own_and_no_checkouts(installed: Installed) -> None:
    code = (
        "import twinslot\nfrom twinslot.firmware import sources\n"
        "print(twinslot.__file__, sources.FIRMWARE, sources.BOOT.is_file())"
    )
    argv = [str(installed.home / "bin/python"), "-I", "-c", code]
    said = run(argv, cwd=installed.folder, env=installed.environment).split()
    assert said[0].startswith(str(installed.home))
    assert said[1].startswith(str(installed.home))
    assert said[2] == "True"
    version = run([argv[0], "-m", "twinslot", "--version"], env=installed.environment)
    assert version == f"fleet, version {__version__}\n"
    code = "import importlib.util as u; print([u.find_spec(n) for n in ('fleet', 'sim', 'tools')])"
    assert run([argv[0], "-c", code], cwd=installed.folder) == "[None, None, None]\n"


@pytest.mark.slow
def test_an_environment_lacks_what_is_not_declared(tmp_path: Path, wheel: Path) -> None:
    """So an import that pyproject.toml does not name fails here."""
    less = [line for line in declared(wheel) if not line.startswith(("cbor2", "psycopg"))]
    assert len(less) < len(declared(wheel))
    pip = environment_of(tmp_path / "venv", less)
    done = subprocess.run(
        [*pip, "install", "--no-index", str(wheel)], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "cbor2" in done.stderr


@pytest.mark.slow
def test_an_installed_sdist_packs_an_application(tmp_path: Path, wheel: Path, sdist: Path) -> None:
    pip = environment_of(tmp_path / "venv", [*declared(wheel), "setuptools"])
    run([*pip, "install", "--no-index", "--no-build-isolation", str(sdist)])
    packs(Installed(tmp_path, tmp_path / "venv"))


@pytest.mark.slow
def test_an_editable_install_packs_the_firmware_of_its_checkout(
    tmp_path: Path, wheel: Path, source: Path
) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(source, checkout)
    pip = environment_of(tmp_path / "venv", [*declared(wheel), "setuptools"])
    run([*pip, "install", "--no-index", "--no-build-isolation", "-e", str(checkout)])
    installed = Installed(tmp_path, tmp_path / "venv")
    code = "from twinslot.firmware import sources; print(sources.FIRMWARE, sources.BOOT)"
    argv = [str(installed.home / "bin/python"), "-c", code]
    said = run(argv, cwd=installed.folder, env=installed.environment)
    assert said == f"{checkout / 'firmware'} {checkout / 'boot.py'}\n"
    packs(installed)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("tool", list(TOOLS))
def test_one_command_of_pipx_or_uv_installs_the_wheel_with_all_that_it_needs(
    tmp_path: Path, wheel: Path, tool: str
) -> None:
    """They download the libraries; skipped where no package index answers."""
    probe = [*PIP, "download", "--no-deps", "--no-cache-dir", "-d", str(tmp_path), "idna"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("no package index answers here")
    places = {"PIPX_HOME": "pipx", "PIPX_BIN_DIR": "bin", "UV_TOOL_DIR": "uv"}
    places |= {"UV_TOOL_BIN_DIR": "bin"}
    places_here = {name: str(tmp_path / place) for name, place in places.items()}
    program, *command = TOOLS[tool]
    argv = [str(VENV_BIN / program), *command, "--python", sys.executable, str(wheel)]
    run(argv, cwd=tmp_path, env={**os.environ, **places_here})
    installed = Installed(tmp_path, tmp_path)
    assert installed.fleet("--version") == f"fleet, version {__version__}\n"
    packs(installed)


@pytest.fixture
def site(installed: Installed) -> Iterator[Installed]:
    """The installed fleet with its broker and its service, both up."""
    things, service = children.free_port(), children.free_port()
    fleet = installed.fleet
    fleet("init", "--product", "lab")
    user = ["--user", "root"] if os.geteuid() == 0 else []
    fleet(
        *("broker-config", "--host", "127.0.0.1", "--bind", "127.0.0.1"),
        *("--port", things, "--service-port", service, *user),
    )
    with ExitStack() as up:
        broker = [*natives.command("mosquitto"), "-c", "broker/mosquitto.conf"]
        up.callback(children.stop, installed.start(broker, "broker.log"))
        children.wait_for(lambda: children.listens(service), "the broker's start")
        serve = [str(installed.home / "bin/fleet"), "serve"]
        up.callback(children.stop, installed.start(serve, "service.log"))
        log = installed.folder / "service.log"
        children.wait_for(lambda: b"ready " in log.read_bytes(), "the service's start")
        yield installed


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_board_of_another_process_is_flashed_and_updated_by_the_installed_fleet(
    site: Installed, tmp_path: Path
) -> None:
    """From `fleet provision` to an accepted update of application and firmware, and its report."""
    need("micropython")
    fleet, folder = site.fleet, site.folder
    fleet("provision", "board-1", "--wifi-ssid", "sim")
    # A real board's deadline is minutes.
    settings = folder / "boards/board-1/settings.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "self_test_s": 60}))
    application = firmware(version="1.26.1", size=IMAGE)
    (folder / "download.bin").write_bytes(image.merged(application, CHIPS["esp32"]))
    said = fleet(
        *("flash", "--image-only", "board.bin", "--settings", "boards/board-1"),
        *("--fleet", ".", "--slot-size", "0x1b0000", "download.bin"),
    )
    assert "Wrote board.bin: 4194304 bytes" in said

    board = tmp_path / "board"
    board.mkdir()
    shutil.copy(folder / "board.bin", board / "flash.bin")
    simulated = [str(VENV_PYTHON), "-m", "sim", str(board)]
    with (tmp_path / "sim.log").open("ab") as log, ExitStack() as up:
        process = subprocess.Popen(
            simulated,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=children.die_with_parent,
        )
        up.callback(children.stop, process)

        (folder / "app").mkdir()
        main = (ROOT / "firmware/main.py").read_text()
        (folder / "app/main.py").write_text(f'print("this is the update")\n{main}')
        said = fleet("push", "app", "board-1", "--timeout", "100")
        assert "accepted: board-1 runs dev-2, sequence 2" in said
        assert "this is the update" in (board / "console.log").read_text(errors="replace")

        (folder / "new.bin").write_bytes(firmware(version="1.27.0", size=IMAGE))
        fleet(
            *("pack", "new.bin", "--app", "app", "--version", "3.0", "--sequence", "3"),
            *("-o", "both.ota"),
        )
        assert "signature holds" in fleet("inspect", "both.ota")
        job = json.loads(fleet("publish", "--json", "both.ota", "board-1"))["job"]
        fleet("watch", job, "--timeout", "100")
        shown = fleet("status", "board-1")
        ended = [line for line in shown.splitlines() if line.startswith("  SUCCEEDED ")]
        assert len(ended) == 2, "the report has a line of its own for the last"
        assert "v3.0" in shown

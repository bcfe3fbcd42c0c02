"""From a folder to an application: what goes along, what must not, and what is said about it."""

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from esp_images import app

from sim.image import firmware as simulated
from tools.paths import ROOT
from twinslot.board import filesystem
from twinslot.client import imports
from twinslot.client.application import Application, ApplicationError, Options, collect
from twinslot.client.folder import FolderError
from twinslot.firmware import agent, compiler, extensions
from twinslot.formats import archive, bundle, frozen, image, mpy
from twinslot.text import TextError
from twinslot.trust import keys

FROZEN = ["espnow.py", "_boot.py", "asyncio/__init__.py", "ssl.py", "umqtt/simple.py"]
TEXT = b"MicroPython v1.26.1 on 2025-09-11\0"
AGENT = ("__init__", "agent", "phases")
NATIVE = "import micropython\n\n@micropython.native\ndef f(a):\n    return a + 1\n"

Write = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An application of two modules that brings its agent."""
    found = tmp_path / "app"
    for name, text in (
        ("main.py", "import pump\n"),
        ("pump.py", "RATE = 1\n"),
        *((f"ota/{name}.py", "") for name in AGENT),
        ("link.py", "class Link: pass\n"),
    ):
        write(found / name, text)
    return found


def write(path: Path, text: str | bytes = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def table(names: list[str]) -> bytes:
    """As the compiler lays the array out: on a multiple of 4, between pointers."""
    return b"\x3f\x40\x12B" + b"".join(f"{name}\0".encode() for name in names) + b"\0\0\x04\x3f"


def firmware(names: list[str] = FROZEN, text: bytes = TEXT, more: bytes = b"") -> image.Application:
    text += more
    return image.application(app(text=text + bytes(-len(text) % 4) + table(names)))


def made(folder: Path, known: image.Application | None = None, **options: Any) -> Application:
    return collect(folder, Options(**options), chip="esp32", firmware=known)


def refused(folder: Path, *words: str, known: image.Application | None = None, **options: Any):
    with pytest.raises((ApplicationError, FolderError, bundle.BundleError, mpy.MpyError)) as caught:
        made(folder, known, **options)
    for word in words:
        assert word in str(caught.value)


# What goes along


def test_it_says_what_it_takes_of_a_file_system_and_its_largest_files(folder: Path) -> None:
    for number in range(20):
        write(folder / f"data/{number}.txt", "x" * (200 + number))
    write(folder / "inline.txt", "x" * 128)
    write(folder / "font.bin", bytes(9000))
    found = made(folder)
    lies = {f"/app_0/{path}": data for path, data in found.files.items()}
    lies["/app_0/.files"] = b"".join(
        b"%d %s\n" % (entry.size, entry.path.encode()) for entry in archive.read(found.archive)
    )
    fs = filesystem.mount(bytearray(b"\xff" * (1 << 20)))
    filesystem.write(fs, lies)
    assert found.blocks == fs.used_block_count - 2, "beside the pair of /"
    sizes = sorted(map(len, found.files.values()), reverse=True)
    assert found.largest[1::2] == sizes[:3]
    assert found.largest[:2] == ["font.bin", 9000]


def test_a_folder_becomes_an_archive_of_its_files(folder: Path) -> None:
    found = made(folder)
    assert sorted(found.files) == [
        *("link.py", "main.py"),
        *(f"ota/{name}.py" for name in AGENT),
        "pump.py",
    ]
    assert archive.contents(found.archive) == found.files
    assert (found.notes, found.warnings) == ((), ())


def test_hidden_files_caches_and_packages_stay_at_home(folder: Path) -> None:
    before = made(folder).files
    for name in (".git/config", "lib/.secret", "__pycache__/pump.pyc", "pump.pyc", "old.ota"):
        write(folder / name, "x")
    write(folder / ".venv/key.pem", keys.private_pem(keys.generate()))
    (folder / ".venv/python").symlink_to("/")
    assert made(folder).files == before


def test_what_stays_at_home_by_itself_is_said(folder: Path) -> None:
    for name in (".git/config", "lib/__pycache__/a.pyc", ".DS_Store", "old.ota", "main.py~"):
        write(folder / name, "x")
    write(folder / "env/pyvenv.cfg", "")
    write(folder / "env/lib/site.py", "def f(:")
    (said,) = made(folder).notes
    for name in (".git/", "lib/__pycache__/", ".DS_Store", "old.ota", "main.py~", "env/"):
        assert name in said
    assert not any(path.startswith("env/") for path in made(folder).files)


def test_an_otaignore_has_gitignores_syntax(folder: Path) -> None:
    for name in ("docs/a.md", "docs/b/c.md", "notes.txt", "keep.txt", ".hidden.json", "w/x.log"):
        write(folder / name, "x")
    write(folder / "w/y.bin", "x")
    write(
        folder / ".otaignore",
        b"\xef\xbb\xbf# ours\r\ndocs/\r\n/*.txt\r\n!keep.txt\r\n!.hidden.*\r\n",
    )
    write(folder / "w/.otaignore", "*.log\n")
    found = made(folder)
    own = {path for path in found.files if not path.startswith(("ota/", "link", "main", "pump"))}
    assert own == {"keep.txt", ".hidden.json", "w/y.bin"}
    assert found.notes == ("left out by .otaignore: docs/, notes.txt, w/x.log",)
    assert found.warnings == ()


def test_an_otaignore_that_cannot_be_read_is_named_with_its_line(folder: Path) -> None:
    write(folder / ".otaignore", "docs\n!\n")
    refused(folder, ".otaignore, line 2: '!'")
    write(folder / ".otaignore", "docs\n!\n".encode("utf-16"))
    refused(folder, ".otaignore, line 2: '!'")
    write(folder / ".otaignore", b"docs\n\xff\n")
    with pytest.raises(TextError, match=r"\.otaignore is not text in UTF-8: byte 5 \(line 2\)"):
        made(folder)


def test_an_empty_folder_is_named(folder: Path) -> None:
    (folder / "logs/daily").mkdir(parents=True)
    write(folder / "kept/.gitkeep", "")
    write(folder / "text/a.md", "")
    found = made(folder, exclude=("*.md",))
    assert [words.split()[2] for words in found.warnings] == ["kept/", "logs/daily/"]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"exclude": ("tests",)}, {"main.py", "pump.py", "lib/a.py", "www/index.html"}),
        ({"exclude": ("tests/",)}, {"main.py", "pump.py", "lib/a.py", "www/index.html"}),
        ({"exclude": ("a.py",)}, {"main.py", "pump.py", "www/index.html"}),
        ({"exclude": ("tests/a.py", "*.html")}, {"main.py", "pump.py", "lib/a.py"}),
        ({"include": ("main.py", "lib")}, {"main.py", "lib/a.py"}),
        ({"include": ("*.py",), "exclude": ("lib/*",)}, {"main.py", "pump.py", "tests/a.py"}),
        ({"include": ("[mp]*.py", "www/*")}, {"main.py", "pump.py", "www/index.html"}),
    ],
)
def test_patterns_choose_by_name_or_path(
    folder: Path, options: dict[str, Any], left: set[str]
) -> None:
    for name in ("tests/a.py", "lib/a.py", "www/index.html"):
        write(folder / name)
    chosen = made(folder, agent=False, force=True, **options)
    assert {path for path in chosen.files if not path.startswith(("ota/", "link"))} == left
    assert not [words for words in chosen.warnings if "pattern" in words]


def test_a_pattern_that_matches_nothing_is_named(folder: Path) -> None:
    found = made(folder, exclude=("secret.py", "link.py"), include=("*.py", "*.pyi"))
    assert [words for words in found.warnings if "pattern" in words] == [
        "the pattern *.pyi matches nothing",
        "the pattern secret.py matches nothing",
    ]


def test_links_are_followed_within_the_folder_alone(folder: Path, tmp_path: Path) -> None:
    (folder / "same.py").symlink_to("pump.py")
    assert made(folder).files["same.py"] == b"RATE = 1\n"
    write(tmp_path / "outside.py", "")
    for name, target, words in (
        ("away.py", "../outside.py", "leaves the folder"),
        ("away.py", "/etc/hostname", "leaves the folder"),
        ("lib", "..", "leaves the folder"),
        ("lib", "ota", "link to a folder"),
        ("gone.py", "nothing.py", "neither a file nor a folder"),
        ("round.py", "round.py", "round.py is"),
    ):
        (folder / name).symlink_to(target)
        refused(folder, name, words)
        (folder / name).unlink()


def test_what_is_no_file_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    refused(folder, "pipe is neither")
    refused(folder / "main.py", "no folder")
    refused(folder / "none", "no folder")


# What must not


def test_a_private_key_never_travels_whatever_it_is_called(folder: Path) -> None:
    write(folder / "lib/data.txt", b"# " + keys.private_pem(keys.generate()))
    refused(folder, "lib/data.txt holds a private key", "--exclude lib/data.txt")
    assert "lib/data.txt" not in made(folder, exclude=("lib/data.txt",)).files


def test_a_file_with_a_secret_may_pass_by_name(folder: Path) -> None:
    write(folder / "lib/dev.der", keys.private_pem(keys.generate()))
    write(folder / "conf/settings.json", "{}")
    refused(folder, "--allow-secret conf/settings.json", secrets=("lib/*.der",))
    found = made(folder, secrets=("lib/*.der", "settings.json", "gone"))
    assert {"lib/dev.der", "conf/settings.json"} <= {*found.files}
    assert found.warnings == ("the pattern gone matches nothing",)


def test_a_password_in_a_settings_file_is_refused(folder: Path) -> None:
    write(folder / "conf.json", '{"wifi": {"ssid": "a", "password": "hunter22"}}')
    refused(folder, "conf.json holds a password (password)", "--allow-secret conf.json")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("client.key", "private key by its name"),
        ("etc2/Board.KEY", "private key by its name"),
        ("settings.json", "one board's own"),
        ("conf/settings.json", "one board's own"),
        ("trusted_keys.pem", "one board's own"),
        ("boot.py", "never updated over the air"),
        ("etc/hosts", "own /etc"),
        (".files", ""),
        ("grün.py", "printable ASCII"),
        ("Pump.py", "in another case"),
        ("pump.mpy", "one of them must go"),
    ],
)
def test_what_belongs_to_the_board_or_breaks_the_archive_is_refused(
    folder: Path, name: str, words: str
) -> None:
    write(folder / name, "{}")
    if name == ".files":  # hidden
        assert name not in made(folder).files
        return
    refused(folder, words, "--exclude")


def test_an_application_begins_with_main_as_source(folder: Path) -> None:
    (folder / "main.py").rename(folder / "main.mpy")
    refused(folder, "main.mpy", "starts main.py by name")
    (folder / "main.mpy").unlink()
    refused(folder, "has no main.py, which MicroPython starts")


# The agent


def test_the_projects_agent_is_added_where_there_is_none_compiled(folder: Path) -> None:
    shutil.rmtree(folder / "ota")
    (folder / "link.py").unlink()
    found = made(folder)
    for name in ("link", "ota/__init__"):
        path = ROOT / f"firmware/{name}.py"
        assert found.files[f"{name}.mpy"] == compiler.compile_module(path, smallest=True)
    held = bundle.read(found.files[agent.BUNDLE])
    for path in (ROOT / "firmware/ota").glob("*.py"):
        if path.stem in held.modules:
            assert held.modules[path.stem] == compiler.compile_module(path, smallest=True)
        else:
            assert path.stem in {"__init__", *extensions.left_out(held.extensions)}
    assert held.extensions == extensions.asked_for({})
    assert found.files["main.py"] == b"import pump\n"
    assert found.files["pump.py"] == (folder / "pump.py").read_bytes()
    assert ["agent was added" in words for words in found.notes] == [True, False]
    assert ["link was added" in words for words in found.notes] == [False, True]
    assert found.warnings == ()


def test_an_installation_without_the_agent_says_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(folder / "ota")
    monkeypatch.setattr(agent, "FIRMWARE", tmp_path)
    refused(folder, "agent is not here", "--no-agent")
    assert made(folder, agent=False)


def test_an_agent_or_link_of_ones_own_stays(folder: Path) -> None:
    write(folder / "ota/__init__.py", "# mine")
    (folder / "link.py").unlink()
    found = made(folder)
    assert [path for path in found.files if path.startswith("ota/")] == [
        f"ota/{name}.py" for name in AGENT
    ]
    assert "link.mpy" in found.files


def test_without_the_agent_is_said_what_that_means(folder: Path) -> None:
    assert made(folder, agent=False).warnings == ()
    shutil.rmtree(folder / "ota")
    found = made(folder, agent=False)
    assert sorted(found.files) == ["link.py", "main.py", "pump.py"]
    assert found.notes == ()
    assert "only if it has the agent in /lib, or its firmware freezes it" in found.warnings[0]


@pytest.mark.parametrize("wanted", [True, False])
def test_an_agent_in_the_firmware_is_not_added_again(folder: Path, wanted: bool) -> None:
    shutil.rmtree(folder / "ota")
    (folder / "link.py").unlink()
    found = made(folder, firmware([*FROZEN, "ota/__init__.py", "link.py"]), agent=wanted)
    assert sorted(found.files) == ["main.py", "pump.py"]
    assert found.warnings == ()
    assert len(found.notes) == (2 if wanted else 0)


# Compiled


def test_modules_are_compiled_and_main_stays_source(folder: Path) -> None:
    write(folder / "data.txt", "x")
    found = made(folder, firmware(), compiled=True)
    assert sorted(found.files) == [
        "data.txt",
        *("link.mpy", "main.py"),
        *(f"ota/{name}.mpy" for name in AGENT),
        "pump.mpy",
    ]
    assert found.files["main.py"] == b"import pump\n"
    assert found.files["pump.mpy"] == compiler.compile_module(folder / "pump.py", "pump.py")


def test_the_added_agent_is_compiled_as_well(folder: Path) -> None:
    shutil.rmtree(folder / "ota")
    found = made(folder, compiled=True)
    assert found.files["ota/__init__.mpy"][:2] == b"M\6"
    in_ota = [path for path in found.files if path.startswith("ota/")]
    assert in_ota == ["ota/__init__.mpy", agent.BUNDLE]


def test_an_agent_of_ones_own_may_be_such_a_bundle(folder: Path) -> None:
    shutil.rmtree(folder / "ota")
    ours = agent.compiled(())
    for path, data in ours.items():
        write(folder / path, data)
    found = made(folder, firmware(), compiled=True)
    assert {path: found.files[path] for path in ours} == ours
    held = bundle.read(ours[agent.BUNDLE])
    write(folder / agent.BUNDLE, bundle.build({**held.modules, "old": b"M\5\0\x1f"}))
    refused(folder, "module old", "version 5")
    write(folder / agent.BUNDLE, ours[agent.BUNDLE][:-1])
    refused(folder, "the bundle has")


def test_native_code_needs_to_know_the_firmware(folder: Path) -> None:
    write(folder / "pump.py", NATIVE)
    refused(folder, "pump.mpy", "give the firmware", compiled=True)
    for version, sub_version in (("1.22.2", 2), ("1.26.1", 3)):
        known = firmware(text=f"MicroPython v{version} on 2025-09-11\0".encode())
        assert made(folder, known, compiled=True).files["pump.mpy"][2] & 3 == sub_version


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"MicroPython v1.19.1 on 2022-06-18\0", "needs 1.22"),
        (b"nothing", "names no version"),
    ],
)
def test_a_firmware_that_could_not_load_what_is_compiled_is_refused(
    folder: Path, text: bytes, words: str
) -> None:
    refused(folder, words, known=firmware(text=text), compiled=True)
    assert made(folder, firmware(text=text))


def test_a_compiled_module_that_the_board_would_not_load_is_refused(folder: Path) -> None:
    write(folder / "valve.mpy", b"M\5\0\x1f rest")
    refused(folder, "valve.mpy", "version 5")
    write(folder / "valve.mpy", compiler.compile_module(folder / "pump.py"))
    assert "valve.mpy" in made(folder).files


def test_a_module_that_does_not_compile_is_named(folder: Path) -> None:
    write(folder / "pump.py", "def f(:\n")
    refused(folder, "pump.py", "SyntaxError", compiled=True)


# What may go wrong


@pytest.mark.parametrize(
    "name", ["secrets.py", "lib/my_secret.json", "wifi.json", "wifi_config.py", "passwords.txt"]
)
def test_what_is_called_like_a_secret_is_warned_of(folder: Path, name: str) -> None:
    write(folder / name, "")
    (warning,) = made(folder).warnings
    assert warning.startswith(f"{name} looks like a secret")


def test_a_file_that_no_module_imports_is_not_worth_a_word(folder: Path) -> None:
    for name in ("unused.py", "wifi.py", "lib/deep/data.bin", "www/index.html"):
        write(folder / name, "")
    assert made(folder, firmware()).warnings == ()


def test_source_that_does_not_compile_is_refused_with_file_line_and_text(folder: Path) -> None:
    write(folder / "pump.py", "RATE = 1\n    def f(:\n")
    write(folder / "lib/valve.py", "match 1:\n    case 1:\n        pass\n")
    write(folder / "wide.py", "x = 1\n".encode("utf-16"))
    refused(folder, "pump.py, line 2 does not compile", "def f(:", "--force")
    refused(folder, "lib/valve.py, line 1 does not compile", "match 1:", "wide.py, line 1")
    write(folder / "open.py", "x = f(1,\n\n")
    refused(folder, "open.py, line 3 does not compile: SyntaxError: invalid syntax: x = f(1,")
    (folder / "open.py").unlink()
    forced = made(folder, force=True)
    assert forced.files["pump.py"] == (folder / "pump.py").read_bytes()
    assert [words.partition(" does not")[0] for words in forced.warnings] == [
        "lib/valve.py, line 1",
        "pump.py, line 2",
        "wide.py, line 1",
    ]


@pytest.mark.parametrize(
    "text",
    [
        NATIVE,
        "import micropython\n\n@micropython.asm_xtensa\ndef f():\n    nop()\n",
        "\ufeffx = 1\r\n",
        "def f(x): return f'{x:>5}' if (y := x) else y\n",
        "",
    ],
)
def test_what_micropython_compiles_is_packed(folder: Path, text: str) -> None:
    write(folder / "pump.py", text)
    assert made(folder).files["pump.py"] == text.encode()


# Modules that hide others


def test_a_file_that_takes_a_modules_place_by_accident_is_refused(folder: Path) -> None:
    for name, text in (
        ("ssl.py", ""),
        ("umqtt/robust.py", "import os\n"),
        ("asyncio.py", "x = 1\n"),
        ("lib/time.py", "def now(): pass\n"),
        ("socket/__init__.py", "PLUG = 1\n"),
    ):
        write(folder / name, text)
        place = name.replace("robust.py", "").replace("__init__.py", "")
        module = place.removeprefix("lib/").removesuffix(".py").rstrip("/")
        refused(folder, f"{place} takes the place of the module {module}", f"rename {place}")
        assert any(place in words for words in made(folder, force=True).warnings)
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ssl.py", "from tls import *\ndef wrap_socket(s): return s\n"),
        ("umqtt/simple.py", "class MQTTClient: pass\n"),
        ("lib/time.py", "from utime import *\n"),
        ("asyncio/__init__.py", "_attrs = {'create_task': 'core'}\n"),
        ("notes/asyncio.py", ""),
        ("lib/ssl.py", ""),
        ("data/socket/readme.txt", ""),
        ("socket/readme.txt", ""),
    ],
)
def test_a_replacement_made_on_purpose_is_packed(folder: Path, name: str, text: str) -> None:
    write(folder / name, text)
    assert made(folder).warnings == ()


def test_a_module_that_lies_over_a_frozen_one_is_named(folder: Path) -> None:
    write(folder / "espnow.py")
    write(folder / "ssl.py", "class SSLContext: pass\n")
    assert list(made(folder, firmware()).warnings) == [
        "espnow.py takes the place of the module espnow that the firmware brings",
        "ssl.py takes the place of the module ssl that the firmware brings",
    ]
    assert made(folder).warnings == ()


@pytest.mark.parametrize("name", ["ota/__init__.py", "ota/agent.py", "ota.py", "lib/ota/update.py"])
def test_another_library_called_ota_is_not_the_agent(folder: Path, name: str) -> None:
    shutil.rmtree(folder / "ota")
    write(folder / name, "def flash(port): return port\n")
    place = name.rpartition("/")[0] + "/" if "/" in name else name
    refused(folder, f"{place} is not this project's agent", "rename")
    refused(folder, f"{place} is not this project's agent", agent=False)
    assert any(place in words for words in made(folder, force=True).warnings)


def test_an_agent_in_lib_is_the_agent(folder: Path) -> None:
    (folder / "lib").mkdir()
    (folder / "ota").rename(folder / "lib/ota")
    found = made(folder)
    assert not any(path.startswith("ota/") for path in found.files)
    assert (found.notes, found.warnings) == ((), ())
    shutil.rmtree(folder / "lib/ota")
    for path, data in agent.compiled(()).items():
        write(folder / "lib" / path, data)
    assert made(folder).notes == ()


def test_a_link_that_is_another_module_is_refused_where_the_projects_is_wanted(
    folder: Path,
) -> None:
    write(folder / "link.py", "RADIO = 1\n")
    (warning,) = made(folder).warnings
    assert warning.startswith("link.py is not this project's MQTT link")
    write(folder / "pump.py", "from link import Link\n")
    refused(folder, "link.py is not this project's MQTT link", "rename link.py")
    write(folder / "link.py", "from other import Link\n")
    write(folder / "other.py", "class Link: pass\n")
    assert made(folder).warnings == ()


def test_a_module_called_reserve_is_named(folder: Path) -> None:
    write(folder / "reserve.py", "")
    (warning,) = made(folder).warnings
    assert "reserve.py" in warning


def test_a_module_beside_a_folder_of_its_name_is_named(folder: Path) -> None:
    for name in ("pump/data.txt", "main/data.txt"):
        write(folder / name)
    (warning,) = made(folder).warnings
    assert warning == "pump.py is never imported, because the folder pump/ comes first"


IMPORTS = """
import sys, machine, utime, os.path
import pump as p, umqtt.simple
import inc
from ota import Agent
from . import nothing
try:
    import maybe
except ImportError:
    pass
if sys.platform == "linux":
    import simulator
import {}
"""


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("pumps", True),
        ("inc", False),
        ("asyncio", False),
        ("lvgl", False),
        ("sen.sor", True),
        ("umqtt.robust", True),
        ("inc.inner", True),
        ("logging", True),
    ],
)
def test_an_import_that_nothing_satisfies_is_refused_with_its_place(
    folder: Path, name: str, missing: bool
) -> None:
    write(folder / "inc/__init__.py")
    write(folder / "main.py", IMPORTS.format(name))
    known = firmware(more=b"q\0lvgl\0")
    if not missing:
        assert made(folder, known).warnings == ()
        return
    refused(folder, f"main.py, line 13: no module {name} is in", "the firmware", known=known)
    assert len(made(folder, known, force=True).warnings) == 1
    assert made(folder, known, elsewhere=(name.split(".")[0],)).warnings == ()


def test_without_the_firmware_micropythons_own_builds_are_what_is_known(folder: Path) -> None:
    write(folder / "main.py", "import umqtt.robust, dht, requests, asyncio.stream, pump\n")
    assert made(folder).warnings == ()
    write(folder / "main.py", "import pump, numpy\n")
    refused(folder, "main.py, line 1: no module numpy is in the application or MicroPython")


def test_imports_are_followed_through_the_applications_own_modules(folder: Path) -> None:
    write(folder / "drivers/__init__.py", "from . import valve\n")
    write(folder / "drivers/valve.py", "from .bus import Bus\n")
    write(folder / "pump.py", "import drivers\nx = 1\n")
    refused(folder, "drivers/valve.py, line 1: no module drivers.bus")
    write(folder / "drivers/bus.py", "class Bus: pass\nimport typing\n")
    refused(folder, "drivers/bus.py, line 2: no module typing")
    write(folder / "drivers/bus.py", "class Bus: pass\n")
    write(folder / "tests/test_pump.py", "import pytest\n")
    assert made(folder).warnings == ()
    write(folder / "selftest.py", "import checks\n")
    refused(folder, "selftest.py, line 1: no module checks")


def test_an_import_that_comes_later_is_a_warning(folder: Path) -> None:
    write(folder / "pump.py", "def later():\n    import much_later\n")
    (warning,) = made(folder).warnings
    assert "pump.py, line 2 imports much_later" in warning


def test_the_first_place_that_has_a_package_decides_about_all_of_it(folder: Path) -> None:
    """The order is: the application, the frozen modules, lib/."""
    write(folder / "main.py", "import umqtt.simple\n")
    write(folder / "umqtt/robust.py", "class MQTTClient: pass\n")
    refused(folder, "no module umqtt.simple", known=firmware())
    shutil.rmtree(folder / "umqtt")
    write(folder / "lib/umqtt/robust.py", "class MQTTClient: pass\n")
    assert made(folder, firmware()).warnings == ()
    write(folder / "main.py", "import umqtt.robust\n")
    refused(folder, "no module umqtt.robust", known=firmware())


def test_a_module_in_lib_is_found_from_main(folder: Path) -> None:
    write(folder / "main.py", "import pump, valve, tank, umqtt.simple\n")
    for name in ("lib/valve.py", "lib/tank/__init__.py", "lib/umqtt/simple.py"):
        write(folder / name)
    assert made(folder, firmware()).warnings == ()
    (folder / "lib/valve.py").unlink()
    refused(folder, "main.py, line 1: no module valve", known=firmware())
    write(folder / "main.py", "import sys\nsys.path.append('drivers')\nimport valve\n")
    assert made(folder, firmware()).warnings == ()


def test_nothing_is_said_about_the_demo_and_the_projects_own_agent() -> None:
    known = image.application(simulated(modules={"umqtt/simple.mpy": b""}))
    assert made(ROOT / "firmware", known).warnings == ()


# Frozen modules


@pytest.mark.parametrize("at", range(4))
def test_the_frozen_modules_are_found_in_the_image(at: int) -> None:
    """`at`: how far letters before the table reach into its neighbour."""
    data = app(text=bytes(8) + b"AAAA"[:at].rjust(4, b"\0") + table(FROZEN)[4:])
    assert frozen.names(data) == FROZEN
    assert frozen.modules(FROZEN) == {"espnow", "_boot", "asyncio", "ssl", "umqtt"}


def test_other_lists_of_names_are_no_frozen_modules() -> None:
    strings = b"".join(f"{name}\0".encode() for name in ("a.py", "b.py", "c/d.py")) + b"\0"
    assert frozen.names(app(text=strings)) == []
    assert frozen.names(app(text=strings + bytes(-len(strings) % 4) + table(FROZEN))) == FROZEN
    assert frozen.names(app()) == []
    assert frozen.names(b"") == []


def test_the_modules_of_a_simulated_image_are_found() -> None:
    data = simulated("no_wifi", modules={"umqtt/simple.mpy": bytes(300), "app.py": b""})
    assert sorted(frozen.names(data)) == ["_boot.py", "app.py", "umqtt/simple.mpy"]
    assert frozen.names(simulated()) == []


def test_a_module_in_c_is_known_by_its_name_in_the_image() -> None:
    known = imports.Firmware(app(text=b"\0ulab\0"))
    assert known.may_have("ulab")
    assert not known.may_have("uclab")


def test_a_file_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    refused(folder, "cannot read the folder", "Permission denied")


def test_the_same_folder_makes_the_same_archive(folder: Path) -> None:
    assert made(folder).archive == made(folder).archive
    assert io.BytesIO(made(folder, compiled=True).archive).read(4) == b"link"

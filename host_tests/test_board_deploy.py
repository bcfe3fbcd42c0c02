"""`make deploy`: a running board gets what changed, and nothing while an image is under test."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bootloader
import nor
import pytest
from agent_bench import KEY, PRODUCT
from board_flashing import APPLICATION, make_fleet, move_agent_to_lib
from connected_board import (
    ACTIVATE,
    SETTINGS,
    Listener,
    begin_test,
    command,
    port,
    running_board,
)
from layout import FLASH_SIZE, OTADATA
from test_looking_inside import MAIN

from sim import filesystem, image
from sim.board import HARD, PWRON, SOFT, Board, firmware
from tools.paths import ROOT
from twinslot.board import deploy, files, running
from twinslot.board.cable import Cable, Raised
from twinslot.client.application import ApplicationError, Options, collect
from twinslot.formats import bundle, otadata, table
from twinslot.formats.component import firmware_content
from twinslot.formats.head import read_head
from twinslot.formats.trailer import write_trailer
from twinslot.trust import keys, signing

NEW, PENDING, VALID, INVALID, ABORTED = range(5)
RECORD = otadata.Record
GOOD = running.Running((1, 26, 1), image.TABLE, "ota_0", (RECORD(1, VALID), None), None, 100_000)


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "application", lambda **_: dict(APPLICATION))


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with somebody's application: MAIN, which the board runs already."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "main.py").write_bytes(MAIN)
    return folder


def judged(app: Path, *, force: bool = False) -> dict[str, bytes]:
    """The files of an application, as `fleet deploy` judges them."""
    options = Options(compiled=True, force=force, by_cable=True)
    return collect(app, options, chip=None).files


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    folder = tmp_path / "settings"
    folder.mkdir()
    for name, data in SETTINGS.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with running_board(tmp_path / "board") as board:
        yield board


def signed(directory: str) -> tuple[bytes, bytes]:
    """Return firmware 1.1.0 and the trailer that names its application's directory."""
    data = image.firmware(version="1.1.0", size=100_000)
    packed = signing.build([firmware_content(data)], KEY, PRODUCT, "1.1.0", 2, 1_790_000_000)
    return data, write_trailer([read_head(packed).record], directory)


def test_a_board_whose_application_came_over_the_air_gets_boot_py_and_settings_alone(
    tmp_path: Path, app: Path, settings: Path
) -> None:
    there = {f"/app_0{path}": data for path, data in APPLICATION.items() if path != "/boot.py"}
    there |= {"/app_0/main.py": MAIN, "/app_0/.files": b""}
    with running_board(tmp_path / "board", there) as board:
        board.stop()
        board.flash_firmware(0, *signed("app_0"))
        board.start()
        board.wait_console("main: runs 1.1.0", since=len(board.log_path.read_bytes()))
        (settings / "settings.json").write_bytes(SETTINGS["settings.json"] + b"\n")
        refused = command("deploy", port(board), "--app", app)
        assert refused.exit_code == 1
        assert "fleet send" in refused.output
        done = command("deploy", port(board), "--settings", settings, "--no-start")
        assert done.exit_code == 0, done.output
        assert "Only boot.py and settings: the application runs from /app_0" in done.output
        assert "1 files written" in done.output
        assert board.read_file("/app_0/main.py") == MAIN


def test_an_application_that_a_cable_put_into_a_directory_is_renewed_there(
    tmp_path: Path, app: Path, settings: Path
) -> None:
    there = files.in_directory(dict(APPLICATION), "app_0")
    flat = dict.fromkeys(("/main.py", "/ota/__init__.mpy", "/link.mpy"), b"")
    with running_board(tmp_path / "board", {**there, "/app_0/main.py": MAIN}) as board:
        board.stop()
        board.install(flat)
        board.flash_firmware(0, *signed("app_0"))
        older = files.compile_module(ROOT / "firmware/link.py", "older")
        board.install({"/app_0/link.mpy": older})
        board.start()
        board.wait_console("main: runs 1.1.0", since=len(board.log_path.read_bytes()))
        (app / "pump.py").write_text("RATE = 7\n")
        (settings / "settings.json").write_bytes(SETTINGS["settings.json"] + b"\n")
        done = command("deploy", port(board), "--app", app, "--settings", settings)
        assert done.exit_code == 0, done.output
        for line in ("new      /app_0/pump.mpy", "changed  /app_0/link.mpy"):
            assert f"  {line}  " in done.output
        assert "  changed  /etc/settings.json  " in done.output
        assert "3 files written" in done.output
        board.stop()
        assert board.read_file("/app_0/link.mpy") == APPLICATION["/link.mpy"]
        assert {path: board.read_file(path) for path in flat} == flat, "nobody imports these"


@pytest.mark.parametrize("directory", ["", "app_0"])
def test_an_agent_in_lib_is_renewed_there_and_nowhere_else(
    tmp_path: Path, app: Path, directory: str
) -> None:
    with running_board(tmp_path / "board") as board:
        board.stop()
        move_agent_to_lib(board)
        held = bundle.read(APPLICATION["/ota/bundle.mpy"])
        older = {**held.modules, "more": held.modules["errors"]}
        board.install({"/lib/ota/bundle.mpy": bundle.build(older, held.extensions)})
        if directory:
            board.install({"/app_0/main.py": MAIN, "/app_0/.files": b""})
            board.flash_firmware(0, *signed(directory))
        board.start()
        board.wait_console("main: runs 1.1.0", since=len(board.log_path.read_bytes()))
        options = [] if directory else ["--app", app]
        done = command("deploy", port(board), *options)
        assert done.exit_code == 0, done.output
        assert ("Only boot.py, the agent in /lib and settings: " in done.output) == bool(directory)
        assert "  changed  /lib/ota/bundle.mpy  " in done.output
        assert "1 files written" in done.output
        board.stop()
        assert "ota" not in board.list_files("/")
        assert board.read_file("/lib/ota/bundle.mpy") == APPLICATION["/ota/bundle.mpy"]


# -- what has to be done, pure ---------------------------------------------------------------------


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_what_differs_is_written_and_what_is_equal_stays() -> None:
    wanted = {"/a.mpy": b"a", "/b.mpy": b"b", "/etc/c.json": b"c"}
    there = {"/a.mpy": sha(b"a"), "/b.mpy": sha(b"older"), "/etc/c.json": None}
    changes = deploy.compare(wanted, there)
    assert changes.write == {"/b.mpy": b"b", "/etc/c.json": b"c"}
    assert (set(changes.new), changes.remove, changes.same) == ({"/etc/c.json"}, [], 1)
    assert not deploy.compare(wanted, {path: sha(data) for path, data in wanted.items()})


@pytest.mark.parametrize(
    ("ours", "theirs"), [("/ota/a.mpy", "/ota/a.py"), ("/ota/a.py", "/ota/a.mpy")]
)
def test_the_other_form_of_a_module_is_removed(ours: str, theirs: str) -> None:
    assert theirs in deploy.others([ours])
    changes = deploy.compare({ours: b"x"}, {ours: sha(b"x"), theirs: sha(b"y")})
    assert (changes.write, changes.remove) == ({}, [theirs])
    assert changes


def test_nothing_else_is_ever_removed() -> None:
    wanted = {"/main.py": b"m", "/etc/trusted_keys.pem": b"k", "/both.py": b"1", "/both.mpy": b"2"}
    assert deploy.others(wanted) == ["/main.mpy"]
    assert deploy.leftovers(wanted) == [path + ".new" for path in wanted]
    assert deploy.leftovers(["/a", "/a.new"]) == ["/a.new.new"]


def test_an_application_takes_the_place_of_the_demos(app: Path, settings: Path) -> None:
    (app / "lib").mkdir()
    (app / "lib/pump.py").write_text("RATE = 7\n")
    (app / "link.py").write_text("def connect():\n    pass\n")
    (app / "logo.bin").write_bytes(b"\x00\x01")
    (app / "__pycache__").mkdir()
    (app / "__pycache__/pump.pyc").write_bytes(b"no")
    (app / ".hidden").write_bytes(b"no")
    found = deploy.wanted(settings, judged(app))
    own = {"/main.py", "/lib/pump.mpy", "/link.mpy", "/logo.bin"}
    assert set(found) == set(APPLICATION) | own | {f"/etc/{name}" for name in SETTINGS}
    assert found["/main.py"] == MAIN
    assert found["/boot.py"] == APPLICATION["/boot.py"]
    assert found["/lib/pump.mpy"] == files.compile_module(app / "lib/pump.py", "lib/pump.py")
    assert found["/link.mpy"] != APPLICATION["/link.mpy"]
    (app / "lib/pump.mpy").write_bytes(b"M\x06")
    with pytest.raises(
        ApplicationError, match=r"lib/pump.py': the module is there as .py and as .mpy"
    ):
        judged(app)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("pump.py", "def f(:\n", "pump.py, line 1 does not compile: SyntaxError"),
        ("main.py", "import absent\n", "main.py, line 1: no module absent is in the application"),
        ("asyncio.py", "x = 1\n", "asyncio.py"),
        ("spare.pem", None, "spare.pem holds a private key"),
        ("boot.py", "x = 1\n", "boot.py"),
    ],
)
def test_what_pack_refuses_deploy_refuses_in_the_same_words_before_a_port_is_opened(
    tmp_path: Path, app: Path, name: str, text: str | None, words: str
) -> None:
    if text is None:
        keys.write_private(keys.generate(), app / name)
    else:
        (app / name).write_text(text)
    refused = command("deploy", "/dev/no-such-port", "--app", app)
    assert refused.exit_code == 1
    assert words in refused.stderr
    make_fleet(tmp_path)
    packed = command(
        f"--config {tmp_path}/fleet.toml pack",
        *("--app", app, "--version", "1", "-o", tmp_path / "x.ota"),
    )
    assert packed.stderr == refused.stderr
    adopted = command("adopt", "/dev/no-such-port", "--app", app)
    assert adopted.stderr == refused.stderr


def test_what_stays_at_home_is_said_and_force_turns_a_refusal_into_a_warning(app: Path) -> None:
    (app / ".otaignore").write_text("notes.txt\n")
    (app / "notes.txt").write_text("not for boards\n")
    (app / "main.py").write_text("import absent\n")
    forced = command("deploy", "/dev/no-such-port", "--app", app, "--force")
    assert "left out by .otaignore: notes.txt" in forced.stdout
    assert "warning: main.py, line 1: no module absent" in forced.stdout
    assert "/dev/no-such-port" in forced.stderr


# -- whether the board may be changed, pure --------------------------------------------------------


def without(*labels: str) -> table.Table:
    return tuple(row for row in image.TABLE if row.label not in labels)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": (1, 21, 0)}, "the board runs MicroPython 1.21.0; the agent needs 1.22"),
        ({"table": without("otadata")}, "has no otadata: it cannot"),
        ({"table": without("ota_1")}, "has 1 OTA slot of two: it cannot"),
        (
            {"table": without("otadata", "ota_0", "ota_1")},
            "has no otadata, no OTA slots of two: it cannot be updated over the air. `fleet flash`",
        ),
        ({"table": without("vfs"), "version": (1, 25, 0)}, "no vfs, which MicroPython 1.25.0"),
        ({"free": None}, "no file system mounted"),
        ({"encrypted": True}, "flash encryption is on: .* its own tools"),
    ],
)
def test_a_board_that_cannot_be_updated_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(running.UnfitError, match=words):
        running.check(dataclasses.replace(GOOD, **changes))


def test_a_board_that_can_be_updated_is_taken() -> None:
    running.check(GOOD)
    running.check(dataclasses.replace(GOOD, table=without("vfs")))  # 1.26 has one at run time
    running.check(dataclasses.replace(GOOD, version=(1, 22, 0), records=(None, None)))


@pytest.mark.parametrize("state", [NEW, PENDING])
def test_a_pending_image_is_refused_with_the_seconds_left(state: int) -> None:
    board = dataclasses.replace(GOOD, records=(RECORD(1, VALID), RECORD(2, state)), left_s=42)
    with pytest.raises(running.PendingError, match=r"under test .*\(ota_0 runs, 42 s left\)"):
        running.check(board)
    with pytest.raises(running.PendingError, match=r"\(ota_0 runs\): nothing may change"):
        running.check(dataclasses.replace(board, left_s=None))


def test_another_micropython_is_no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(*_: object) -> None:
        raise Raised("Traceback:\r\nImportError: no module named 'esp32'\r\n")

    monkeypatch.setattr(Cable, "evaluate_output", elsewhere)
    sentence = pytest.raises(running.UnfitError, match="not on an ESP32")
    with Listener() as board, Cable(board.port) as cable, sentence:
        running.look(cable)


def test_otadata_is_read_as_the_bootloader_reads_it() -> None:
    flash = nor.Nor(io.BytesIO(b"\xff" * FLASH_SIZE), FLASH_SIZE)
    for first in (0, 1, 2, 7):
        for second in (0, 1, 2, 7):
            for states in [(a, b) for a in range(5) for b in range(5)]:
                for sector, sequence in enumerate((first, second)):
                    flash.erase(OTADATA[3] // 4096 + sector)
                    if sequence:
                        bootloader.write_record(flash, sector, sequence, states[sector])
                expected = bootloader.records(flash)
                raw = bytearray(32), bytearray(32)
                for sector in (0, 1):
                    flash.read(OTADATA[3] + sector * 4096, raw[sector])
                found = [otadata.parse(bytes(record)) for record in raw]
                assert [r and (r.sequence, r.state) for r in found] == expected
                index = bootloader.active(expected)
                active = otadata.active(found)
                if index is None:
                    assert active is None
                else:
                    assert active is not None
                    assert (active.sequence, active.slot(2)) == (
                        expected[index][0],
                        bootloader.slot_of(expected[index]),
                    )
    raw[0][0] ^= 1
    assert otadata.parse(bytes(raw[0])) is None


# -- onto a board ----------------------------------------------------------------------------------


def test_a_board_gets_what_changed_restarts_and_then_lacks_nothing(
    tmp_path: Path, app: Path, settings: Path
) -> None:
    older = {
        "/link.py": (ROOT / "firmware/link.py").read_bytes(),  # would hide link.mpy
        "/main.py": MAIN + b"# older\n",
    }
    with running_board(tmp_path / "board", older) as board:
        done = command("deploy", port(board), "--app", app, "--settings", settings)
        assert done.exit_code == 0
        assert done.stdout.splitlines() == [
            f"  changed  /main.py  {len(MAIN)} bytes",
            "  removed  /link.py",
            f"1 files written ({len(MAIN)} bytes), {len(APPLICATION) + 1} unchanged, 1 removed; "
            "checked by SHA-256 on the board.",
            "The board restarts.",
        ]
        assert board.wait_boots(2) == (0, HARD)
        at = board.wait_console("main: runs", since=board.wait_console("main: runs"))
        done = command("deploy", port(board), "--app", app, "--settings", settings)
        assert done.exit_code == 0
        assert done.stdout.startswith("0 files written (0 bytes)")
        board.wait_console("main: runs", since=at)  # what was stopped for it runs again
        assert board.boots == [(0, PWRON), (0, HARD), (0, SOFT)]
        board.stop()
        assert board.read_file("/main.py") == MAIN
        assert "link.py" not in board.list_files("/")


def test_an_older_agent_of_many_files_is_replaced_by_one_and_leaves_nothing(
    tmp_path: Path, app: Path, settings: Path
) -> None:
    """As plain modules it takes most of the file system; nobody would import them any more."""
    with running_board(tmp_path / "board") as board:
        board.stop()
        plain = files.compile_module(ROOT / "firmware/ota/__init__.py", smallest=True)
        held = bundle.read(APPLICATION["/ota/bundle.mpy"])
        older = {f"/ota/{name}.mpy": data for name, data in held.modules.items()}
        with filesystem.mounted(board.flash_path, write=True) as fs:
            fs.remove("/ota/bundle.mpy")
        board.install({**older, "/ota/__init__.mpy": plain, "/ota/mine.txt": b"mine"})
        board.start()
        board.wait_console("main: runs", since=len(board.log_path.read_bytes()))
        done = command("deploy", port(board), "--app", app, "--settings", settings)
        assert done.exit_code == 0, done.output
        assert "  new      /ota/bundle.mpy  " in done.output
        assert f", {len(older)} removed; checked" in done.output
        board.wait_boots(2)
        at = board.wait_console("main: runs", since=board.wait_console("main: runs"))
        done = command("deploy", port(board), "--app", app, "--settings", settings)
        assert "Nothing to do" in done.output
        board.wait_console("main: runs", since=at)
        board.stop()
        assert sorted(board.list_files("/ota")) == ["__init__.mpy", "bundle.mpy", "mine.txt"]


def test_an_agent_of_ones_own_takes_the_place_of_ours_and_of_its_bundle(
    tmp_path: Path, app: Path, settings: Path
) -> None:
    (app / "ota").mkdir()
    (app / "ota/__init__.py").write_text("WHOSE = 'mine'\n")
    found = deploy.wanted(settings, judged(app, force=True))
    assert [path for path in found if path.startswith("/ota/")] == ["/ota/__init__.mpy"]
    there = {path: sha(data) for path, data in (APPLICATION | found).items()}
    changes = deploy.compare(found, there, ["/ota/__init__.mpy", "/ota/bundle.mpy"])
    assert (changes.write, changes.remove) == ({}, ["/ota/bundle.mpy"])


def test_a_deploy_during_a_test_is_refused_and_the_test_goes_on(board: Board, app: Path) -> None:
    at = begin_test(board)
    (app / "more.py").write_text("x = 1\n")
    done = command("deploy", port(board), "--app", app)
    assert done.exit_code != 0
    assert "a new image is under test on the board" in done.stderr
    assert 0 < int(done.stderr.partition(" s left")[0].rpartition(" ")[2]) < 12
    at = board.wait_console("boot: image under test, ", since=at)
    board.wait_console("main: runs 1.0.0", since=at)  # the application is asked again, ...
    with Cable(port(board)) as cable:
        assert cable.execute("import ota\nota.accept()") == "Accepted: version 1.0.0 stays.\n"
        assert cable.hashes(["/more.mpy"]) == {"/more.mpy": None}
    assert board.otadata() == [(1, VALID), (2, VALID)]  # ... and can still accept
    assert board.boots == [(0, PWRON), (1, HARD), (1, SOFT)]


@pytest.mark.slow
def test_a_refused_deploy_does_not_prolong_a_test(board: Board, app: Path) -> None:
    at = begin_test(board)
    for _ in range(3):
        done = command("deploy", port(board), "--app", app)
        assert "a new image is under test on the board" in done.stderr
        at = board.wait_console("main: runs 1.0.0", since=at)
    board.wait_console("boot: the deadline has passed", since=at)
    board.wait_console("main: runs 1.1.0", since=at)
    assert board.boots == [(0, PWRON), (1, HARD), *[(1, SOFT)] * 3, (0, HARD)]
    assert board.otadata() == [(1, VALID), (2, ABORTED)]


@pytest.mark.slow
@pytest.mark.parametrize("in_lib", [False, True])
def test_a_plus_brings_an_extension_beside_those_that_are_on_the_board(
    board: Board, monkeypatch: pytest.MonkeyPatch, in_lib: bool
) -> None:
    """The command that the board's sentence names takes nothing off: not what nobody asks for."""
    asked: list[tuple[str, ...]] = []

    def application(*, chosen: tuple[str, ...]) -> dict[str, bytes]:
        asked.append(chosen)
        return dict(APPLICATION)

    monkeypatch.setattr(files, "application", application)
    board.stop()
    if in_lib:
        move_agent_to_lib(board)
    place = "/lib/ota/bundle.mpy" if in_lib else "/ota/bundle.mpy"
    held = bundle.read(APPLICATION["/ota/bundle.mpy"])
    board.install({place: bundle.build(held.modules, ("console", "http", "raw"))})
    board.start()
    board.wait_console("main: runs 1.1.0", since=len(board.log_path.read_bytes()))
    done = command("deploy", port(board), "--extensions", "+json", "--no-start")
    assert done.exit_code == 0, done.output
    assert asked[-1] == ("console", "http", "json", "raw", "wide")


def test_an_activated_image_is_not_started_by_a_deploy(board: Board, app: Path) -> None:
    with Cable(port(board)) as cable:
        cable.execute(ACTIVATE)
    (app / "more.py").write_text("x = 1\n")
    done = command("deploy", port(board), "--app", app)
    assert "about to be (ota_0 runs)" in done.stderr
    assert board.boots == [(0, PWRON)]
    assert board.otadata() == [(1, VALID), (2, NEW)]


def test_a_folder_in_the_place_of_a_file_is_named(board: Board, app: Path) -> None:
    board.stop()
    board.install({"/gauge.mpy/data.txt": b"mine"})
    (app / "gauge.py").write_text("LEVEL = 1")
    board.start()
    board.wait_console("main: runs", since=len(board.log_path.read_bytes()))
    done = command("deploy", port(board), "--app", app)
    assert done.exit_code == 1
    assert "/gauge.mpy" in done.output
    board.wait_console("main: runs", since=board.wait_console("main: runs"))


def test_files_that_find_no_room_change_nothing(board: Board, app: Path) -> None:
    (app / "big.bin").write_bytes(bytes(600_000))
    done = command("deploy", port(board), "--app", app)
    assert done.exit_code != 0
    assert "588 KB are needed beside the files on the board, " in done.stderr
    board.wait_boots(2)
    board.stop()
    assert board.boots == [(0, PWRON), (0, SOFT)]
    assert "big.bin" not in board.list_files("/")


def test_what_a_broken_deployment_left_does_not_take_the_room_of_the_next(
    tmp_path: Path, app: Path
) -> None:
    with running_board(tmp_path / "board") as board:
        with Cable(port(board)) as cable:
            free = running.look(cable).free
        assert free
        board.stop()
        board.install({"/boot.py.new": os.urandom(free - 40_000)})
        board.start()
        board.wait_console("main: runs", since=len(board.log_path.read_bytes()))
        (app / "big.bin").write_bytes(os.urandom(60_000))
        done = command("deploy", port(board), "--app", app)
        assert done.exit_code == 0, done.output
        board.stop()
        assert not [name for name in board.list_files("/") if name.endswith(".new")]
        assert board.read_file("/big.bin") == (app / "big.bin").read_bytes()


def test_a_deploy_that_is_ended_by_ctrl_c_leaves_nothing(
    board: Board, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (app / "big.bin").write_bytes(bytes(20_000))
    execute = Cable.execute

    def interrupted(self: Cable, code: str, timeout: float = 10) -> str:
        if code.startswith("_file.write"):
            monkeypatch.undo()
            self.stream.write(b"print('half of a com")
            raise KeyboardInterrupt
        return execute(self, code, timeout)

    monkeypatch.setattr(Cable, "execute", interrupted)
    assert command("deploy", port(board), "--app", app).exit_code == 130
    board.wait_boots(2)
    board.stop()
    assert board.boots == [(0, PWRON), (0, SOFT)]  # what ran there runs again
    assert not [name for name in board.list_files("/") if "big.bin" in name]


@pytest.mark.slow
def test_a_board_that_resets_while_files_are_sent_is_said_to_have_a_watchdog_perhaps(
    board: Board, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (app / "more.py").write_text("x = 1\n")
    monkeypatch.setattr(Cable, "_send", lambda *_: board.reset())
    done = command("deploy", port(board), "--app", app)
    assert done.exit_code == 1
    assert "stopped answering" in done.stderr
    assert "watchdog (machine.WDT), it resets the chip while the application is st" in done.stderr


# Other flash than the simulated chip has: until the next soft reset, which no refusal makes.
PLAIN_TABLE = """
from esp32 import Partition
_find = Partition.find
def find(type=0, subtype=255, label=None, block_size=4096):
    every = _find(type, subtype, label, block_size)
    return [part for part in every if part.info()[4] not in ("otadata", "ota_1")]
Partition.find = staticmethod(find)
"""
ENCRYPTED = """
from esp32 import Partition
_info = Partition.info
Partition.info = lambda self: _info(self)[:5] + (self._row[1] == 0,)
"""


@pytest.mark.parametrize(
    ("flash", "words"),
    [
        (PLAIN_TABLE, "table has no otadata, 1 OTA slot of two: it cannot be updated over the air"),
        (ENCRYPTED, "flash encryption is on"),
    ],
    ids=["plain table", "encrypted"],
)
def test_a_board_that_cannot_be_updated_is_left_unwritten(
    board: Board, app: Path, settings: Path, flash: str, words: str
) -> None:
    (app / "main.py").write_bytes(MAIN + b"# newer\n")
    (app / "more.py").write_text("x = 1\n")
    with Cable(port(board)) as cable:
        cable.execute(flash)
    before = board.flash_path.read_bytes()
    done = command("deploy", port(board), "--app", app, "--settings", settings)
    assert done.exit_code == 1
    assert words in done.stderr
    assert board.flash_path.read_bytes() == before
    assert board.boots == [(0, PWRON)]


@pytest.mark.slow
def test_a_lost_connection_leaves_the_old_files(
    board: Board, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (app / "main.py").write_bytes(MAIN + b"# newer\n")
    (app / "more.py").write_text("x = 1\n")
    monkeypatch.setattr(Cable, "replace", lambda *_: board.stop())
    command("deploy", port(board), "--app", app)
    assert board.read_file("/main.py") == MAIN
    assert "more.mpy" not in board.list_files("/")
    monkeypatch.undo()
    monkeypatch.setattr(files, "application", lambda **_: dict(APPLICATION))
    board.start()
    board.wait_boots(2)
    done = command("deploy", port(board), "--app", app, "--no-start")
    assert done.exit_code == 0, done.stderr
    assert "main.py is stopped" in done.stdout
    board.stop()
    assert board.read_file("/main.py") == MAIN + b"# newer\n"
    assert not [name for name in board.list_files("/") if name.endswith(".new")]


@pytest.mark.slow
def test_a_board_with_nothing_but_micropython_gets_everything(
    tmp_path: Path, settings: Path
) -> None:
    with Board(tmp_path / "board", interpreter="micropython") as board:
        board.flash_firmware(0, firmware(version="1.0.0"))
        board.start()
        board.wait_console(">>> ")
        done = command("deploy", port(board), "--settings", settings)
        assert done.exit_code == 0, done.stderr
        count = len(APPLICATION) + len(SETTINGS)
        assert f"\n{count} files written" in done.stdout
        board.wait_console("main: setting broker.host is missing")  # it runs
        board.stop()
        for path, data in APPLICATION.items():
            assert board.read_file(path) == data

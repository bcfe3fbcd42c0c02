"""Boards of earlier releases take today's agent over the air, and go back to theirs.

Each board of host_tests/boards is the flash of one as its release made it (tools/kept_board.py).
boot.py stays the release's own, whatever agent comes.
"""

from __future__ import annotations

import hashlib
import lzma
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from link_fixtures import need

from demo.children import wait_for
from demo.stack import SSID, THING, Stack
from sim.board import Board
from tools import kept_board
from twinslot import __version__
from twinslot.board import files
from twinslot.firmware import extensions

DEFAULT = extensions.asked_for({})
# SHA-256 of each board that is kept. A release adds its own line.
KEPT = {
    "0.2.0": "61b2cfb66d64edb0df87587d6e15f18e998551b989552aee6bfc8f667537d65d",
}
AGENT = ("link.mpy", "ota/__init__.mpy", "ota/bundle.mpy")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    need("micropython")
    need("mosquitto")
    with Stack(tmp_path / "stack", interpreter="micropython") as found:
        yield found


def delivered(stack: Stack, release: str) -> Board:
    """Return a board as its release made it, with settings of this run."""
    board = Board(stack.folder / THING, interpreter="micropython", ssid=SSID)
    board.flash_path.write_bytes(lzma.decompress(kept_board.path(release).read_bytes()))
    settings = stack.settings_folder(THING)
    board.install({f"/etc/{path.name}": path.read_bytes() for path in settings.iterdir()})
    return board


def carry_out(stack: Stack, package: Path) -> dict[str, str]:
    """Publish a package, wait for its end. Returns the end and its details."""
    job = stack.publish(package)
    wait_for(lambda: stack.finished(job), f"the end of {job}", timeout=90)
    execution = stack.execution(job)
    return {"status": execution["status"], **execution["statusDetails"]}


def agent_in(board: Board, directory: str) -> dict[str, bytes]:
    """Return the files of the agent below a directory of the board."""
    return {name: board.read_file(f"/{directory}/{name}") for name in AGENT}


def test_a_version_is_one_of_development_or_has_the_bytes_of_its_kept_board() -> None:
    """`python -m tools.kept_board` makes it, before the release; after it the version is raised."""
    if kept_board.DEVELOPMENT not in __version__:
        assert kept_board.differing(__version__) == []


def test_boot_py_has_another_version_than_each_release_whose_boot_py_was_another() -> None:
    """It is never updated over the air, and boards report its version."""
    now = files.application(chosen=DEFAULT)["/boot.py"]
    for release in kept_board.versions():
        before = kept_board.files(kept_board.kept(release))["/boot.py"]
        same = version_of(before) == version_of(now)
        assert same == (before == now), f"raise VERSION of boot.py: {release} had other bytes"


def version_of(boot: bytes) -> bytes:
    """Return VERSION of a boot.py."""
    (found,) = re.findall(rb'^VERSION ?= ?"([^"]+)"', boot, re.MULTILINE)
    return bytes(found)


@pytest.mark.parametrize("release", kept_board.versions())
def test_the_board_of_a_release_never_changes(release: str) -> None:
    kept = kept_board.path(release).read_bytes()
    assert hashlib.sha256(kept).hexdigest() == KEPT[release]


def test_a_board_is_kept_once_and_for_a_release_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_board, "FOLDER", tmp_path / "boards")
    path = kept_board.keep("9.0.0", lambda: b"flash")
    assert kept_board.kept("9.0.0") == b"flash"
    with pytest.raises(kept_board.KeptError, match=r"9\.0\.0 is kept and stays"):
        kept_board.keep("9.0.0", lambda: b"other")
    with pytest.raises(kept_board.KeptError, match=r"9\.1\.0\.dev0 is no release"):
        kept_board.keep("9.1.0.dev0", lambda: b"other")
    assert list((tmp_path / "boards").iterdir()) == [path]
    assert kept_board.kept("9.0.0") == b"flash"


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("release", kept_board.versions())
def test_a_board_of_a_release_takes_todays_agent_and_goes_back_to_its_own(
    stack: Stack, release: str
) -> None:
    today = {path[1:]: data for path, data in files.application(chosen=DEFAULT).items()}
    with delivered(stack, release) as board:
        boot_py = board.read_file("/boot.py")
        of_the_release = agent_in(board, "app_0")
        board.start()
        board.wait_console("State: Ready")

        done = carry_out(stack, stack.pack("2.0.0", 2, application={"app.py": "number = 2\n"}))
        assert done["status"] == "SUCCEEDED", done
        assert board.boots[-1][0] == 1
        assert agent_in(board, "app_1") == {name: today[name] for name in AGENT}

        # Today's agent under the release's boot.py: a bad application ends at once, and is told.
        bad = {"app.py": "raise ValueError('no lamp')\n"}
        done = carry_out(stack, stack.pack("2.1.0", 3, application=bad, firmware=False))
        assert done["status"] == "FAILED"
        assert done["cause"] == "crash"
        assert "no lamp" in done["detail"]
        assert board.boots[-1][0] == 1

        folder = stack.application_folder("application-2.2.0", {"app.py": "number = 3\n"})
        for name, data in of_the_release.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
        done = carry_out(stack, stack.pack("2.2.0", 4, application={}, firmware=False))
        assert done["status"] == "SUCCEEDED", done
        assert board.boots[-1][0] == 0
        assert agent_in(board, "app_0") == of_the_release

        # It reads what today's agent has written, and takes the next update.
        done = carry_out(stack, stack.pack("2.3.0", 5, application={"app.py": "number = 4\n"}))
        assert done["status"] == "SUCCEEDED", done
        assert board.boots[-1][0] == 1
        assert board.read_file("/boot.py") == boot_py

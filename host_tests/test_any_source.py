"""The same package from a file, a web server and through the cable: same checks, same test."""

from __future__ import annotations

import importlib
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_bench import KEY, PRODUCT, Chip, application, pack, tree
from chipboard import on_load
from click.testing import CliRunner
from connected_board import SETTINGS, port
from link_fixtures import need
from local_ca import LocalCA
from web_server import Server, serving

from sim import image
from sim.board import Board, application_files
from sim.build import CHIP
from twinslot.board.cable import Cable
from twinslot.board.send import SendError, send
from twinslot.cli.main import main as fleet
from twinslot.formats.head import read_head
from twinslot.trust import keys

if str(CHIP / "cpython") not in sys.path:
    sys.path.append(str(CHIP / "cpython"))


@pytest.fixture
def chip(tmp_path: Path) -> Chip:
    return Chip(tmp_path / "board")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


class Local:
    """A board on which the application calls `agent.install`; every reset is followed."""

    def __init__(self, chip: Chip, *, online: bool = True) -> None:
        self.chip = chip
        self.online = online
        self.failed: list[str] = []

    def install(self, source: Any, **settings: Any) -> None:
        """Install and let the board come to rest."""
        self.boot(**settings)
        self.chip.agent.install(source)
        while self.chip.step(20000) is not None:
            self.boot(**settings)

    def boot(self, **settings: Any) -> None:
        """Start the board; a broker is reached only when `online`."""
        chip = self.chip
        fails = self.failed

        def callback(event: str, detail: Any) -> None:
            if event == "Fail":
                fails.append(str(detail))
            chip.agent._default_callback(event, detail)

        settings.setdefault("retry_max_ms", 1000)
        while chip.boot(callback, **settings) is not None:
            pass
        # CPython's sockets lack MicroPython's stream methods.
        sockets: Any = importlib.import_module("cpython_sockets").socket
        on_load("http", lambda http: setattr(http, "socket", sockets))
        if not self.online:
            chip.agent._inbox.online, chip.agent._inbox.alone = False, True


@pytest.mark.parametrize("online", [True, False])
def test_a_file_is_installed_with_and_without_a_network(chip: Chip, online: bool) -> None:
    files = application("1.1.0")
    path = chip.folder / "x.ota"
    path.write_bytes(pack("1.1.0", 2, files, behaviour="good"))
    Local(chip, online=online).install(str(path))
    assert (chip.board.running, chip.entered) == (1, "app_0")
    assert tree(chip.folder / "app_0") == files
    assert chip.agent.image_state == 2
    newest = chip.agent.journal.history()[0]
    assert (newest["status"], newest["origin"], newest["job"]) == ("SUCCEEDED", "local", "")
    assert chip.service.updates == [], "no job, so nothing is told"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sequence": 1}, "sequence 1 already runs here"),
        ({"product": "another"}, "the package is for product another"),
        ({"key": keys.generate()}, "which this board does not trust"),
    ],
)
def test_a_file_is_checked_as_a_job_is(chip: Chip, changes: dict[str, Any], said: str) -> None:
    path = chip.folder / "x.ota"
    path.write_bytes(pack("1.1.0", **{"sequence": 2, "files": application("1.1.0"), **changes}))
    local = Local(chip)
    local.install(str(path))
    assert len(local.failed) == 1
    assert said in local.failed[0]
    assert chip.board.running == 0
    assert not (chip.folder / "app_0").exists()
    assert chip.agent.journal.history()[0]["status"] == "FAILED"


def test_a_failing_self_test_takes_a_local_update_back(chip: Chip) -> None:
    bad = application("1.1.0", more={"selftest.py": b"def run():\n    raise ValueError('no')\n"})
    path = chip.folder / "x.ota"
    path.write_bytes(pack("1.1.0", 2, bad))
    Local(chip).install(str(path))
    assert (chip.board.running, chip.entered) == (0, "")
    assert chip.agent.journal.history()[0]["cause"] == "self_test"


def test_a_file_that_is_missing_is_said_after_its_tries(chip: Chip) -> None:
    local = Local(chip)
    local.install(str(chip.folder / "none.ota"))
    assert len(local.failed) == 1
    assert "none.ota" in local.failed[0]
    assert chip.agent.journal.history()[0]["cause"] == "source"


def test_a_result_that_nobody_hears_keeps_no_file_from_being_installed(chip: Chip) -> None:
    chip.service.add("job-1", pack("1.1.0", 2, product="another", files=application("1.1.0")))
    chip.service.silent_updates = True
    chip.until_quiet()
    assert chip.agent.journal.result["status"] == "FAILED"
    path = chip.folder / "x.ota"
    path.write_bytes(pack("1.2.0", 3, application("1.2.0")))
    local = Local(chip, online=False)
    local.install(str(path))
    assert chip.agent.running == ("1.2.0", 3)
    assert chip.agent.image_state == 2
    chip.service.silent_updates = False
    chip.until_quiet()
    assert chip.service.status("job-1") == "FAILED"


def test_what_came_through_a_cable_and_broke_off_is_said_and_may_be_sent_again(
    chip: Chip,
) -> None:
    class Cable:
        """Breaks off in the middle, once."""

        def __init__(self, data: bytes, length: int) -> None:
            self.data = data
            self.size = len(data)
            self.length = length

        def read(self, offset: int, view: Any) -> int:
            if offset + len(view) > self.length:
                raise KeyboardInterrupt
            view[:] = self.data[offset : offset + len(view)]
            return len(view)

        def close(self) -> None:
            pass

    data = pack("1.1.0", 2, application("1.1.0"), behaviour="good")
    local = Local(chip, online=False)
    local.boot(checkpoint_blocks=2)
    chip.agent.install(Cable(data, 24_000))
    with pytest.raises(KeyboardInterrupt):
        chip.step(20000)
    local.boot()
    assert chip.step(20000) is None
    assert local.failed == ["what came through the cable is not complete; send it again"]
    local.install(Cable(data, len(data)))
    assert chip.agent.running == ("1.1.0", 2)


def test_a_job_that_comes_meanwhile_waits(chip: Chip) -> None:
    path = chip.folder / "x.ota"
    path.write_bytes(pack("1.1.0", 2, application("1.1.0")))
    local = Local(chip)
    local.boot()
    chip.agent.install(str(path))
    chip.service.add("job-1", pack("1.2.0", 3, application("1.2.0")))
    while chip.step(20000) is not None:
        local.boot()
    assert chip.service.status("job-1") == "SUCCEEDED"
    assert [entry["origin"] for entry in chip.agent.journal.history()] == ["job", "local"]
    assert chip.agent.running == ("1.2.0", 3)


def test_a_web_server_is_read_by_one_request(chip: Chip, server: Server) -> None:
    server.data = pack("1.1.0", 2, application("1.1.0"), behaviour="good")
    Local(chip).install(server.url)
    assert chip.agent.running == ("1.1.0", 2)
    assert server.requests == [("/x.ota", None)]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_is_taken_up_where_it_ended(
    chip: Chip, server: Server, ranges: bool
) -> None:
    server.data = pack("1.1.0", 2, application("1.1.0"), behaviour="good")
    server.ranges = ranges
    server.breaks_at = [10_000, 30_000]
    local = Local(chip)
    local.boot(request_ms=100)
    chip.agent.install(server.url)
    until_reset(chip)
    local.boot()
    assert chip.step(20000) is None
    assert chip.agent.running == ("1.1.0", 2)
    assert server.requests[0] == ("/x.ota", None)
    assert server.requests[1] == ("/x.ota", "bytes=8192-")
    assert len(server.requests) == 3


def until_reset(chip: Chip) -> None:
    """Step, in real time as the pauses between tries are, until the board resets."""
    deadline = time.monotonic() + 20
    while chip.step(20000) is None and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_power_cut_in_the_middle_goes_on_from_the_checkpoint(chip: Chip, server: Server) -> None:
    server.data = pack("1.1.0", 2, application("1.1.0"), behaviour="good")
    local = Local(chip)
    local.boot(checkpoint_blocks=2)
    chip.agent.install(server.url)
    for _ in range(60):
        chip.step(1)
        if chip.agent.progress and chip.agent.progress[0] >= 8:
            break
    assert chip.agent.journal.next > 8192
    local.boot()
    while chip.step(20000) is not None:
        local.boot()
    assert chip.agent.running == ("1.1.0", 2)
    taken_up = server.requests[-1][1]
    assert taken_up is not None
    assert int(taken_up[len("bytes=") : -1]) >= 8192


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"status": 404}, "the server answers 404"),
        ({"location": "ftp://elsewhere/x"}, "the server redirects to ftp://elsewhere/x"),
        ({"location": "/moved.ota"}, "the server answers 302"),
    ],
)
def test_a_server_that_refuses_is_said(
    chip: Chip, server: Server, knobs: dict[str, Any], said: str
) -> None:
    server.data = pack("1.1.0", 2, application("1.1.0"))
    for name, value in knobs.items():
        setattr(server, name, value)
    url = server.url.replace("x.ota", "moved.ota") if "location" in knobs else server.url
    local = Local(chip)
    local.install(url)
    assert len(local.failed) == 1
    assert said in local.failed[0]
    assert chip.board.running == 0


def test_a_redirect_is_followed(chip: Chip, server: Server) -> None:
    server.data = pack("1.1.0", 2, application("1.1.0"))
    server.location = "/x.ota"
    Local(chip).install(server.url.replace("x.ota", "moved.ota"))
    assert chip.agent.running == ("1.1.0", 2)


@pytest.mark.parametrize(
    ("place", "address"),
    [
        ("https://b/y.ota", "https://b/y.ota"),
        ("//b:81/y.ota", "http://b:81/y.ota"),
        ("/y.ota?z=/1", "http://a:80/y.ota?z=/1"),
        ("y.ota", "http://a:80/dir/y.ota"),
        ("sub/y.ota", "http://a:80/dir/sub/y.ota"),
    ],
)
def test_a_redirect_is_seen_from_the_address_that_was_asked(place: str, address: str) -> None:
    http: Any = importlib.import_module("ota.http")
    assert http._resolved(place, "http://a:80/dir/x.ota?key=/../e") == address


@pytest.mark.parametrize("base", ["http://a/x.ota", "http://a/", "http://a"])
def test_a_redirect_from_the_top_of_a_server_is_too(base: str) -> None:
    http: Any = importlib.import_module("ota.http")
    assert http._resolved("y.ota", base) == "http://a/y.ota"


# -- on real MicroPython, with its real littlefs ---------------------------------------------------

MAIN = b"""
import ota
from ota.agent import Agent
agent = Agent(None, "board-1", settings=ota.load_settings())
import time
print("main: runs", agent.running[0])
while True:
    agent.step()
    time.sleep_ms(5)
"""


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    need("micropython")
    with Board(tmp_path / "board", interpreter="micropython") as found:
        firmware = image.firmware(version="1.0.0", size=100_000)
        record = read_head(pack("1.0.0", 1, behaviour="good")).record
        found.flash_firmware(0, firmware, None)
        del record
        etc = {f"/etc/{name}": data for name, data in SETTINGS.items()}
        found.install({**application_files(), "/main.py": MAIN, **etc})
        found.start()
        found.wait_console("main: runs 0.0.0")
        yield found


def whole_application(version: str) -> dict[str, bytes]:
    """The agent and a main.py of this version, as an application."""
    files = {path[1:]: data for path, data in application_files().items() if path != "/boot.py"}
    return {**files, "main.py": MAIN, "version.txt": version.encode()}


def test_a_package_goes_through_the_cable_of_a_board_without_a_network(
    board: Board, tmp_path: Path
) -> None:
    files = whole_application("1.1.0")
    sent: list[int] = []
    with Cable(port(board)) as cable:
        version = send(cable, pack("1.1.0", 2, files), lambda done, _: sent.append(done))
        assert version == "1.1.0"
        cable.wait_for("main: runs 1.1.0", 60)
    board.wait_boots(2)
    assert board.boots[1][0] == 1
    until_valid(board)
    assert board.read_file("/app_0/version.txt") == b"1.1.0"
    assert sent == sorted(sent)


def until_valid(board: Board) -> None:
    """Wait until otadata says that the new image was accepted."""
    deadline = time.monotonic() + 20
    while (2, 2) not in board.otadata() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (2, 2) in board.otadata()


def test_what_the_board_refuses_is_said_on_the_host(board: Board, tmp_path: Path) -> None:
    stranger = pack("1.1.0", 2, whole_application("1.1.0"), key=keys.generate())
    with Cable(port(board)) as cable, pytest.raises(SendError, match="does not trust"):
        send(cable, stranger, lambda *_: None)
    assert board.boots == [(0, board.boots[0][1])]


def test_fleet_send_refuses_here_what_the_boards_would_refuse(tmp_path: Path) -> None:
    runner = CliRunner()
    here = ["--config", str(tmp_path / "fleet.toml")]
    assert runner.invoke(fleet, [*here, "init", "--product", PRODUCT]).exit_code == 0
    path = tmp_path / "x.ota"
    path.write_bytes(pack("1.1.0", 2, application("1.1.0"), key=KEY))
    done = runner.invoke(fleet, [*here, "send", "socket://127.0.0.1:1", str(path)])
    assert done.exit_code == 1
    assert "signed with key" in done.output


def test_a_file_is_installed_at_the_prompt(board: Board) -> None:
    board.stop()
    # Of firmware: the file lies beside the agent, and a second agent would not fit beside both.
    data = pack("1.1.0", 2, behaviour="good")
    board.install({"/x.ota": data})
    board.start()
    since = len(board.log_path.read_bytes())
    board.wait_console("main: runs 0.0.0", since=since)
    with Cable(port(board)) as cable:
        cable.serve(
            "import ota\nota.install('/x.ota')",
            lambda line: None if "restarting" in line else b"",
        )
        cable.wait_for("main: runs 1.1.0", 60)
    until_valid(board)
    assert board.boots[-1][0] == 1


@pytest.mark.parametrize("trusted", [True, False])
def test_micropython_itself_takes_a_file_over_https(
    board: Board, tmp_path: Path, trusted: bool
) -> None:
    ca = LocalCA(tmp_path / "ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*ca.issue("server", "127.0.0.1"))
    known = ca if trusted else LocalCA(tmp_path / "another")
    board.stop()
    board.install({"/etc/http_ca.pem": known.path.read_bytes()})
    board.start()
    since = len(board.log_path.read_bytes())
    board.wait_console("main: runs 0.0.0", since=since)
    with serving(pack("1.1.0", 2, whole_application("1.1.0")), context) as server:
        lines: list[str] = []
        with Cable(port(board)) as cable:

            def heard(line: str) -> bytes | None:
                lines.append(line)
                return None if "restarting" in line or "ertificate" in line else b""

            cable.serve(f"import ota\nota.install('{server.url}')", heard)
            if trusted:
                cable.wait_for("main: runs 1.1.0", 60)
        assert server.requests == ([("/x.ota", None)] if trusted else [])
    if not trusted:
        assert "cannot be used" in " ".join(lines)

"""The simulated board in its own process: what a reset does, who bites, what tools can do."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from link_fixtures import need

from sim import image
from sim.board import DEEPSLEEP, HARD, PWRON, SOFT, WDT, Board, BoardError
from sim.build import command
from tools.paths import ROOT, VENV_BIN

NEW, PENDING, VALID, INVALID, ABORTED = range(5)

INTERPRETERS = ["micropython", "cpython"]


@pytest.fixture(params=INTERPRETERS)
def interpreter(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if name == "micropython":
        need(name)
    return name


@pytest.fixture
def make(tmp_path: Path, interpreter: str) -> Iterator[Callable[..., Board]]:
    """Make a board with "old" in slot 0, files by name (`main` is /main.py), switched off."""
    boards: list[Board] = []

    def build(*, behaviour: str = "good", rollback: bool = True, **files: str) -> Board:
        board = Board(tmp_path / f"board{len(boards)}", interpreter=interpreter, rollback=rollback)
        boards.append(board)
        board.flash_firmware(0, image.firmware(behaviour, version="1.0.0"))
        board.install({f"/{name}.py": text.encode() for name, text in files.items()})
        return board

    yield build
    for board in boards:
        board.stop()


def try_new_image(board: Board, behaviour: str) -> None:
    """Flash an image into slot 1 and make a main.py that activates it once."""
    board.flash_firmware(1, image.firmware(behaviour, version="2.0.0"))
    board.install(
        {
            "/main.py": b"import machine, esp32\n"
            b"here = esp32.Partition(esp32.Partition.RUNNING)\n"
            b"if machine.reset_cause() == machine.PWRON_RESET:\n"
            b"    here.get_next_update().set_boot()\n"
            b"    machine.reset()\n"
            b"print('runs', here.info()[4])\n"
            b"try:\n"
            b"    import app\n"
            b"    app.start()\n"
            b"except ImportError:\n"
            b"    pass\n"
        }
    )


# -- what runs --------------------------------------------------------------------------------


def test_boot_py_runs_before_main_py(make: Callable[..., Board]) -> None:
    board = make(boot="print('one')\nx = 2\n", main="print('two', x)\n")
    board.start()
    board.wait_console("two 2", since=board.wait_console("one"))
    board.wait_console(">>> ")
    board.wait_boots(1)
    assert board.boots == [(0, PWRON)]


def test_a_raising_boot_py_keeps_main_py_from_running(make: Callable[..., Board]) -> None:
    board = make(boot="raise ValueError('broken')\n", main="print('main ran')\n")
    board.start()
    board.wait_console(">>> ", since=board.wait_console("ValueError: broken"))
    assert "main ran" not in board.log_path.read_text()


def test_a_missing_boot_py_is_no_failure(make: Callable[..., Board]) -> None:
    board = make(main="print('main ran')\n")
    board.start()
    board.wait_console("main ran")


def test_leaving_main_py_by_sys_exit_is_a_soft_reset(make: Callable[..., Board]) -> None:
    board = make(
        main="import sys, machine\nprint('cause', machine.reset_cause())\n"
        "if machine.reset_cause() != machine.SOFT_RESET: sys.exit()\n"
    )
    board.start()
    board.wait_console("cause 5", since=board.wait_console("cause 1"))
    assert board.boots == [(0, PWRON), (0, SOFT)]


def test_boot_py_chooses_the_directory_of_the_application(make: Callable[..., Board]) -> None:
    board = make(boot="import os\nos.chdir('/app_1')\n", main="print('the wrong one')\n")
    board.install(
        {"/app_1/main.py": b"import helper\n", "/app_1/helper.py": b"print('the helper')\n"}
    )
    board.start()
    board.wait_console(">>> ", since=board.wait_console("the helper"))
    assert "wrong" not in board.log_path.read_text()


def test_frozen_modules_are_found_after_files(make: Callable[..., Board]) -> None:
    board = make(main="import one, two\nprint(one.WHO, two.WHO)\n", one="WHO = 'file'\n")
    frozen = {"one.py": b"WHO = 'frozen'\n", "two.py": b"WHO = 'frozen'\n"}
    board.flash_firmware(0, image.firmware(version="1.0.0", modules=frozen))
    board.start()
    board.wait_console("file frozen")


def test_the_image_s_own_boot_module_runs_first_and_may_fail(make: Callable[..., Board]) -> None:
    board = make(boot="print('boot.py')\n")
    frozen = {"_boot.py": b"print('_boot')\n1 / 0\n"}
    board.flash_firmware(0, image.firmware(version="1.0.0", modules=frozen))
    board.start()
    at = board.wait_console("ZeroDivisionError", since=board.wait_console("_boot"))
    board.wait_console("boot.py", since=at)


def test_programs_do_not_see_the_simulation(make: Callable[..., Board]) -> None:
    board = make(
        main="import os\n"
        "for name in ('hardware', 'nor', 'bootloader', 'run', 'repl', 'clock'):\n"
        "    try:\n"
        "        __import__(name)\n"
        "        print('seen:', name)\n"
        "    except ImportError:\n"
        "        pass\n"
        "print(sorted(os.listdir('/')), 'done')\n"
    )
    board.start()
    board.wait_console("['main.py'] done")
    assert "seen" not in board.log_path.read_text()


# -- resets -----------------------------------------------------------------------------------


def test_rtc_memory_and_clock_survive_a_reset_and_not_a_power_cut(
    make: Callable[..., Board],
) -> None:
    board = make(
        main="import machine, time\n"
        "print('found', machine.RTC().memory(), time.gmtime()[0], machine.reset_cause())\n"
        "machine.RTC().memory(b'\\x00note\\x00')\n"
        "machine.RTC().datetime((2026, 5, 4, 0, 3, 2, 1, 0))\n"
        "if machine.reset_cause() == machine.PWRON_RESET: machine.reset()\n"
    )
    board.start()
    at = board.wait_console("found b'' 2000 1")
    at = board.wait_console("found b'\\x00note\\x00' 2026 2", since=at)
    board.power_cut()
    at = board.wait_console("found b'' 2000 1", since=at)
    board.wait_console("found b'\\x00note\\x00' 2026 2", since=at)


def test_a_chip_killed_from_outside_starts_as_after_a_power_cut(make: Callable[..., Board]) -> None:
    board = make(main="print('up')\nwhile True: pass\n")
    board.start()
    board.wait_console("up")
    os.kill(board.pid, signal.SIGKILL)
    assert board.wait_boots(2) == (0, PWRON)


def test_a_chip_that_ends_by_itself_panicked(make: Callable[..., Board]) -> None:
    board = make(main="print('up')\nwhile True: pass\n")
    board.start()
    board.wait_console("up")
    os.kill(board.pid, signal.SIGSEGV)
    assert board.wait_boots(2) == (0, HARD)


def test_a_hung_board_is_bitten_by_its_watchdog(make: Callable[..., Board]) -> None:
    board = make(
        main="import machine\n"
        "if machine.reset_cause() == machine.PWRON_RESET:\n"
        "    machine.WDT(timeout=300)\n"
        "    while True: pass\n"
        "print('saw', machine.reset_cause())\n"
    )
    board.start()
    board.wait_console("saw 3")
    assert board.boots == [(0, PWRON), (0, WDT)]


@pytest.mark.slow
def test_a_fed_watchdog_does_not_bite(make: Callable[..., Board]) -> None:
    board = make(
        main="import machine, time\n"
        "w = machine.WDT(timeout=1500)\n"
        "for _ in range(200):\n"
        "    time.sleep_ms(10)\n"
        "    w.feed()\n"
        "machine.WDT(timeout=1000000)\n"
        "print('alive')\n"
    )
    board.start()
    board.wait_console("alive")
    assert board.boots == [(0, PWRON)]


@pytest.mark.slow
def test_the_watchdog_stays_armed_over_a_soft_reset(make: Callable[..., Board]) -> None:
    board = make(
        main="import machine, sys\n"
        "if machine.reset_cause() == machine.PWRON_RESET:\n"
        "    machine.WDT(timeout=4000)\n"
        "    sys.exit()\n"
        "if machine.reset_cause() == machine.SOFT_RESET:\n"
        "    while True: pass\n"
    )
    board.start()
    assert board.wait_boots(3) == (0, WDT)
    assert board.boots == [(0, PWRON), (0, SOFT), (0, WDT)]


def test_the_board_wakes_from_deep_sleep_by_its_timer(make: Callable[..., Board]) -> None:
    board = make(
        main="import machine\n"
        "if machine.reset_cause() == machine.PWRON_RESET: machine.deepsleep(300)\n"
        "print('woke', machine.reset_cause())\n"
    )
    began = time.monotonic()
    board.start()
    board.wait_console("woke 4")
    assert time.monotonic() - began >= 0.3
    assert board.boots[-1] == (0, DEEPSLEEP)


def test_writing_the_running_slot_kills_the_board(make: Callable[..., Board]) -> None:
    board = make(
        main="import esp32, machine\n"
        "p = esp32.Partition(esp32.Partition.RUNNING)\n"
        "if machine.reset_cause() == machine.PWRON_RESET: p.ioctl(6, 0)\n"
        "print('saw', machine.reset_cause())\n"
    )
    board.start()
    board.wait_console("saw 2")


def test_a_board_without_a_bootable_image_stays_dark(make: Callable[..., Board]) -> None:
    board = make()
    board.flash_firmware(0, b"no image")
    board.start()
    board.wait_console("No bootable app partitions")
    with pytest.raises(BoardError):
        board.wait_boots(1)
    assert board.dead
    board.stop()
    board.flash_firmware(0, image.firmware(version="1.0.0"))
    board.start()
    board.wait_boots(1)


# -- images that misbehave --------------------------------------------------------------------


def test_an_image_that_dies_before_boot_py_is_rolled_back(make: Callable[..., Board]) -> None:
    board = make()
    try_new_image(board, "crash_before_boot")
    board.start()
    assert board.wait_boots(3) == (0, HARD)
    assert board.otadata() == [(1, VALID), (2, ABORTED)]


def test_an_image_that_hangs_before_boot_py_waits_for_the_power(make: Callable[..., Board]) -> None:
    board = make()
    try_new_image(board, "hang_before_boot")
    board.start()
    board.wait_boots(2)
    board.power_cut()
    assert board.boots[2] == (0, PWRON)


@pytest.mark.parametrize("ended", [False, True])
def test_the_deadline_of_a_trial_is_judged_from_outside_the_interpreter(
    make: Callable[..., Board], monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """A boot.py that forgets it, as none at all does, is noticed when the power goes."""
    for name in ("_SPARE_S", "_SLACK_S"):
        monkeypatch.setattr(f"sim.board.{name}", 0)
    board = make()
    try_new_image(board, "good")
    board.install({"/etc/settings.json": b'{"self_test_s": 10}'})
    board.start()
    board.wait_boots(2)
    if ended:
        board.reset()  # the bootloader takes it back
        board.stop()
        return
    later = types.SimpleNamespace(monotonic=lambda: time.monotonic() + 11)
    monkeypatch.setattr("sim.board.time", later)
    with pytest.raises(
        BoardError, match="an image is under test for 11 s already; its deadline is 10 s"
    ):
        board.stop()


def test_an_image_that_crashes_after_boot_py_ends_at_the_prompt(make: Callable[..., Board]) -> None:
    board = make()
    try_new_image(board, "crash_after_boot")
    board.start()
    board.wait_console(">>> ", since=board.wait_console("RuntimeError"))
    assert board.otadata() == [(1, VALID), (2, PENDING)]


def test_an_image_without_wifi_never_connects(make: Callable[..., Board]) -> None:
    join = (
        "import network, time\n"
        "w = network.WLAN(network.STA_IF)\n"
        "w.active(True)\n"
        "w.connect('sim', '')\n"
        "time.sleep_ms(200)\n"
        "print('connected', w.isconnected())\n"
    )
    good, bad = make(main=join), make(main=join, behaviour="no_wifi")
    good.start()
    bad.start()
    good.wait_console("connected True")
    bad.wait_console("connected False")


# -- flash ------------------------------------------------------------------------------------


def test_the_power_fails_at_the_operation_that_was_asked_for(make: Callable[..., Board]) -> None:
    board = make(main="print('up')\n")
    board.start(cut_at=1)  # the bootloader's first erase of otadata
    board.wait_console("up")
    assert board.boots == [(0, PWRON)]
    assert board.otadata() == [(1, VALID), None]


def test_both_interpreters_and_the_host_share_one_file_system(tmp_path: Path) -> None:
    need("micropython")
    program = (
        "with open('/{0}.txt', 'w') as f: f.write('{0}')\nprint(open('/{1}.txt').read(), '!')\n"
    )
    board = Board(tmp_path, interpreter="micropython")
    board.flash_firmware(0, image.firmware(version="1.0.0"))
    for interpreter, before in (("micropython", "host"), ("cpython", "micropython")):
        board.interpreter = interpreter
        if before == "host":
            board.install({"/host.txt": b"host"})
        board.install({"/main.py": program.format(interpreter, before).encode()})
        board.start()
        board.wait_console(before + " !")
        board.stop()
    assert board.read_file("/cpython.txt") == b"cpython"
    assert set(board.list_files()) == {"cpython.txt", "host.txt", "main.py", "micropython.txt"}


def test_nvs_is_readable_from_outside(make: Callable[..., Board]) -> None:
    board = make(
        main="import esp32\nn = esp32.NVS('ota')\n"
        "n.set_blob('journal', b'{}')\nn.set_i32('tries', -2)\nprint('stored')\n"
    )
    board.start()
    board.wait_console("stored")
    assert board.nvs("ota", "journal") == b"{}"
    assert board.nvs("ota", "tries") == b"\xfe\xff\xff\xff"
    assert board.nvs("ota", "nothing") is None


# -- the console ------------------------------------------------------------------------------


class Terminal:
    """Somebody at the console."""

    def __init__(self, board: Board) -> None:
        self.socket = socket.create_connection(board.console, timeout=10)
        self.seen = b""

    def type(self, data: bytes) -> None:
        self.socket.sendall(data)

    def wait(self, expected: bytes) -> bytes:
        """Read up to `expected`; returns what came before it."""
        while expected not in self.seen:
            data = self.socket.recv(4096)
            assert data, f"the console closed after {self.seen!r}"
            self.seen += data
        before, _, self.seen = self.seen.partition(expected)
        return before


@pytest.fixture
def terminal(make: Callable[..., Board]) -> Iterator[Terminal]:
    board = make(main="print('main ran')\n")
    board.start()
    board.wait_console(">>> ")
    person = Terminal(board)
    yield person
    person.socket.close()


def test_an_expression_is_echoed_with_its_value(terminal: Terminal) -> None:
    terminal.type(b"6 * 7\r")
    assert terminal.wait(b">>> ") == b"6 * 7\r\n42\r\n"


def test_a_block_ends_with_an_empty_line(terminal: Terminal) -> None:
    terminal.type(b"for i in range(2):\r    print('n', i)\r\r")
    assert b"n 0\r\nn 1\r\n" in terminal.wait(b"\r\n>>> ") + b"\r\n"


def test_brackets_and_quotes_may_span_lines(terminal: Terminal) -> None:
    terminal.type(b"sum([1,\r2])\r")
    assert b"\r\n3\r\n" in terminal.wait(b">>> ")
    terminal.type(b"len('''a(\rb''')\r")
    assert b"\r\n4\r\n" in terminal.wait(b">>> ")


def test_an_error_leaves_the_prompt(terminal: Terminal) -> None:
    terminal.type(b"1 / 0\r")
    assert b"ZeroDivisionError" in terminal.wait(b">>> ")
    terminal.type(b"x = 1; x +\r")
    assert b"SyntaxError" in terminal.wait(b">>> ")


def test_ctrl_c_ends_a_program_and_ctrl_d_starts_it_again(terminal: Terminal) -> None:
    terminal.type(b"import time\rwhile True: print('go') or time.sleep(9)\r\r")
    terminal.wait(b"\r\ngo\r\n")
    terminal.type(b"\x03")
    terminal.wait(b"KeyboardInterrupt")
    terminal.wait(b">>> ")
    terminal.type(b"\x04")
    terminal.wait(b"soft reboot")
    terminal.wait(b"main ran")
    terminal.wait(b">>> ")


def test_many_ctrl_c_do_no_harm(terminal: Terminal) -> None:
    terminal.type(b"\x03" * 20 + b"6 * 7\r")
    terminal.wait(b"42\r\n>>> ")


def test_ctrl_c_reaches_the_prompt_from_boot_py(make: Callable[..., Board]) -> None:
    board = make(boot="print('in boot')\nwhile True: pass\n", main="print('main ran')\n")
    board.start()
    board.wait_console("in boot")
    person = Terminal(board)
    person.type(b"\x03")
    person.wait(b"KeyboardInterrupt")
    person.wait(b">>> ")
    person.socket.close()
    assert "main ran" not in board.log_path.read_text()
    assert board.boots == [(0, PWRON)]


def test_ctrl_c_leaves_the_file_system_whole(make: Callable[..., Board]) -> None:
    board = make(
        main="import os, time\n"
        "def work():\n"
        "    print('go')\n"
        "    while True:\n"
        "        with open('/new', 'w') as f: f.write('x' * 5000)\n"
        "        os.rename('/new', '/kept')\n"
        "        time.sleep_ms(1)\n"
    )
    board.start()
    board.wait_console(">>> ")
    person = Terminal(board)
    for _ in range(8):
        person.type(b"work()\r")
        person.wait(b"\r\ngo\r\n")
        person.type(b"\x03")
        person.wait(b"KeyboardInterrupt")
        person.wait(b">>> ")
    person.type(b"len(open('/kept').read())\r")
    person.wait(b"5000\r\n")
    person.socket.close()
    assert board.boots == [(0, PWRON)]
    assert board.read_file("/kept") == b"x" * 5000


def test_pasted_text_runs_as_a_whole(terminal: Terminal) -> None:
    terminal.type(b"\x05def f():\r    return 'pasted'\r\rprint(f())\r\x04")
    terminal.wait(b"\r\npasted\r\n>>> ")


def test_the_raw_repl_answers_as_tools_expect(terminal: Terminal) -> None:
    terminal.type(b"\x01")
    terminal.wait(b"raw REPL; CTRL-B to exit\r\n>")
    terminal.type(b"\x05B\x01")
    terminal.wait(b"R\x00")
    terminal.type(b"print('a')\nx = 1\x04")
    assert terminal.wait(b"\x04>") == b"OKa\r\n\x04"
    terminal.type(b"1 / 0\x04")
    answer = terminal.wait(b"\x04>")
    assert answer.startswith(b"OK\x04Traceback")
    assert b"ZeroDivisionError" in answer
    terminal.type(b"\x04")
    terminal.wait(b"soft reboot\r\n")
    terminal.wait(b"raw REPL; CTRL-B to exit\r\n>")
    terminal.type(b"\x02")
    assert b"main ran" not in terminal.wait(b">>> ")


def test_code_is_taken_in_windows_in_raw_paste_mode(terminal: Terminal) -> None:
    terminal.type(b"\x01")
    terminal.wait(b"raw REPL; CTRL-B to exit\r\n>")
    code = b"x = '" + b"-" * 300 + b"'\nprint(len(x))"
    terminal.type(b"\x05A\x01" + code[:256])
    terminal.wait(b"R\x01\x80\x00\x01\x01\x01")
    terminal.type(code[256:] + b"\x04")
    assert terminal.wait(b"\x04>") == b"\x04300\r\n\x04"
    terminal.type(b"\x05A\x01" + b"1 / 0\x04")
    assert b"\x04\x04Traceback" in terminal.wait(b"\x04>")


@pytest.mark.slow
def test_mpremote_works_on_the_console(make: Callable[..., Board], tmp_path: Path) -> None:
    board = make(main="print('main ran')\nwhile True: pass\n")
    board.start()
    at = board.wait_console("main ran")
    port = "socket://{}:{}".format(*board.console)
    script = tmp_path / "script.py"
    script.write_text("import machine\nprint('script', machine.reset_cause())\n")
    data = tmp_path / "data.bin"
    data.write_bytes(bytes(range(256)) * 3)

    def mpremote(*arguments: str) -> str:
        done = subprocess.run(
            [VENV_BIN / "mpremote", "connect", port, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert mpremote("exec", "print(6 * 7)") == "42\n"
    assert mpremote("resume", "eval", "1 + 1") == "2\n"
    assert mpremote("run", str(script)) == "script 5\n"
    mpremote("fs", "cp", str(data), ":/data.bin")
    assert "768 data.bin" in mpremote("fs", "ls", ":/")
    mpremote("fs", "cp", ":/data.bin", str(tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == data.read_bytes()
    assert "589824" in mpremote("df")
    mpremote("fs", "rm", ":/data.bin")
    mpremote("soft-reset")
    assert board.list_files() == ["main.py"]
    mpremote("reset")
    board.wait_console("main ran", since=at)
    assert board.boots[-1] == (0, HARD)


# -- TLS and time -----------------------------------------------------------------------------


def test_time_counts_whole_seconds_from_2000(make: Callable[..., Board]) -> None:
    board = make(
        main="import machine, time\n"
        "machine.RTC().datetime((2024, 2, 29, 0, 23, 59, 58, 0))\n"
        "now = time.time()\n"
        "print(type(now).__name__, now - now % 60, time.gmtime(now)[:5], time.gmtime(0)[0])\n"
        "print(time.mktime((2024, 2, 29, 23, 59, 58, 0, 0)), time.ticks_diff(5, 3))\n"
    )
    board.start()
    board.wait_console("int 762566340 (2024, 2, 29, 23, 59) 2000")
    board.wait_console("762566398 2")


@pytest.mark.slow
def test_ssl_verifies_nothing_until_it_is_told_to(
    make: Callable[..., Board], tls_server: TlsServer
) -> None:
    """As on the chip: `ssl` defaults to CERT_NONE, `tls` to CERT_REQUIRED."""
    board = make(
        main="import socket, ssl, tls\n"
        f"def connect(context, port={tls_server.port}):\n"
        "    s = socket.socket()\n"
        "    s.connect(socket.getaddrinfo('127.0.0.1', port)[0][-1])\n"
        "    try:\n"
        "        s = context.wrap_socket(s, server_hostname='localhost')\n"
        "        return s.read(5)\n"
        "    except (OSError, ValueError):\n"
        "        return 'refused'\n"
        "context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
        "print('nothing', context.verify_mode == ssl.CERT_NONE, connect(context))\n"
        "context.verify_mode = ssl.CERT_REQUIRED\n"
        "print('unknown', connect(context))\n"
        "context.load_verify_locations(cafile='/ca.pem')\n"
        "print('known', connect(context))\n"
        "context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)\n"
        "print('required', context.verify_mode == tls.CERT_REQUIRED)\n"
    )
    board.install({"/ca.pem": tls_server.certificate})
    board.start()
    board.wait_console("nothing True b'hello'")
    board.wait_console("unknown refused")
    board.wait_console("known b'hello'")
    board.wait_console("required True")


class TlsServer:
    """Says hello to whoever comes. certificate: PEM, for localhost."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)
        chain = folder / "server.pem"
        chain.write_bytes(
            self.certificate
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(chain)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), client:
                client.settimeout(5)
                with self._context.wrap_socket(client, server_side=True) as secure:
                    secure.sendall(b"hello")
                    secure.recv(1)


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[TlsServer]:
    server = TlsServer(tmp_path)
    yield server
    server.close()


# -- the supply -------------------------------------------------------------------------------


def test_the_chip_runs_from_files_where_it_cannot_run_in_place(tmp_path: Path) -> None:
    """An interpreter without ffi cannot map ROM; the chip then takes more heap, and runs."""
    need("micropython")
    board = Board(tmp_path, interpreter="micropython")
    board.flash_firmware(0, image.firmware(version="1.0.0"))
    *before, start = command("micropython", None)
    settings = {
        "flash": str(board.flash_path), "wire": 1, "cause": PWRON, "slot": -1, "rollback": True,
        "rtc": "", "clock": None, "wifi": False, "watchdog_ms": None, "uptime_ms": 0, "raw": False,
        "encrypted": False, "ssid": "", "password": "", "cut_at": None, "seed": 0,
    }  # fmt: skip
    with subprocess.Popen(
        [*before, "import sys; sys.modules['ffi'] = sys; " + start],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as chip:
        assert chip.stdin
        assert chip.stdout
        chip.stdin.write(json.dumps(settings).encode() + b"\n")
        chip.stdin.flush()
        told = [chip.stdout.readline() for _ in range(4)]
        chip.kill()
    assert b"slot 0\n" in told
    assert b"ready\n" in told


def test_a_board_runs_in_the_foreground(tmp_path: Path, interpreter: str) -> None:
    program = tmp_path / "main.py"
    program.write_text("print('hello from main')\n")
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "sim", str(tmp_path / "board")),
            *("--put", str(program), "--interpreter", interpreter),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as board:
        assert board.stdout
        address = board.stdout.readline().split()[1].removeprefix("socket://").split(":")
        with socket.create_connection((address[0], int(address[1])), timeout=10) as console:
            console.sendall(b"6 * 7\r")
            seen = b""
            while b"42" not in seen:
                seen += console.recv(4096)
        board.send_signal(signal.SIGINT)
        assert board.wait(10) == 0
    assert b"hello from main" in (tmp_path / "board/console.log").read_bytes()


def test_the_chip_dies_with_its_power_supply(tmp_path: Path, interpreter: str) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom sim import image\n"
        "from sim.board import Board\n"
        f"board = Board(Path({str(tmp_path)!r}), interpreter={interpreter!r})\n"
        "board.flash_firmware(0, image.firmware(version='1.0.0'))\n"
        "board.start()\nboard.wait_console('>>> ')\n"
        "print(board.pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdout
        pid = int(host.stdout.readline())
        host.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and _state(pid) != "Z":
        assert time.monotonic() < deadline, "the chip outlived its supply"
        time.sleep(0.01)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return "Z"

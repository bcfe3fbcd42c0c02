"""A key that the board made: it stays there, and the fleet's broker lets it in."""

from __future__ import annotations

import importlib.util
import json
import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import chipboard  # noqa: F401  gives CPython the chip's modules
import pytest
from board_flashing import APPLICATION
from connected_board import begin_test, command, port, running_board
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from link_fixtures import need

from demo.stack import SSID, Stack
from sim import board as boards
from sim.board import Board
from tools.paths import ROOT
from twinslot.board import files
from twinslot.board.cable import Cable
from twinslot.formats import package
from twinslot.formats.trailer import write_trailer
from twinslot.trust import certificates, keys

N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "application", lambda **_: dict(APPLICATION))


@pytest.fixture
def on_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What runs on the board, here, with a folder in the place of /etc; radio: see its test."""
    path = ROOT / "src/twinslot/board/on_board/own_key.py"
    spec = importlib.util.spec_from_file_location("own_key", path)
    assert spec and spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "KEY", str(tmp_path / "client.key"))
    monkeypatch.setattr(module.os, "mkdir", lambda _path: None)
    monkeypatch.setattr(module.network, "WLAN", Radio)
    return module  # type: ignore[no-any-return]


class Radio:
    """A station interface."""

    works = False

    def __init__(self, _interface: int) -> None:
        pass

    def active(self, flag: bool | None = None) -> bool:
        if flag is not None:
            Radio.works = flag
        return Radio.works


# -- what runs on the board, under CPython ---------------------------------------------------------


def test_a_public_key_is_the_one_that_cryptography_finds(on_board: ModuleType) -> None:
    numbers = [1, 2, 3, 4, 15, 16, N - 1, N - 2, N // 2, 1 << 255]
    numbers += [keys.generate().private_numbers().private_value for _ in range(20)]
    for number in numbers:
        public = ec.derive_private_key(number, ec.SECP256R1()).public_key()
        assert on_board._public(number) == keys.spki(public)[-64:], number


def test_the_key_on_the_board_is_one_that_others_read(on_board: ModuleType, tmp_path: Path) -> None:
    _, made = on_board.request("meter-1")
    assert made
    pem = (tmp_path / "client.key").read_bytes()
    key = keys.read_private(tmp_path / "client.key")
    assert pem == certificates.private_pem(key)
    assert on_board.public() == keys.spki(key.public_key())[-64:]
    assert not (tmp_path / "client.key.new").exists()


@pytest.mark.parametrize("length", [1, 7, 40, 60, 64])
def test_every_request_is_one_that_the_authority_takes(on_board: ModuleType, length: int) -> None:
    """Names of every length, and numbers with and without a leading zero."""
    thing = "t" * length
    lengths = set()
    for _ in range(20):
        der, _ = on_board.request(thing)
        lengths.add(len(der))
        key = certificates.requested_key(der, thing)
        assert keys.spki(key)[-64:] == on_board.public()
        named = bytes([0x0C, length])  # a UTF8String; the subject is the first in a request
        der = der.replace(named + thing.encode(), named + b"u" * length, 1)
        with pytest.raises(certificates.CertificateError, match="not signed by the key"):
            certificates.requested_key(der, "u" * length)
    assert len(lengths) > 1


def test_a_second_request_is_for_the_same_key(on_board: ModuleType, tmp_path: Path) -> None:
    first, made = on_board.request("meter-1")
    pem = (tmp_path / "client.key").read_bytes()
    second, again = on_board.request("meter-1")
    assert (made, again) == (True, False)
    assert (tmp_path / "client.key").read_bytes() == pem
    assert first != second, "a nonce is never used twice"
    found = {keys.spki(certificates.requested_key(der, "meter-1")) for der in (first, second)}
    assert len(found) == 1


def test_a_key_of_another_kind_is_refused_and_stays(on_board: ModuleType, tmp_path: Path) -> None:
    pem = keys.private_pem(keys.generate())  # PKCS #8
    (tmp_path / "client.key").write_bytes(pem)
    for ask in (on_board.public, lambda: on_board.request("meter-1")):
        with pytest.raises(ValueError, match="holds no P-256 key in SEC 1"):
            ask()
    assert (tmp_path / "client.key").read_bytes() == pem


def test_the_key_is_drawn_while_the_radio_works_and_again_until_it_fits(
    on_board: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = [bytes(32), N.to_bytes(32, "big"), b"\xff" * 32, (N - 1).to_bytes(32, "big")]

    def urandom(count: int) -> bytes:
        assert Radio.works
        assert count == 32
        return drawn.pop(0)

    monkeypatch.setattr(on_board.os, "urandom", urandom)
    assert on_board._random() == N - 1
    assert not drawn
    assert not Radio.works


def test_a_generator_that_repeats_itself_gives_no_nonce_away(
    on_board: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_board.os, "urandom", lambda count: b"\x07" * count)
    signatures = {on_board._sign(5, message)[0] for message in (b"one", b"two")}
    signatures.add(on_board._sign(6, b"one")[0])
    assert len(signatures) == 3


# -- on a board ------------------------------------------------------------------------------------


def numbers_of(key: str) -> Iterator[str]:
    """Every way in which a private key might be printed: lines of base64, hexadecimal, decimal."""
    yield from (line for line in key.splitlines() if "-----" not in line)
    number = int.from_bytes(b64decode("".join(key.splitlines()[1:-1]))[7:39], "big")
    yield from (f"{number:x}", f"{number:X}", str(number))


@pytest.mark.slow
def test_a_board_that_made_its_key_is_provisioned_deployed_to_and_let_in(tmp_path: Path) -> None:
    """The simulated board, `fleet provision --csr`, and mosquitto with TLS."""
    need("mosquitto")
    need("micropython")
    thing = "own-1"
    with Stack(tmp_path / "stack", interpreter="micropython", tls=True) as stack:
        folder = stack.folder / "boards" / thing
        with Board(tmp_path / "board", interpreter="micropython", ssid=SSID) as board:
            head = package.inspect(stack.pack("1.0.0", 1).read_bytes())
            board.flash_firmware(0, stack.firmware("1.0.0"), write_trailer([head.record]))
            board.install(boards.application_files())
            board.start()
            board.wait_console("settings.json is missing")
            request = tmp_path / "own-1.csr"
            done = command("board csr", port(board), thing, "--out", request)
            assert done.exit_code == 0, done.stderr
            assert "The board made its key, which stays there" in done.stdout
            provision = ("provision", thing, "--csr", str(request), "--wifi-ssid", SSID)
            assert "without client.key" in stack.fleet(*provision)
            assert not (folder / "client.key").exists()
            done = command("deploy", port(board), "--settings", folder)
            assert done.exit_code == 0, done.stderr
            assert re.search(r"\d files written", done.stdout)
            board.wait_console("State: Ready", 60)
            job = stack.publish(stack.pack("1.1.0", 2), thing)
            board.wait_console("version 1.1.0", 90)
            board.wait_console("State: Ready", 60)
            assert stack.execution(job, thing)["status"] in ("IN_PROGRESS", "SUCCEEDED")
            board.stop()
            key = board.read_file("/etc/client.key").decode()
            said = board.log_path.read_text(errors="replace")
            assert not [text for text in numbers_of(key) if text in said]
            assert board.list_files("/etc") == [
                "ca.pem",
                "client.key",
                "client.pem",
                "settings.json",
                "trust.json",
                "trusted_keys.pem",
            ]
            assert "board_own_key.mpy" not in board.list_files("/")


@pytest.fixture
def provisioned(tmp_path: Path) -> Path:
    """A settings folder without a key; `make_certificate` puts client.pem there."""
    folder = tmp_path / "settings"
    folder.mkdir()
    (folder / "settings.json").write_text(
        json.dumps({"thing": "b", "product": "p", "broker": {"host": "h", "tls": True}})
    )
    key = keys.generate()
    (folder / "trusted_keys.pem").write_bytes(keys.public_pem(key.public_key()))
    (folder / "ca.pem").write_bytes(certificates.pem(certificates.authority(key, "test")))
    return folder


def make_certificate(folder: Path, key: keys.PublicKey) -> None:
    ca = keys.generate()
    authority = certificates.authority(ca, "test")
    found = certificates.client(authority, ca, "b", key)
    (folder / "client.pem").write_bytes(certificates.pem(found))


@pytest.mark.slow
def test_a_certificate_comes_to_no_board_with_another_key_or_none(
    tmp_path: Path, provisioned: Path
) -> None:
    make_certificate(provisioned, keys.generate().public_key())
    with running_board(tmp_path / "board") as board:
        done = command("deploy", port(board), "--settings", provisioned)
        assert done.exit_code == 1
        assert "client.key is neither in the settings folder nor on the board" in done.stderr
        assert "`fleet board csr`" in done.stderr
        request = tmp_path / "b.csr"
        assert command("board csr", port(board), "b", "--out", request).exit_code == 0
        done = command("deploy", port(board), "--settings", provisioned)
        assert done.exit_code == 1
        assert "the key on the board is not the one of client.pem" in done.stderr
        (provisioned / "client.pem").write_text("scribble")
        done = command("deploy", port(board), "--settings", provisioned)
        assert "client.pem holds no PEM block" in done.stderr
        with Cable(port(board)) as cable:
            assert cable.hashes(["/etc/client.pem", "/etc/ca.pem"]) == {
                "/etc/client.pem": None,
                "/etc/ca.pem": None,
            }
        make_certificate(provisioned, certificates.requested_key(request.read_bytes(), "b"))
        done = command("deploy", port(board), "--settings", provisioned, "--no-start")
        assert done.exit_code == 0, done.stderr


def test_no_key_is_made_while_an_image_is_under_test(tmp_path: Path) -> None:
    with running_board(tmp_path / "board") as board:
        at = begin_test(board)
        done = command("board csr", port(board), "b", "--out", tmp_path / "b.csr")
        assert done.exit_code == 1
        assert "a new image is under test" in done.stderr
        board.wait_console("main: runs 1.0.0", since=at)
        board.stop()
        assert "client.key" not in board.list_files("/etc")
    assert not (tmp_path / "b.csr").exists()


def test_a_name_that_no_thing_has_is_refused_before_the_port_is_opened() -> None:
    done = command("board csr", "/dev/ttyNone", "a b")
    assert done.exit_code == 1
    assert "'a b' is no name of a thing" in done.stderr


def test_a_request_is_written_as_pem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    key = keys.generate()
    pem = certificates.private_pem(key)
    with running_board(tmp_path / "board", {"/etc/client.key": pem}) as board:
        done = command("board csr", port(board), "b")
        assert done.exit_code == 0, done.stderr
    assert "The key that is on the board, in /etc/client.key, stays." in done.stdout
    assert "fleet provision b --csr b.csr" in done.stdout
    request = x509.load_pem_x509_csr((tmp_path / "b.csr").read_bytes())
    assert request.public_key() == key.public_key()

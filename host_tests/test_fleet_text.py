"""Text files as people have them, also those that editors and shells of Windows write."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from twinslot import config, text
from twinslot.addresses import Address, parse_address, parse_host
from twinslot.board import files
from twinslot.cli.main import main
from twinslot.errors import ConfigError

WORDS = "pässword 1\nzwei\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_mark_of_a_file_says_how_it_is_read(encoding: str, end: str) -> None:
    data = WORDS.replace("\n", end).encode(encoding)
    assert text.decoded(data, "a.txt") == WORDS


def test_names_are_sorted_as_people_count() -> None:
    names = ["board-10", "board-2", "10", "9", "b", "board-2a", "board-02"]
    assert sorted(names, key=text.natural) == [
        "9",
        "10",
        "b",
        "board-02",
        "board-2",
        "board-2a",
        "board-10",
    ]


def test_what_a_terminal_would_obey_is_spelt_out_and_what_is_to_be_kept_stays() -> None:
    assert text.printable("a\x1b\n\u202eb mutant") == "a\\x1b\\n\\u202eb mutant"
    assert text.printable("a\nb\t", keep="\n") == "a\nb\\t"
    assert text.TextError.exit_code == 3


@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le", "utf-32-be", "utf-32-le"])
def test_both_orders_of_utf_16_and_utf_32_are_read(encoding: str) -> None:
    assert text.decoded(("\ufeff" + WORDS).encode(encoding), "a.txt") == WORDS


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("one\ntw\xf6\n".encode("latin-1"), "a.txt is not text in UTF-8: byte 6 .line 2."),
        ("s3cret".encode("utf-16-le"), "a.txt is not text in UTF-8: it has bytes 0"),
        (b"\xff\xfeabc", "a.txt is not text in UTF-16: .*save it as UTF-8$"),
        (b"\0\0\xfe\xffabc", "a.txt is not text in UTF-32: "),
        (b"\xef\xbb\xbfa\xff", "a.txt is not text in UTF-8: byte "),
        (b"\x89PNG\r\n", "a.txt is not text in UTF-8: byte 0"),
    ],
)
def test_bytes_that_are_no_text_are_refused_by_the_file_and_the_place(
    data: bytes, words: str
) -> None:
    with pytest.raises(text.TextError, match=words):
        text.decoded(data, "a.txt")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_of_windows_make_the_same_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    assert run(main, ["init"]).exit_code == 0
    for name in ("fleet.toml", "keys/credentials"):
        path = Path(name)
        path.write_bytes(path.read_text().replace("\n", "\r\n").encode(encoding))
    Path("password.txt").write_bytes("correct hörse\r\n".encode(encoding))
    config.set_broker(Path("fleet.toml"), {"user": "service", "password": "password.txt"})
    found = config.load(Path("fleet.toml"))
    assert config.read_password(found.broker) == "correct hörse"
    assert config.read_credentials(found.credentials).access_key.startswith("LOCAL")
    options = ["--host", "10.0.0.1", "--wifi-ssid", "lab", "--wifi-password-file", "password.txt"]
    assert run(main, ["provision", "board-1", *options]).exit_code == 0
    written = Path("boards/board-1/settings.json")
    assert json.loads(written.read_text())["wifi"]["password"] == "correct hörse"
    before = written.read_text()
    written.write_bytes(before.replace("\n", "\r\n").encode(encoding))
    there = files.settings(Path("boards/board-1"))["/etc/settings.json"]
    assert there.decode() == before, "a board reads UTF-8 alone"
    assert run(main, ["provision", "board-1", "--renew", *options[:2]]).exit_code == 0
    assert json.loads(written.read_text())["wifi"]["password"] == "correct hörse"


def test_an_empty_password_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "wifi.txt"
    path.write_bytes(b"\r\nsecond\r\n")
    with pytest.raises(ConfigError, match=r"first line of .*wifi\.txt is empty"):
        config.first_line(path, "the Wi-Fi's password")


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("192.168.1.20:1883", "has a port"),
        ("mqtt://192.168.1.20", "has a scheme, mqtt://"),
        ("mqtts://broker.lan:8883", "has a scheme"),
        ("broker.lan/path", "is no host"),
        ("broker lan", "is no host"),
        ("user@broker", "is no host"),
        ("", "is no host"),
    ],
)
def test_a_host_with_more_than_a_name_in_it_is_refused_with_its_setting(
    tmp_path: Path, host: str, words: str
) -> None:
    config.create(
        tmp_path,
        product="meter",
        chip="esp32",
        slot_size=0x1B0000,
        broker=Address("127.0.0.1", 1883),
        tls=False,
    )
    path = tmp_path / "fleet.toml"
    path.write_text(path.read_text().replace('host = "127.0.0.1"', f'host = "{host}"'))
    with pytest.raises(ConfigError, match=f"^broker.host: .*{words}"):
        config.load(path)
    if host:
        settings = json.dumps({"broker": {"host": host, "port": 1883}}).encode()
        with pytest.raises(files.FilesError, match=f"broker.host: .*{words}.*broker.port"):
            files.settings_of(settings, tmp_path)
    done = CliRunner().invoke(main, ["--config", str(path), "broker-config", "--host", host])
    assert done.exit_code == 2


@pytest.mark.parametrize(
    ("host", "found"),
    [("broker.lan", "broker.lan"), ("[::1]", "::1"), ("fe80::1", "fe80::1"), ("10.0.0.1",) * 2],
)
def test_names_and_addresses_are_hosts(host: str, found: str) -> None:
    assert parse_host(host) == found


def test_an_address_of_version_6_reads_as_it_is_written() -> None:
    found = parse_address("[::1]:1883")
    assert (found, str(found)) == (Address("::1", 1883), "[::1]:1883")

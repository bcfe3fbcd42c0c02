"""Set-up finds the distribution's archive on any Debian or Ubuntu, and native programs in it."""

import os
import subprocess

import pytest

from tools import apt, natives, setup

DEBIAN_SOURCES = """\
Types: deb
# a comment inside
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJKwYBBAHaRw8BAQdAd7Z0srwuhlB6JKFkcf4HU4SSS
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://vendor.example/apt
Suites: vendor-bookworm
Components: main

Enabled: no
Types: deb
URIs: http://mirror.example/backports
Suites: bookworm
Components: main

Types: deb-src
URIs: http://mirror.example/sources
Suites: bookworm
Components: main
"""
BOOKWORM = {"ID": "debian", "VERSION_CODENAME": "bookworm"}
NOBLE = {"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_CODENAME": "noble"}


def test_deb822_sources_are_read_with_their_keys_and_without_what_is_switched_off():
    main, security, vendor = apt.parse_deb822(DEBIAN_SOURCES)
    assert main.suites == ("bookworm", "bookworm-updates")
    assert main.signed_by == "/usr/share/keyrings/debian-archive-keyring.gpg"
    assert "BEGIN PGP" in security.signed_by
    assert vendor.uris == ("http://vendor.example/apt",)


def test_a_source_survives_being_written_and_read_again():
    for source in apt.parse_deb822(DEBIAN_SOURCES):
        assert apt.parse_deb822(source.deb822("amd64")) == [source]


def test_one_line_sources_are_read_with_options():
    assert apt.parse_one_line(
        "# comment\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://m.example/ubuntu noble main universe # why\n"
        "deb-src http://m.example/ubuntu noble main\n"
    ) == [
        apt.Source(("http://m.example/ubuntu",), ("noble",), ("main", "universe"), "/k.gpg"),
    ]


def test_both_kinds_of_files_are_found_and_a_missing_sources_list_is_no_error(tmp_path):
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "debian.sources").write_text(DEBIAN_SOURCES)
    (folder / "more.list").write_text("deb http://more.example bookworm main\n")
    (folder / "off.list.disabled").write_text("deb http://off.example bookworm main\n")
    uris = [source.uris[0] for source in apt.machine_sources(tmp_path)]
    assert uris[-1] == "http://more.example"
    assert "http://off.example" not in uris


def test_debian_asks_its_own_release_with_fixes_and_then_newer_ones_of_the_same_archive():
    found = apt.releases(apt.parse_deb822(DEBIAN_SOURCES), BOOKWORM)
    assert [name for name, _ in found] == ["bookworm", "stable", "testing", "unstable"]
    own = [suite for source in found[0][1] for suite in source.suites]
    assert own == ["bookworm", "bookworm-updates", "bookworm-security"]
    newer = found[1][1]
    assert [(s.uris, s.suites) for s in newer] == [(("http://mirror.example/debian",), ("stable",))]
    assert newer[0].signed_by == "/usr/share/keyrings/debian-archive-keyring.gpg"


def test_ubuntu_asks_only_releases_newer_than_its_own():
    sources = apt.parse_one_line("deb http://m.example/ubuntu noble main universe\n")
    names = [name for name, _ in apt.releases(sources, NOBLE)]
    assert names[0] == "noble"
    assert names[-1] == "devel"
    assert "lunar" not in names
    assert "stable" not in names


def test_a_machine_that_names_no_archive_of_its_release_is_told_so():
    with pytest.raises(apt.AptError, match="bookworm"):
        apt.releases([], BOOKWORM)


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.25.0+ds-1", (1, 25, 0)), ("1:2.0.11-1.2+deb12u2", (2, 0, 11)), ("", ()), ("(none)", ())],
)
def test_the_upstream_numbers_of_a_version_are_compared(version, expected):
    assert apt.numbers(version) == expected


def test_the_lock_yields_the_blocks_asked_for_with_their_hashes():
    text = "pip==26 \\\n    --hash=sha256:aa\n    # via x\nsix==1 \\\n    --hash=sha256:bb\n"
    assert setup.locked(text, ("pip",)) == "pip==26 \\\n    --hash=sha256:aa\n    # via x\n"


def test_every_locked_package_has_a_hash_and_no_address():
    text = setup.LOCK.read_text()
    blocks = [line for line in text.splitlines() if line[:1].isalnum()]
    assert blocks
    assert all("--hash=sha256:" in setup.locked(text, (line.split("==")[0],)) for line in blocks)
    assert "://" not in text


@pytest.fixture
def no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(natives, "FOUND", tmp_path / "natives.json")
    monkeypatch.setattr(natives, "UNPACKED", tmp_path / "native")
    monkeypatch.setattr(natives, "MORE_PATH", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put(path, text):
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)


def test_a_program_in_path_is_taken_if_it_is_new_enough(no_memory):
    put(no_memory / "mosquitto", "mosquitto version 2.0.18")
    assert natives.command("mosquitto") == [str(no_memory / "mosquitto")]
    assert natives.version("mosquitto") == "2.0.18"
    assert "PATH" in natives.origin("mosquitto")


def test_a_program_that_is_too_old_is_not_taken_and_the_sentence_says_so(no_memory):
    put(no_memory / "micropython", "3.4.0; MicroPython v1.19.1 on 2022-10-06")
    with pytest.raises(natives.NativeMissing, match=r"micropython 1\.25 .*1\.19\.1.*no apt"):
        natives.command("micropython")


def test_on_a_mac_the_sentence_is_what_to_type(no_memory, monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(natives.NativeMissing, match="brew install mosquitto"):
        natives.command("mosquitto")


def test_what_was_found_is_looked_for_again_when_it_is_gone_or_replaced(no_memory):
    put(no_memory / "mosquitto", "mosquitto version 2.0.18")
    natives.command("mosquitto")
    (no_memory / "mosquitto").unlink()
    with pytest.raises(natives.NativeMissing):
        natives.command("mosquitto")
    put(no_memory / "mosquitto", "mosquitto version 2.0.20 with more words")
    assert natives.version("mosquitto") == "2.0.20"


@pytest.mark.slow
def test_mosquitto_is_downloaded_unpacked_and_runs_without_root(tmp_path, monkeypatch):
    """The real archive, through the real apt; needs the machine's package archive."""
    try:
        apt.archives(tmp_path)
    except apt.AptError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(natives, "UNPACKED", tmp_path / "native")
    monkeypatch.setattr(natives, "CACHE", tmp_path)
    monkeypatch.setattr(natives, "FOUND", tmp_path / "natives.json")
    monkeypatch.setattr(natives, "_on_path", lambda name: [])
    assert "unpacked" in natives.origin("mosquitto")
    done = subprocess.run(
        [*natives.command("mosquitto_passwd"), "-b", "-c", str(tmp_path / "pw"), "me", "secret"],
        check=False,
        env={"PATH": os.defpath},
    )
    assert done.returncode == 0
    assert (tmp_path / "pw").read_text().startswith("me:$7$")

"""`fleet diff`: what differs between two packages, and how it exits, as diff(1) does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from esp_images import app

from twinslot.cli.main import main
from twinslot.client import diff
from twinslot.formats import archive
from twinslot.formats.component import application_content, firmware_content
from twinslot.trust import keys, signing

KEY, STRANGER = keys.generate(), keys.generate()
OLD = app(text=b"MicroPython v1.25.0 on 2025-04-15")
NEW = app(text=b"MicroPython v1.26.1 on 2025-09-11")
FILES = {"main.py": b"import pump\n", "pump.py": b"RATE = 1\n", "lib/valve.py": b""}

Diff = Callable[..., Result]


def packed(
    firmware: bytes | None = None,
    files: dict[str, bytes] | None = None,
    key: keys.PrivateKey = KEY,
    **changes: Any,
) -> bytes:
    contents = []
    if firmware is not None:
        contents.append(firmware_content(firmware))
    if files is not None:
        contents.append(application_content(archive.build(files)))
    values = {"product": "demo-board", "version": "1.0.0", "sequence": 1, "created": 86400}
    return signing.build(contents, key, **{**values, **changes})


@pytest.fixture
def differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Diff:
    monkeypatch.chdir(tmp_path)

    def run(old: bytes, new: bytes) -> Result:
        Path("a.ota").write_bytes(old)
        Path("b.ota").write_bytes(new)
        return CliRunner().invoke(main, ["diff", "a.ota", "b.ota"])

    return run


def test_the_same_contents_are_the_same_whatever_the_heads_say(differ: Diff) -> None:
    old = packed(OLD, FILES)
    shown = differ(old, packed(OLD, FILES, STRANGER, version="1.1.0", sequence=7, expires=172800))
    assert shown.exit_code == 0
    assert shown.output.splitlines() == [
        "  version     1.0.0 -> 1.1.0",
        "  sequence    1 -> 7",
        "  expires     never -> 1970-01-03 00:00:00 UTC",
        f"  signed by   key {keys.kid(KEY.public_key()).hex()} -> "
        f"key {keys.kid(STRANGER.public_key()).hex()}",
        f"  firmware    the same, MicroPython v1.25.0, {len(OLD)} bytes",
        "  application 3 files the same",
        "  the contents are the same",
    ]
    shown = differ(old, old)
    assert shown.exit_code == 0
    assert not [line for line in shown.output.splitlines() if "->" in line]


def test_files_that_were_added_removed_and_changed_are_listed_with_their_sizes(
    differ: Diff,
) -> None:
    new = {"main.py": b"import pump\n", "pump.py": b"RATE = 20\n", "tank.py": b"x"}
    shown = differ(packed(files=FILES), packed(files=new))
    assert shown.exit_code == 1
    assert shown.output.splitlines() == [
        "  application 1 files the same",
        "    removed   lib/valve.py  0 bytes",
        "    changed   pump.py  9 -> 10 bytes",
        "    added     tank.py  1 bytes",
    ]


def test_a_change_that_keeps_the_size_is_one(differ: Diff) -> None:
    shown = differ(packed(files=FILES), packed(files={**FILES, "pump.py": b"RATE = 2\n"}))
    assert shown.exit_code == 1
    assert "changed   pump.py  9 -> 9 bytes" in shown.output


def test_another_firmware_is_named_by_its_version(differ: Diff) -> None:
    shown = differ(packed(OLD, FILES), packed(NEW, FILES))
    assert shown.exit_code == 1
    assert (
        f"  firmware    MicroPython v1.25.0, {len(OLD)} bytes -> "
        f"MicroPython v1.26.1, {len(NEW)} bytes" in shown.output
    )
    shown = differ(packed(app(30_000)), packed(b"no image"))
    assert "unknown version, 8 bytes" in shown.output


def test_a_component_that_only_one_brings_is_a_difference(differ: Diff) -> None:
    shown = differ(packed(OLD), packed(OLD, FILES))
    assert shown.exit_code == 1
    assert "application none -> some" in shown.output
    assert "added     main.py  12 bytes" in shown.output
    shown = differ(packed(OLD, FILES), packed(files=FILES))
    assert shown.exit_code == 1
    assert "bytes -> none" in shown.output


@pytest.mark.parametrize("bad", [b"", b"hello", packed(OLD)[:-1], packed(OLD)[:4096]])
def test_what_cannot_be_compared_is_trouble_and_no_difference(differ: Diff, bad: bytes) -> None:
    for pair in ((packed(OLD), bad), (bad, packed(OLD))):
        shown = differ(*pair)
        assert shown.exit_code == 2
        assert shown.output.startswith("fleet: ")


def test_a_file_that_is_not_there_and_a_broken_archive_are_trouble(differ: Diff) -> None:
    assert differ(packed(OLD), packed(OLD)).exit_code == 0
    Path("b.ota").unlink()
    shown = CliRunner().invoke(main, ["diff", "a.ota", "b.ota"])
    assert shown.exit_code == 2
    assert "b.ota" in shown.output
    bad = signing.build([application_content(bytes(512))], KEY, "p", "1", 1, 1)
    assert differ(bad, bad).exit_code == 2


def test_a_difference_counts_what_is_the_same() -> None:
    found = diff.compare(packed(files=FILES), packed(files={**FILES, "tank.py": b""}))
    assert (found.unchanged, found.same_contents) == (3, False)
    assert [(change.path, change.word) for change in found.changes] == [("tank.py", "added")]

"""docs/your-application.md lists all that boot.py and agent use beside the application."""

from __future__ import annotations

import re

import pytest

from tools.paths import ROOT

PAGE = (ROOT / "docs/your-application.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("### Used beside your application\n")[2].partition("\n## ")[0]
ROWS = [line.strip("|").split(" | ")[0].strip() for line in SECTION.splitlines() if line[:1] == "|"]
FILES = [ROOT / "boot.py", *sorted((ROOT / "firmware/ota").glob("*.py"))]
CODE = "\n".join(path.read_text(encoding="utf-8") for path in FILES)


def found(pattern: str, code: str = CODE) -> set[str]:
    return {match for match in re.findall(pattern, code) if match}


def row(word: str) -> str:
    """Return the row of the table whose first cell has a word."""
    lines = [line for line in SECTION.splitlines() if line[:1] == "|"]
    (line,) = [line for line, thing in zip(lines, ROWS, strict=True) if word in thing]
    return line


def test_the_nvs_row_has_the_namespace_and_each_key_and_no_other() -> None:
    assert found(r'NVS\("(\w+)"') | found(r'_NAMESPACE = const\("(\w+)"') == {"ota"}
    keys = found(r'\.(?:[gs]et_(?:blob|i32)|erase_key)\("(\w+)"')
    keys |= found(r'_(?:read|write)\((?:\w+\.)?_?nvs, "(\w+)"')
    kinds = found(r'"(\w+)%d" % component\.kind')
    keys |= {f"{stem}{kind}" for stem in kinds for kind in (0, 1)}
    assert {"journal", "history", "trial", "boot", "segments0"} <= keys
    line = row("NVS, namespace `ota`").replace("`ota`", "")
    assert set(re.findall(r"`(\w+)`", line)) == keys


def test_every_device_of_the_chip_that_is_used_has_its_row() -> None:
    devices = found(r"machine\.([A-Z]\w*)\(")
    assert devices == {"WDT", "RTC"}, "a new device needs its row, and its place in this test"
    assert row("`machine.WDT`")
    assert found(r"\bRTC\(\)\.(\w+)") == {"datetime"}, "RTC memory is the application's"
    assert "job service" in row("`machine.RTC().datetime()`")
    assert "nobody" in row("RTC memory, timers, pins, interrupts")
    assert "start_new_thread" in CODE
    assert row("one thread")


def test_every_topic_that_the_agent_speaks_on_has_its_row() -> None:
    channel = (ROOT / "firmware/ota/channel.py").read_text(encoding="utf-8")
    topics = found(r'\bthings \+ "([\w/]+)', channel)
    assert {topic.partition("/")[0] for topic in topics} == {"jobs", "streams", "shadow"}
    line = row("MQTT topics")
    assert "`$aws/things/THING/jobs/...`" in line
    assert "`.../streams/...`" in line
    (report,) = [topic for topic in topics if topic.startswith("shadow/")]
    assert f".../{report.rpartition('/')[0]}/..." in line


def test_every_mount_and_every_entry_of_the_path_has_its_row() -> None:
    mounts = found(r'os\.mount\([^\n]*"(/[\w.]+)"\)') | found(r'^STAGE = "([^"]+)"')
    mounts |= found(r'\nSTAGE = "([^"]+)"')
    assert mounts == {"/.ota", "/.trial"}
    line = row("the mount")
    assert all(f"`{mount}`" in line for mount in mounts)
    assert found(r'sys\.path\.\w+\(.*"(\w+)"\)') == {"lib"}
    assert "entry `lib`" in row("`sys.path`")


@pytest.mark.parametrize(
    "name", ["/etc", "/boot.py", "/app_0", "/app_1", "/.old_*", "sys.modules", "print"]
)
def test_the_other_rows_stand(name: str) -> None:
    assert row(f"`{name}`")

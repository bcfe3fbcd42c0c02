"""`fleet pack --encoding` and `--base`: smaller packages, and what `inspect` says of them."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from linked_images import program

from twinslot.cli.main import main
from twinslot.formats import package
from twinslot.formats.component import APPLICATION, FIRMWARE, RAW, SEGMENTS, Component

Fleet = Callable[..., Result]
OLD = program(120, 60)
OLD.texts.append(bytes(range(32, 127)) * 100)
NEW = copy.deepcopy(OLD)
NEW.texts[20] += b"longer by some bytes"


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """`fleet` in a folder with two images, and an application before and after a change."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments)

    assert run("init").exit_code == 0
    Path("old.bin").write_bytes(OLD.image())
    Path("new.bin").write_bytes(NEW.image())
    for name, line in (("before", "one"), ("after", "two")):
        Path(name).mkdir()
        body = "".join(f"print('line {n} of many')\n" for n in range(400))
        Path(name, "main.py").write_text(f"{body}print('{line}')\n")
    return run


def packed(fleet: Fleet, *arguments: str, out: str = "new.ota") -> Result:
    done = fleet("pack", *arguments, "--version", "1.1.0", "--sequence", "2", "-o", out)
    assert done.exit_code == 0, done.output
    return done


def parts(path: str = "new.ota") -> dict[int, Component]:
    found = package.inspect(Path(path).read_bytes()).manifest.components
    return {component.kind: component for component in found}


def test_a_package_travels_as_it_is_unless_it_is_said(fleet: Fleet) -> None:
    packed(fleet, "new.bin", "--app", "after", "--no-agent")
    assert {component.encoding for component in parts().values()} == {RAW}
    packed(fleet, "new.bin", "--encoding", "raw")
    assert parts()[FIRMWARE].encoding == RAW


def test_segments_compress_firmware_and_application(fleet: Fleet) -> None:
    raw = packed(fleet, "new.bin", "--app", "after", "--no-agent")
    size = len(Path("new.ota").read_bytes())
    said = packed(fleet, "new.bin", "--app", "after", "--no-agent", "--encoding", "segments")
    assert len(Path("new.ota").read_bytes()) < 0.9 * size
    assert "packed into" not in raw.output
    image = NEW.image()
    made = parts()[FIRMWARE]
    assert f"firmware: {len(image)} bytes packed into {made.length}" in said.output
    whole = Path("new.ota").read_bytes()
    assert made.result(whole) == image
    assert parts()[APPLICATION].encoding == SEGMENTS
    shown = fleet("inspect", "new.ota")
    assert shown.exit_code == 0
    assert f"firmware    segments, {made.length} of {len(image)} bytes" in shown.output
    assert "main.py" in shown.output
    assert "signature holds" in shown.output


@pytest.mark.parametrize("base", ["old.bin", "old.ota"])
def test_a_base_makes_a_delta_that_only_its_base_opens(fleet: Fleet, base: str) -> None:
    packed(fleet, "old.bin", out="old.ota")
    said = packed(fleet, "new.bin", "--base", base)
    assert "packed as the difference to its base into 4096" in said.output
    made = parts()[FIRMWARE]
    assert made.base is not None
    whole = Path("new.ota").read_bytes()
    assert made.result(whole, OLD.image()) == NEW.image()
    alone = fleet("inspect", "new.ota")
    assert alone.exit_code == 0
    assert "a delta: only for boards that run the image of" in alone.output
    assert made.base.sha256.hex() in alone.output
    assert "application image for esp32" not in alone.output
    shown = fleet("inspect", "new.ota", "--base", base)
    assert "application image for esp32" in shown.output
    other = fleet("inspect", "new.ota", "--base", "new.bin")
    assert other.exit_code == 1
    assert "the base that was given" in other.output


def test_an_application_is_packed_against_the_one_before(fleet: Fleet) -> None:
    packed(fleet, "--app", "before", "--no-agent", out="old.ota")
    packed(fleet, "--app", "after", "--no-agent", "--base", "old.ota")
    assert len(Path("new.ota").read_bytes()) == 8192
    shown = fleet("inspect", "new.ota", "--base", "old.ota")
    assert "a delta: only for boards that run the application of" in shown.output
    assert "main.py" in shown.output


def test_a_base_without_anything_to_compare_with_is_refused(fleet: Fleet) -> None:
    arguments = ("--version", "1", "--sequence", "2", "-o", "new.ota", "--base", "old.bin")
    done = fleet("pack", "--app", "after", "--no-agent", *arguments)
    assert done.exit_code == 1
    assert "the base has no application" in done.output
    assert not Path("new.ota").exists()
    raw = fleet("pack", "new.bin", "--encoding", "raw", *arguments)
    assert raw.exit_code == 2
    assert "--base is for --encoding segments" in raw.output
    for name in ("missing.bin", "fleet.toml"):
        wrong = fleet("pack", "new.bin", *arguments[:-1], name)
        assert wrong.exit_code in (1, 2, 3)
        assert not Path("new.ota").exists()


def test_a_delta_is_no_base(fleet: Fleet) -> None:
    packed(fleet, "old.bin", "--base", "new.bin", out="old.ota")
    arguments = ("--version", "1", "--sequence", "2", "-o", "new.ota", "--base", "old.ota")
    done = fleet("pack", "new.bin", *arguments)
    assert done.exit_code == 1
    assert "this is a delta: it needs the" in done.output

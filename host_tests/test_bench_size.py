"""`make bench-size`: each row is a real package of the images that were given."""

import copy
import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner
from linked_images import program

from bench import size
from twinslot.formats import image

OLD = program(200, 80)
OLD.texts.append(bytes(range(32, 127)) * 60)
NEW = copy.deepcopy(OLD)
NEW.texts[3] += b" and more"


def application(data: bytes) -> image.Application:
    return image.application(data)


def test_a_table_has_each_image_alone_each_pair_and_what_was_not_measured(tmp_path: Path) -> None:
    for name, one in (("old.bin", OLD), ("new.bin", NEW)):
        (tmp_path / name).write_bytes(one.image())
    paths = [str(tmp_path / name) for name in ("old.bin", "new.bin")]
    shown = CliRunner().invoke(size.main, paths)
    lines = shown.stdout.splitlines()
    kinds = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert kinds.count(size.ALONE) == 2
    assert kinds.count(size.NEIGHBOURS) == kinds.count(size.TEXT) == kinds.count(size.REBUILT) == 1
    assert f"| {size.RISC_V} | | not measured | | 3 % | |" in lines
    assert f"| {size.RELEASES} | | not measured | | 61 % | |" in lines
    for one in (OLD, NEW):
        digest = hashlib.sha256(one.image()).hexdigest()
        assert any(f"`{digest}`" in line and "xz" in line for line in lines)


def test_a_row_that_takes_more_than_it_may_ends_the_run_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new.bin"
    path.write_bytes(NEW.image())
    monkeypatch.setitem(size.MOST, size.TEXT, 50)
    monkeypatch.setitem(size.MOST, size.REBUILT, 50)
    good = CliRunner().invoke(size.main, [str(path)])
    assert good.exit_code == 0, good.output
    monkeypatch.setitem(size.MOST, size.TEXT, 0.01)
    bad = CliRunner().invoke(size.main, [str(path)])
    assert bad.exit_code == 1
    assert "0.01 %, missed" in bad.stdout
    wrong = CliRunner().invoke(size.main, [str(tmp_path / "missing.bin")])
    assert wrong.exit_code == 2


def test_what_is_made_of_an_image_is_an_image_again() -> None:
    found = application(NEW.image())
    for made in (size.rebuilt(found), size.retexted(found)):
        assert len(made.data) == len(found.data)
        assert 0 < sum(a != b for a, b in zip(made.data, found.data, strict=True)) < 200


def test_a_pair_is_named_by_chip_and_esp_idf() -> None:
    old = application(OLD.image())
    assert size.kind_of(old, application(NEW.image())) == size.NEIGHBOURS
    risc_v = copy.deepcopy(OLD)
    risc_v.chip = 5
    assert size.kind_of(old, application(risc_v.image())) == size.RISC_V
    data = bytearray(OLD.image())
    data[144:148] = b"v5.5"
    later = application(size.sealed(bytes(data), image.sections(OLD.image())))
    assert size.kind_of(old, later) == size.RELEASES

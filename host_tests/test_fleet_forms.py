"""Each board gets a package in the smallest form that its report says it can take."""

import copy
from pathlib import Path

import pytest
from linked_images import program

from twinslot.client.forms import MOST_DELTAS, Form, chosen, form_of
from twinslot.client.kept import FOLDER, MOST, Kept
from twinslot.client.shadow import Reported
from twinslot.formats import archive, package
from twinslot.formats.component import (
    APPLICATION,
    FIRMWARE,
    RAW,
    SEGMENTS,
    application_content,
    firmware_content,
)
from twinslot.trust import keys, signing

IMAGE, FILES, OTHER = "aa" * 32, "bb" * 32, "cc" * 32
KNOWN = frozenset({(FIRMWARE, IMAGE), (APPLICATION, FILES)})
BOTH = (FIRMWARE, APPLICATION)
RAW_FORM, COMPRESSED = Form(), Form(SEGMENTS)


def said(encodings: int | None = 1 << SEGMENTS, image: str = IMAGE, files: str = "") -> Reported:
    return Reported(1, encodings=encodings, image=image, files=files)


@pytest.mark.parametrize(
    ("report", "form"),
    [
        (None, RAW_FORM),
        (said(None), RAW_FORM),
        (said(0), RAW_FORM),
        (said(1 << 5), RAW_FORM),
        (said(image=OTHER), COMPRESSED),
        (said(image=""), COMPRESSED),
        (said(), Form(SEGMENTS, ((FIRMWARE, IMAGE),))),
        (said(image="", files=FILES), Form(SEGMENTS, ((APPLICATION, FILES),))),
        (said(files=FILES), Form(SEGMENTS, ((FIRMWARE, IMAGE), (APPLICATION, FILES)))),
        (said(files=IMAGE), Form(SEGMENTS, ((FIRMWARE, IMAGE),))),
    ],
)
def test_a_board_without_a_report_gets_all_and_another_one_what_it_can_read(
    report: Reported | None, form: Form
) -> None:
    assert form_of(report, BOTH, KNOWN) == form


def test_only_what_the_package_brings_can_be_a_delta() -> None:
    assert form_of(said(files=FILES), (APPLICATION,), KNOWN).bases == ((APPLICATION, FILES),)
    assert form_of(said(files=FILES), BOTH, frozenset()) == COMPRESSED


def test_a_person_may_say_otherwise() -> None:
    assert form_of(said(), BOTH, KNOWN, RAW) == RAW_FORM
    assert form_of(None, BOTH, KNOWN, SEGMENTS) == COMPRESSED
    assert form_of(said(0), BOTH, KNOWN, SEGMENTS) == Form(SEGMENTS, ((FIRMWARE, IMAGE),))


def test_boards_share_forms_and_rare_bases_are_left_out() -> None:
    digests = [f"{number:02x}" * 32 for number in range(MOST_DELTAS + 1)]
    known = {(FIRMWARE, digest) for digest in digests}
    reports: dict[str, Reported | None] = {"old-1": None, "new": said(image=OTHER)}
    for number, digest in enumerate(digests):
        for board in range(2 if number else 1):
            reports[f"{digest[:2]}-{board}"] = said(image=digest)
    found = chosen(reports, BOTH, known)
    assert [len(things) for things in found.values()] == [1, 2] + [2] * MOST_DELTAS
    assert found[RAW_FORM] == ["old-1"]
    assert found[COMPRESSED] == ["new", "00-0"]
    assert sorted(thing for things in found.values() for thing in things) == sorted(reports)
    assert [form.words for form in found][:3] == [
        "as it is",
        "compressed",
        "the difference to what they run",
    ]


KEY = keys.generate()
PROGRAM = program(60, 30)


def built(sequence: int = 7, text: bytes = b"") -> bytes:
    one = copy.deepcopy(PROGRAM)
    one.texts[0] += text
    files = archive.build({"main.py": b"print(1)\n" * 50 + text})
    contents = [firmware_content(one.image()), application_content(files)]
    return signing.build(contents, KEY, "demo-board", "1.1.0", sequence, 1)


def test_kept_packages_are_bases_by_the_digest_of_what_they_bring(tmp_path: Path) -> None:
    data = built()
    assert Kept(tmp_path).known == frozenset()
    Kept(tmp_path).add(data)
    kept = Kept(tmp_path)
    components = package.inspect(data).manifest.components
    assert kept.known == {(one.kind, one.sha256.hex()) for one in components}
    for one in components:
        assert kept.base(one.kind, one.sha256.hex()) == one.result(data)
    assert kept.base(FIRMWARE, components[1].sha256.hex()) is None


def test_a_damaged_kept_package_is_no_base_and_no_form(tmp_path: Path) -> None:
    data = built()
    kept = Kept(tmp_path)
    kept.add(data)
    kept.add_form(b"id", COMPRESSED, data)
    assert kept.form(b"id", COMPRESSED) == data
    assert kept.form(b"id", RAW_FORM) is None
    assert kept.form(b"other", COMPRESSED) is None
    for path in (tmp_path / FOLDER).iterdir():
        path.write_bytes(data[:-1])
    (component, _) = package.inspect(data).manifest.components
    assert kept.base(FIRMWARE, component.sha256.hex()) is None
    assert kept.form(b"id", COMPRESSED) is None
    (tmp_path / FOLDER / "a.ota").write_bytes(b"no package")
    assert len(Kept(tmp_path).known) == 2


def test_the_oldest_of_many_kept_packages_go(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    data = built()
    for number in range(MOST + 3):
        kept.add_form(b"%d" % number, COMPRESSED, data)
    assert len(list((tmp_path / FOLDER).iterdir())) == MOST
    assert kept.form(b"0", COMPRESSED) is None
    assert kept.form(b"%d" % (MOST + 2), COMPRESSED) == data

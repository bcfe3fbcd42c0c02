"""Components of encoding 1 as the manifest describes them, and what boards may ignore of others."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from segment_rows import PLAIN, XTENSA, component_of, literal, payload

from twinslot.errors import BaseMismatchError, EncodingError, PackageError
from twinslot.formats import package
from twinslot.formats.component import (
    APPLICATION,
    ENCODINGS,
    FIRMWARE,
    SEGMENTS,
    Base,
    Content,
    application_content,
    described,
    firmware_content,
    read_component,
)
from twinslot.formats.segments import chain
from twinslot.formats.segments.prologue import Code, Prologue
from twinslot.trust import keys, signing

VECTOR = json.loads((Path(__file__).parent / "vectors" / "segments.json").read_text())
BASE, RESULT = bytes.fromhex(VECTOR["base_hex"]), bytes.fromhex(VECTOR["result_hex"])
OF_BASE = Base(len(BASE), hashlib.sha256(BASE).digest())
TEXT = b"what an application says\n" * 20
NO_CODE = "only firmware of an Xtensa chip has ranges of code"
NO_SHIFTS = "only firmware with a base has shifts"


def in_segments(data: bytes, result: bytes, base: Base | None, **more: Any) -> Content:
    """A content of encoding 1 that has this payload; of firmware for an ESP32."""
    stored, first = chain.chained(data)
    content = Content(
        FIRMWARE,
        stored,
        SEGMENTS,
        len(result),
        hashlib.sha256(result).digest(),
        chip=XTENSA,
        first=first,
        base=base,
    )
    return replace(content, **more)


def delta(**more: Any) -> Content:
    """The worked example of encoding 1, whose prologue has code and shifts."""
    made = in_segments(bytes.fromhex(VECTOR["payload_hex"]), RESULT, OF_BASE)
    return replace(made, **more)


def test_a_delta_is_described_by_its_first_block_and_by_digest_and_size_of_its_base() -> None:
    fields = described(delta())
    assert fields == {
        1: 0,
        2: 1,
        3: 4096,
        4: len(RESULT),
        5: hashlib.sha256(RESULT).digest(),
        6: 0,
        7: bytes.fromhex(VECTOR["first_hex"]),
        8: hashlib.sha256(BASE).digest(),
        9: len(BASE),
    }
    assert not {8, 9} & set(described(delta(base=None)))
    assert not {7, 8, 9} & set(described(firmware_content(RESULT)))


def test_the_worked_example_of_a_delta_gives_its_result_with_its_base() -> None:
    content = delta()
    assert component_of(content).result(content.data, BASE) == RESULT


def test_a_delta_without_its_base_says_which_one_it_needs() -> None:
    content = delta()
    needed = f"needs the {len(BASE)} bytes with SHA-256 {hashlib.sha256(BASE).hexdigest()}"
    with pytest.raises(BaseMismatchError, match=needed):
        component_of(content).result(content.data)


@pytest.mark.parametrize("other", [b"", BASE[:-1], BASE[:-1] + b"\1", BASE + b"\0"])
def test_a_delta_takes_no_other_base_and_says_what_it_was_given(other: bytes) -> None:
    content = delta()
    needed = f"on {len(BASE)} bytes with SHA-256 {hashlib.sha256(BASE).hexdigest()}"
    given = f"given has {len(other)} bytes and SHA-256 {hashlib.sha256(other).hexdigest()}"
    with pytest.raises(BaseMismatchError, match=f"{needed}; the base that was {given}"):
        component_of(content).result(content.data, other)


@pytest.mark.parametrize("chip", [PLAIN, 999])
def test_firmware_of_no_xtensa_chip_has_no_ranges_of_code(chip: int) -> None:
    content = delta(chip=chip)
    with pytest.raises(EncodingError, match=NO_CODE):
        component_of(content).result(content.data, BASE)


def test_an_application_has_no_ranges_of_code_and_no_shifts() -> None:
    coded = delta(kind=APPLICATION, chip=None)
    with pytest.raises(EncodingError, match=NO_CODE):
        component_of(coded).result(coded.data, BASE)
    moved = payload(Prologue(12, (), ((8, 4), (16, 0))), literal(TEXT))
    shifted = in_segments(moved, TEXT, OF_BASE, kind=APPLICATION, chip=None)
    with pytest.raises(EncodingError, match=NO_SHIFTS):
        component_of(shifted).result(shifted.data, BASE)


def test_firmware_without_a_base_may_have_code_and_has_no_shifts() -> None:
    code = (Code(0, 4, 0x400D0000, 0),)
    coded = in_segments(payload(Prologue(12, code), literal(TEXT)), TEXT, None)
    assert component_of(coded).result(coded.data) == TEXT
    shifted = delta(base=None)
    with pytest.raises(EncodingError, match=NO_SHIFTS):
        component_of(shifted).result(shifted.data)


def test_firmware_of_another_chip_with_a_base_may_have_shifts() -> None:
    moved = payload(Prologue(12, (), ((8, 4), (16, 0))), literal(TEXT))
    shifted = in_segments(moved, TEXT, OF_BASE, chip=PLAIN)
    assert component_of(shifted).result(shifted.data, BASE) == TEXT


def test_the_stored_blocks_and_the_prologue_of_a_delta_are_checked_without_its_base() -> None:
    key = keys.generate()

    def packed(content: Content) -> bytes:
        return signing.build([content], key, "demo-board", "1.1.0", 7, 1)

    assert package.inspect(packed(delta())).manifest.components[0].base == OF_BASE
    with pytest.raises(EncodingError, match="block 0 does not have the SHA-256 of the chain"):
        package.inspect(packed(delta(first=bytes(range(32)))))
    with pytest.raises(EncodingError, match=NO_CODE):
        package.inspect(packed(delta(chip=PLAIN)))


def test_the_raw_content_that_segments_bring_has_the_names_of_its_modules_and_its_room() -> None:
    plain = payload(Prologue(12), literal(TEXT))
    firmware = in_segments(plain, TEXT, None, frozen=("a.py", "b.py"))
    application = in_segments(
        plain, TEXT, None, kind=APPLICATION, chip=None, room=(2, "main.py", 500)
    )
    assert component_of(firmware).content(firmware.data) == firmware_content(
        TEXT, XTENSA, ["a.py", "b.py"]
    )
    assert component_of(application).content(application.data) == application_content(
        TEXT, [2, "main.py", 500]
    )


@pytest.mark.parametrize("room", [[3], [3, "main.py", 700], [3, "main.py", 700, "b.py", 0]])
def test_room_is_blocks_and_then_paths_and_bytes(room: list[int | str]) -> None:
    assert component_of(application_content(TEXT, room)).room == tuple(room)


@pytest.mark.parametrize(
    "room", [[], 3, "3", {3: 3}, ["main.py", 700], [3, "main.py"], [3, 700, "main.py"], [True]]
)
def test_other_room_is_refused_by_name(room: Any) -> None:
    fields = described(application_content(TEXT))
    with pytest.raises(PackageError) as caught:
        read_component({**fields, 65: room}, 0)
    assert str(caught.value) == "component, room (65): no list of blocks, paths and bytes"


def test_firmware_takes_no_room_whatever_it_says_of_it() -> None:
    fields = described(firmware_content(TEXT))
    for room in ([3], "plenty"):
        assert read_component({**fields, 65: room}, 0).room == ()


@pytest.mark.parametrize("names", [7, "a.py", [7], ["a.py", 7], {"a.py": 1}])
def test_names_of_frozen_modules_that_make_no_sense_are_ignored(names: Any) -> None:
    fields = described(firmware_content(TEXT, frozen=["a.py", "b.py"]))
    assert read_component(fields, 0).frozen == ("a.py", "b.py")
    assert read_component({**fields, 64: names}, 0).frozen == ()


def test_encodings_have_the_names_that_people_type() -> None:
    assert [ENCODINGS[number] for number in (0, 1)] == ["raw", "segments"]

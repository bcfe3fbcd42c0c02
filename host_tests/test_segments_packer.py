"""The packer of encoding 1: what it makes is small, and gives back its result, or is refused."""

import copy
import hashlib
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_images import Function, program
from segment_rows import component_of

from twinslot.errors import BaseMismatchError, EncodingError, PackageError
from twinslot.formats import archive, package, packed
from twinslot.formats.component import (
    SEGMENTS,
    Base,
    Content,
    application_content,
    described,
    firmware_content,
    read_component,
)
from twinslot.formats.segments import chain, decoder, packer
from twinslot.trust import keys, signing

WORDS = [random.Random(9).randbytes(3).hex() for _ in range(500)]


def source(lines: int, seed: int) -> bytes:
    chance = random.Random(seed)
    return "".join(
        f"    {chance.choice(WORDS)} = {chance.choice(WORDS)}({chance.randrange(10000)})\n"
        for _ in range(lines)
    ).encode()


def files() -> dict[str, bytes]:
    """An application of 30 files and 200 KB."""
    return {"main.py": source(230, 0)} | {f"lib/m{n:02}.py": source(230, n) for n in range(1, 30)}


def result(content: Content, base: bytes | None = None) -> bytes:
    return component_of(content).result(content.data, base)


def used(content: Content) -> int:
    """Bytes of the payload without what fills the last block."""
    assert content.first is not None
    return len(chain.payload_of(content.data, content.first).rstrip(b"\xff"))


def delta(new: bytes, old: bytes, chip: int = 0) -> Content:
    made = packed.smaller(firmware_content(new, chip), old)
    assert made.encoding == SEGMENTS
    assert result(made, old) == new
    return made


def test_an_image_is_compressed_and_comes_out_again() -> None:
    image = program().image()
    made = packed.smaller(firmware_content(image))
    assert (made.encoding, made.base, made.size) == (SEGMENTS, None, len(image))
    assert len(made.data) % 4096 == 0
    assert len(made.data) < len(image)
    assert result(made) == image


def test_calls_of_one_function_repeat_once_they_are_absolute() -> None:
    one = program(functions=600)
    for function in one.functions:
        function.calls = [random.Random(1).choice((3, 4, 5)) for _ in range(40)]
        function.plain = function.plain[:2] * 30
    image = one.image()
    coded = packed.smaller(firmware_content(image))
    plain = packed.smaller(firmware_content(image, chip=5))
    assert result(coded) == result(plain) == image
    assert len(coded.data) < 0.8 * len(plain.data)


def test_contents_that_do_not_get_smaller_travel_as_they_are() -> None:
    noise = application_content(random.Random(1).randbytes(20000))
    assert packed.smaller(noise) is noise
    short = application_content(archive.build({"main.py": b"print(1)\n"}))
    assert packed.smaller(short) is short


def test_contents_in_segments_are_not_packed_twice() -> None:
    made = packed.smaller(application_content(archive.build(files())))
    assert made.encoding == SEGMENTS
    assert packed.smaller(made) is made


def test_the_same_image_is_a_delta_of_one_block_in_2_segments() -> None:
    image = program().image()
    made = delta(image, image)
    assert len(made.data) == 4096
    assert made.base == Base(len(image), hashlib.sha256(image).digest())


def test_one_changed_text_travels_alone() -> None:
    before = program()
    after = copy.deepcopy(before)
    after.texts[70] = after.texts[70][:-1] + b"!"
    assert len(delta(after.image(), before.image()).data) == 4096


@pytest.mark.parametrize("shift", [4, 16, 1000, 5000])
def test_code_and_data_that_moved_take_their_addresses_along(shift: int) -> None:
    before = program()
    after = copy.deepcopy(before)
    after.texts[10] += b"x" * shift
    nops = [bytes.fromhex("f02000")] * (shift // 3 + 3)
    after.functions.insert(200, Function(nops, [], []))
    for function in after.functions:
        function.calls = [call + (call >= 200) for call in function.calls]
    new, old = after.image(), before.image()
    assert len(new) > len(old) > 60000
    coded, plain = delta(new, old), delta(new, old, chip=5)
    assert len(coded.data) == 4096
    assert used(coded) < 0.5 * used(plain)


def test_functions_that_changed_places_are_found() -> None:
    before = program()
    after = copy.deepcopy(before)
    order = list(range(400))
    moved = order[100:180]
    order = order[:100] + order[180:300] + moved + order[300:]
    after.functions = [after.functions[number] for number in order]
    places = {number: place for place, number in enumerate(order)}
    for function in after.functions:
        function.calls = [places[call] for call in function.calls]
    assert len(delta(after.image(), before.image()).data) <= 2 * 4096


def test_a_base_that_has_nothing_in_common_costs_hardly_more_than_none() -> None:
    new, other = program().image(), random.Random(5).randbytes(50000)
    alone = packed.smaller(firmware_content(new))
    assert len(delta(new, other).data) <= 1.03 * len(alone.data)


@pytest.mark.parametrize("length", [1, 3, 31, 33, 4096])
def test_a_short_base_is_a_base(length: int) -> None:
    new = program().image()
    delta(new, new[:length])
    delta(new, new[-length:])


def test_one_changed_line_of_an_application_fits_a_package_of_8_kb() -> None:
    before = archive.build(files())
    changed = files()
    lines = changed["lib/m17.py"].splitlines(keepends=True)
    lines[100] = b"    print('something else')\n"
    changed["lib/m17.py"] = b"".join(lines)
    after = archive.build(changed)
    assert len(after) > 200_000
    made = packed.smaller(application_content(after, [99, "main.py", 7000]), before)
    assert result(made, before) == after
    whole = signing.build([made], keys.generate(), "demo-board", "1.1.0", 7, 1)
    assert len(whole) <= 8192


def test_a_file_that_moved_within_the_archive_does_not_travel() -> None:
    before = archive.build(files())
    changed = {**files(), "lib/a.py": source(60, 99)}
    del changed["lib/m03.py"]
    made = packed.smaller(application_content(archive.build(changed)), before)
    assert len(made.data) == 4096
    assert result(made, before) == archive.build(changed)


def test_of_an_empty_base_nothing_is_copied_so_any_board_can_take_the_package() -> None:
    image = program().image()
    made = packed.smaller(firmware_content(image), b"")
    assert made == packed.smaller(firmware_content(image))
    assert (made.encoding, made.base) == (SEGMENTS, None)


def test_a_delta_needs_the_very_base_that_it_was_made_with() -> None:
    new, old = program(seed=2).image(), program(seed=2, texts=149).image()
    made = delta(new, old)
    with pytest.raises(BaseMismatchError, match=hashlib.sha256(old).hexdigest()):
        result(made)
    for other in (old[:-1], old[:-1] + b"\0", new, b""):
        with pytest.raises(BaseMismatchError, match=f"the base that was given has {len(other)}"):
            result(made, other)


def test_a_package_with_a_delta_is_checked_with_its_base_and_its_chain_without() -> None:
    new, old = program(seed=3).image(), program(seed=4).image()
    made = delta(new, old)
    key = keys.generate()
    whole = signing.build([made], key, "demo-board", "1.1.0", 7, 1)
    assert package.inspect(whole).manifest.components[0].base == made.base
    assert package.inspect(whole, {0: old}).manifest.components[0].base == made.base
    damaged = bytearray(whole)
    damaged[-100] ^= 1
    with pytest.raises(EncodingError, match="does not have the SHA-256 of the chain"):
        package.inspect(bytes(damaged))
    lying = signing.build([replace(made, sha256=bytes(32))], key, "demo-board", "1.1.0", 7, 1)
    package.inspect(lying)
    with pytest.raises(PackageError, match="does not have the SHA-256 of the manifest"):
        package.inspect(lying, {0: old})


def test_the_raw_content_comes_back_whole_from_a_package_in_segments() -> None:
    raw = [
        firmware_content(program(seed=7).image(), 0, ["b.py", "a.py"]),
        application_content(archive.build(files()), [99, "main.py", 7000]),
    ]
    made = [packed.smaller(content) for content in raw]
    whole = signing.build(made, keys.generate(), "demo-board", "1.1.0", 7, 1)
    components = package.inspect(whole).manifest.components
    assert SEGMENTS in {component.encoding for component in components}
    assert [component.content(whole) for component in components] == raw


def test_names_of_frozen_modules_that_make_no_sense_are_no_names() -> None:
    fields = described(firmware_content(b"x", 0, ["a.py"]))
    assert read_component(fields, 0).frozen == ("a.py",)
    for value in ([1], "a.py", 7):
        assert read_component({**fields, 64: value}, 0).frozen == ()


def test_what_would_not_come_out_right_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packer, "decode", lambda *given: decoder.decode(*given)[:-1] + b"?")
    with pytest.raises(EncodingError, match="does not give its result"):
        packed.smaller(application_content(archive.build(files())))


def test_the_packer_tells_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    image = program().image()
    packed.smaller(firmware_content(image), None, lambda *now: told.append(now))
    done, every = zip(*told, strict=True)
    assert list(done) == sorted(set(done))
    assert set(every) == {done[-1]}


def test_the_packer_makes_the_same_bytes_each_time() -> None:
    new, old = program(seed=6).image(), program(seed=6, texts=151).image()
    assert delta(new, old) == delta(new, old)


PIECES = st.lists(st.sampled_from([bytes(40), b"abcdefgh" * 9, program(9, 5).image()]), max_size=4)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300), PIECES, PIECES, st.sampled_from([0, 5]))
def test_any_pair_of_bytes_comes_out_again(
    noise: bytes, old: list[bytes], new: list[bytes], chip: int
) -> None:
    base, wanted = b"".join(old) + noise, noise + b"".join(new) + b"."
    for known in (None, base):
        made = packed.smaller(firmware_content(wanted, chip), known)
        assert result(made, known if made.base else None) == wanted

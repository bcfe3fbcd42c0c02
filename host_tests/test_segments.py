"""Encoding 1: the reference decoder reads what the format says, and names the rule of the rest."""

import hashlib
import json
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segment_rows import deflated, framed, literal, payload, row

from twinslot.errors import EncodingError
from twinslot.formats.segments import addresses, chain, decoder, operations
from twinslot.formats.segments.operations import Operation
from twinslot.formats.segments.prologue import Code, Prologue, Shifts, read_prologue

HEX = bytes.fromhex
VECTOR = json.loads((Path(__file__).parent / "vectors" / "segments.json").read_text())
EXAMPLE = {
    name.removesuffix("_hex"): HEX(text) for name, text in VECTOR.items() if name.endswith("_hex")
}
ANY = decoder.Kind(codes=True, shifts=True)
NONE = decoder.Kind(codes=False, shifts=False)
PLAIN = Prologue(12)
TEXT = bytes(random.Random(1).choices(b"abcdefgh \n", k=70000))


def decode(data: bytes, size: int, base: bytes | None = None, kind: decoder.Kind = ANY) -> bytes:
    stored, first = chain.chained(data)
    return decoder.decode(stored, first, size, base, kind)


def refused(words: str, data: bytes, size: int, **more: Any) -> None:
    with pytest.raises(EncodingError, match=words):
        decode(data, size, **more)


def test_the_worked_example_comes_out_right() -> None:
    stored, first = chain.chained(EXAMPLE["payload"])
    assert first == EXAMPLE["first"]
    assert len(stored) == 4096
    size = len(EXAMPLE["result"])
    assert decoder.decode(stored, first, size, EXAMPLE["base"], ANY) == EXAMPLE["result"]


def test_the_prologue_of_the_worked_example_is_read_and_written() -> None:
    prologue, end = decoder.prologue_of(EXAMPLE["payload"], len(EXAMPLE["result"]), ANY)
    assert end == 4 + 0x24
    assert prologue.data == EXAMPLE["prologue"]
    assert prologue.codes == (Code(0x14, 0x10, 0x400D0014, 0),)
    assert Shifts(prologue.shifts).of(0x3F400100) == 16
    assert Shifts(prologue.shifts).of(0x400D0034) == 8


def test_the_operations_of_the_worked_example_are_read_and_written() -> None:
    made = EXAMPLE["block"][4:10]
    found = list(operations.read(made))
    assert found == [Operation(0, 9), Operation(4, 16, -4), Operation(3, 4, -3)]
    assert operations.written(found) == made


def test_segments_of_literals_give_the_result_block_after_block() -> None:
    whole = payload(PLAIN, literal(TEXT[:65536]), literal(TEXT[65536:]))
    assert decode(whole, len(TEXT), kind=NONE) == TEXT


def test_the_alignment_goes_on_from_block_to_block_and_starts_again_with_a_segment() -> None:
    base = TEXT + b"more"
    rows = row([Operation(0, 4096, 4)]) + row([Operation(0, 4096)]) * 15
    second = row([Operation(0, 4096)]) + row([Operation(0, len(TEXT) - 65536 - 4096)])
    expected = base[4:65540] + base[65536 : len(TEXT)]
    assert decode(payload(PLAIN, rows, second), len(TEXT), base) == expected


# -- the chain -------------------------------------------------------------------------------------


def test_a_chain_of_one_block_and_of_many_gives_back_its_payload() -> None:
    for length in (1, 4063, 4064, 4065, 20000):
        stored, first = chain.chained(TEXT[:length])
        assert len(stored) == -(-length // 4064) * 4096
        assert hashlib.sha256(stored[:4096]).digest() == first
        assert chain.payload_of(stored, first).rstrip(b"\xff") == TEXT[:length]
        assert not any(stored[-32:])


@pytest.mark.parametrize("at", [0, 4095, 4096, 8191, 12287])
def test_a_block_with_another_byte_breaks_the_chain(at: int) -> None:
    stored, first = chain.chained(TEXT[:12000])
    damaged = bytearray(stored)
    damaged[at] ^= 1
    with pytest.raises(EncodingError, match=f"block {at // 4096} does not have the SHA-256"):
        chain.payload_of(bytes(damaged), first)


def test_a_chain_that_ends_early_or_goes_on_is_refused() -> None:
    stored, first = chain.chained(TEXT[:8000])
    with pytest.raises(EncodingError, match="the chain ends before block 2"):
        chain.payload_of(stored + stored[4096:], first)
    with pytest.raises(EncodingError, match="the last block does not end in zeros"):
        chain.payload_of(stored[:4096], first)
    for length in (0, 1, 4095, 4097):
        with pytest.raises(EncodingError, match=f"{length} stored bytes are no whole blocks"):
            chain.payload_of(stored[:length], first)


# -- streams ---------------------------------------------------------------------------------------


def test_a_stream_that_ends_behind_the_last_block_is_refused() -> None:
    whole = payload(PLAIN, literal(b"abc"))
    refused("the prologue ends behind the last stored block", b"\0\0\x20\0", 3)
    begin = len(payload(PLAIN))
    longer = whole[:begin] + (5000).to_bytes(4, "big") + whole[begin + 4 :]
    refused("segment 0 ends behind the last stored block", longer, 3)


def test_a_stream_that_ends_before_its_length_is_refused() -> None:
    rows = deflated(literal(b"abc"))
    for more in (b"\0", b"\xff" * 100):
        refused("segment 0 ends before its length", payload(PLAIN) + framed(rows + more), 3)
    refused("the prologue ends before its length", framed(deflated(PLAIN.data) + b"\0"), 3)


def test_a_stream_that_is_cut_short_is_refused() -> None:
    rows = deflated(literal(TEXT[:300]))
    for length in (0, 1, 100, len(rows) - 1):
        refused("segment 0 is cut short", payload(PLAIN) + framed(rows[:length]), 300)


def test_a_stream_that_is_no_deflate_is_refused() -> None:
    refused("segment 0 is no deflate stream", payload(PLAIN) + framed(b"\x07" * 20), 3)
    refused("the prologue is no deflate stream", framed(b"\x07" * 20), 3)


def test_a_distance_beyond_the_window_is_refused_though_a_host_could_follow_it() -> None:
    noise = random.Random(2).randbytes(500)
    data = noise + b"-" * 2500 + noise
    rows = literal(data)
    for bits, holds in ((12, True), (11, False), (9, False)):
        engine = zlib.compressobj(9, zlib.DEFLATED, -12, 9)
        far = engine.compress(rows) + engine.flush()
        whole = framed(deflated(Prologue(bits).data)) + framed(far)
        if holds:
            assert decode(whole, len(data)) == data
            assert len(far) < 2 * len(noise)
        else:
            refused("segment 0 is no deflate stream with such a window", whole, len(data))


def test_a_stream_that_gives_more_than_any_segment_ends_within_bounds() -> None:
    bomb = deflated(bytes(1 << 20))
    refused("segment 0 gives more than", payload(PLAIN) + framed(bomb), 65536)
    refused("the prologue gives more than", framed(deflated(bytes(4000))), 3)


def test_a_prologue_that_leaves_block_0_is_refused() -> None:
    noise = random.Random(3).randbytes(4100)
    whole = framed(noise) + framed(b"")
    refused("the prologue ends behind block 0", whole, 3)


# -- the prologue ----------------------------------------------------------------------------------

CODE = Code(0, 16, 0x400D0000, 0)


@pytest.mark.parametrize(
    ("prologue", "words"),
    [
        (Prologue(8), "bits: 8 is not from 9 to 12"),
        (Prologue(13), "bits: 13 is not"),
        (Prologue(12, (Code(0, 4, 0, 0),) * 5), "R: 5 ranges of code, at most 4"),
        (Prologue(12, (Code(0, 0, 0, 0),)), "range 0: has no bytes"),
        (Prologue(12, (CODE, CODE)), "range 1: begins before the one before it ends"),
        (Prologue(12, (Code(88, 16, 0, 0),)), "range 0: ends behind the result"),
        (Prologue(12, (Code(2, 16, 0, 0),)), "multiples of 4"),
        (Prologue(12, (Code(0, 17, 0, 0),)), "multiples of 4"),
        (Prologue(12, (Code(0, 16, 1, 0),)), "multiples of 4"),
        (Prologue(12, (Code(0, 16, 0, -2),)), "multiples of 4"),
        (Prologue(12, (Code(0, 16, 2**31 - 16, 0),)), "not below 2\\^31"),
        (Prologue(12, (Code(0, 16, 0, 2**24),)), "bias is not below 2\\^24"),
        (Prologue(12, (Code(0, 16, 0, -(2**24)),)), "bias is not below 2\\^24"),
        (Prologue(12, (), tuple((n, 0) for n in range(257))), "M: 257 shifts, at most 256"),
        (Prologue(12, (), ((8, 4), (8, 0))), "shift 1: addresses rise"),
        (Prologue(12, (), ((8, 4), (4, 0))), "shift 1: addresses rise"),
        (Prologue(12, (), ((2**31, 0),)), "shift 0: addresses rise, and are below"),
        (Prologue(12, (), ((8, 4),)), "the last shift is not 0"),
    ],
)
def test_a_prologue_that_breaks_a_rule_is_refused(prologue: Prologue, words: str) -> None:
    with pytest.raises(EncodingError, match=words):
        read_prologue(prologue.data, 100, codes=True, shifts=True)


def test_a_prologue_at_its_bounds_is_read() -> None:
    codes = (CODE, Code(16, 4, 0, 2**24 - 4), Code(20, 80, 2**31 - 84, 4 - 2**24))
    most = tuple((n * 5, n * (-1) ** n % 1000 if n < 255 else 0) for n in range(256))
    for bits in (9, 12):
        prologue = Prologue(bits, codes, most)
        assert read_prologue(prologue.data, 100, codes=True, shifts=True) == prologue


def test_only_xtensa_firmware_has_code_and_only_firmware_with_a_base_shifts() -> None:
    coded, shifted = Prologue(12, (CODE,)), Prologue(12, (), ((8, 0),))
    with pytest.raises(EncodingError, match="R: only firmware of an Xtensa chip"):
        read_prologue(coded.data, 100, codes=False, shifts=True)
    with pytest.raises(EncodingError, match="M: only firmware with a base"):
        read_prologue(shifted.data, 100, codes=True, shifts=False)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 5, 18, 19, 21, 100])
def test_a_prologue_of_another_length_is_refused(length: int) -> None:
    whole = Prologue(12, (CODE,)).data + bytes(100)
    with pytest.raises(EncodingError, match=f"the prologue has {length} bytes"):
        read_prologue(whole[:length], 100, codes=True, shifts=True)


# -- blocks and operations -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (row(b""), "has 0 bytes of operations"),
        (row(b"\0" * 1025), "has 1025 bytes of operations"),
        (row([Operation(5, 0)], b"abcde"), "5 literals, more than its bytes"),
        (row([Operation(3, 0)], b"abc"), "give 3 of 4 bytes"),
        (row([Operation(4, 0)], b"abc"), "place more literals than it has"),
        (row([Operation(3, 1)], b"abcd"), "give 4 of 4 bytes, and place 3 of 4 literals"),
        (row([Operation(4, 1)], b"abcd"), "give more than its 4 bytes"),
        (row(b"\x80", b""), "end within a number"),
        (row(b"\x70\xff", b"abcd"), "end within a number"),
        (row(b"\x70\x80\x80\x80\0", b"abcd"), "a number of more than 3 bytes"),
        (row(b"\x0f\x80\x80\x80\0", b""), "a number of more than 3 bytes"),
        (row(b"\x84\x80\x80\x80\x80\0", b""), "a number of more than 4 bytes"),
        (row([Operation(0, 4, -1)]), "copies from outside the base, at -1"),
        (row([Operation(0, 4, 13)]), "copies from outside the base, at 13"),
        (row([Operation(4, 0)], b"abcd") + b"\0", "gives 9 bytes|gives 10 bytes"),
        (row([Operation(4, 0)], b"abcd")[:-1], "is cut short"),
        (b"\0", "is cut short|has 0 bytes of operations"),
    ],
)
def test_a_block_that_breaks_a_rule_is_refused(rows: bytes, words: str) -> None:
    refused(words, payload(PLAIN, rows), 4, base=TEXT[:16])


def test_a_copy_without_a_base_is_refused() -> None:
    refused("copies, and the component has no base", payload(PLAIN, row([Operation(0, 4)])), 4)


def test_a_copy_that_ends_with_the_base_holds() -> None:
    rows = row([Operation(0, 4, 12)])
    assert decode(payload(PLAIN, rows), 4, TEXT[:16]) == TEXT[12:16]


def test_operations_that_place_nothing_may_move_the_alignment() -> None:
    rows = row([Operation(0, 0, 20), Operation(0, 0, -8), Operation(0, 4)])
    assert decode(payload(PLAIN, rows), 4, TEXT[:16]) == TEXT[12:16]


@given(
    st.lists(
        st.builds(
            Operation,
            st.integers(0, 7 + 2**21 - 1),
            st.integers(0, 15 + 2**21 - 1),
            st.integers(-(2**27), 2**27 - 1),
        )
    )
)
def test_operations_are_read_as_they_were_written(made: list[Operation]) -> None:
    assert list(operations.read(operations.written(made))) == made


# -- the end ---------------------------------------------------------------------------------------


def test_only_filling_follows_the_last_segment_and_no_block_of_it_alone() -> None:
    whole = payload(PLAIN, literal(b"abcd"))
    assert decode(whole + b"\xff" * 50, 4) == b"abcd"
    refused("other bytes than 0xFF follow", whole + b"\xff\0", 4)
    refused("holds nothing of the last segment", whole.ljust(4065, b"\xff"), 4)
    noise = random.Random(4).randbytes(9000)
    full = payload(PLAIN, literal(noise))
    assert len(full) > 2 * 4064
    assert decode(full, len(noise)) == noise


# -- addresses -------------------------------------------------------------------------------------


def swept(data: bytes, *pieces: tuple[int, int], codes: tuple[Code, ...], position: int = 0) -> Any:
    sweep = addresses.Sweep(codes, position)
    return [[at for at, _ in sweep.over(data, *piece)] for piece in pieces]


CALL8, NARROW, LOAD, OTHER = HEX("250300"), HEX("1df0"), HEX("a1f5ff"), HEX("364100")


def test_the_sweep_finds_calls_and_loads_and_steps_over_narrow_instructions() -> None:
    data = OTHER + NARROW + CALL8 + LOAD + NARROW + CALL8
    codes = (Code(0, len(data), 0x400D0000, 0),)
    assert swept(data, (0, len(data)), codes=codes) == [[5, 8, 13]]
    call0 = HEX("050300")
    assert swept(call0 + LOAD, (0, 6), codes=(Code(0, 8, 0, 0),)) == [[3]]


def test_an_instruction_across_the_border_of_a_piece_or_range_is_left() -> None:
    data = CALL8 * 4
    codes = (Code(0, 12, 0x400D0000, 0),)
    assert swept(data, (0, 4), (4, 12), codes=codes) == [[0], [6, 9]]
    assert swept(data, (0, 4), (4, 4), (4, 12), codes=codes) == [[0], [], [6, 9]]
    assert swept(data, (0, 12), codes=(Code(0, 8, 0, 0),)) == [[0, 3]]
    assert swept(data, (0, 12), codes=(Code(10, 6, 0, 0),), position=4) == [[6, 9]]
    two = (Code(0, 4, 0, 0), Code(4, 8, 0, 0))
    assert swept(data, (0, 12), codes=two) == [[0, 6, 9]]


def piece(data: bytes, prologue: Prologue, alignment: int | None, position: int = 0) -> bytes:
    """One piece over a whole block; alignment: None for literals."""
    made = addresses.Addresses(prologue)
    block = bytearray(data)
    sweep = made.sweep(position)
    if alignment is None:
        made.literals(block, 0, len(block), position, sweep)
    else:
        made.copied(block, 0, len(block), position, alignment, sweep)
    return bytes(block)


WORDS = Prologue(12, (), ((0x3F400000, 16), (0x3F410000, -8), (0x3F420000, 0)))


@pytest.mark.parametrize(
    ("word", "moved"),
    [
        (0x3F3FFFFF, 0x3F3FFFFF),
        (0x3F400000, 0x3F400010),
        (0x3F40FFFF, 0x3F41000F),
        (0x3F410000, 0x3F40FFF8),
        (0x3F41FFFF, 0x3F41FFF7),
        (0x3F420000, 0x3F420000),
    ],
)
def test_a_word_within_the_table_moves_by_its_shift(word: int, moved: int) -> None:
    data = b"ab" + bytes(2) + word.to_bytes(4, "little") + b"xyz"
    expected = b"ab" + bytes(2) + moved.to_bytes(4, "little") + b"xyz"
    assert piece(data, WORDS, 4) == expected
    assert piece(data, WORDS, 2) == data
    assert piece(data[2:], WORDS, 4) == data[2:]


def test_a_shift_that_leaves_32_bits_begins_again_at_0() -> None:
    low = Prologue(12, (), ((0, -16), (64, 0)))
    assert piece(bytes(4), low, 0) == HEX("f0ffffff")


def test_addresses_of_literals_and_distances_of_copies_meet_at_the_same_target() -> None:
    code = Code(0, 64, 0x400D0000, 0)
    for first, most in ((CALL8[0], 18), (LOAD[0], 16)):
        low = 6 if first & 15 == 5 else 8
        for field in (0, 1, (1 << most - 1) - 1, 1 << most - 1, (1 << most) - 1):
            value = (first & (1 << low) - 1) | field << low
            block = value.to_bytes(3, "little") + bytes(1)
            target = addresses.target_of(block, 0, code.address)
            moved = piece(block, Prologue(12, (code,), ((1 << 30, 32), (2**31 - 4, 0))), 0)
            by = addresses.target_of(moved, 0, code.address) - target
            assert by % (4 << most) == 32
            absolute = bytearray(block)
            addresses.move_field(absolute, 0, addresses.origin(first, code.address))
            assert piece(bytes(absolute), Prologue(12, (code,)), None) == block


def test_a_copy_whose_distance_is_no_multiple_of_4_leaves_its_instructions() -> None:
    shifts = ((1 << 30, 32), (2**31 - 4, 0))
    for bias, alignment, changed in ((0, 4, True), (0, 2, False), (8, 6, False), (4, 0, True)):
        prologue = Prologue(12, (Code(0, 8, 0x400D0000, bias),), shifts)
        assert (piece(CALL8 + bytes(5), prologue, alignment) != CALL8 + bytes(5)) == changed


@given(st.binary(max_size=200), st.integers(0, 7))
def test_a_packer_can_undo_the_sweep_over_any_bytes(data: bytes, words: int) -> None:
    prologue = Prologue(12, (Code(4096, 256, 0x40080000 + 4 * words, 0),))
    absolute = bytearray(data)
    for at, code in addresses.Sweep(prologue.codes, 4096).over(data, 0, len(data)):
        addresses.move_field(absolute, at, addresses.origin(data[at], code.address + at))
    assert piece(bytes(absolute), prologue, None, 4096) == data


@given(st.binary(max_size=300))
def test_any_payload_is_decoded_or_refused(data: bytes) -> None:
    for whole in (data, payload(PLAIN, data), payload(data)):
        try:
            assert len(decode(whole, 40, TEXT)) == 40
        except EncodingError:
            continue


# -- the vectors, which the board's decoder is tried with, too -------------------------------------


def vector(case: dict[str, Any]) -> tuple[bytes, bytes, int, bytes | None, decoder.Kind]:
    stored, first = chain.chained(HEX(case["payload_hex"]))
    base = None if case["base_hex"] is None else HEX(case["base_hex"])
    return stored, first, case["size"], base, decoder.Kind(case["codes"], case["shifts"])


@pytest.mark.parametrize("case", VECTOR["good"], ids=lambda case: case["name"])
def test_a_vector_gives_its_result(case: dict[str, Any]) -> None:
    assert decoder.decode(*vector(case)) == HEX(case["result_hex"])


@pytest.mark.parametrize("case", VECTOR["refused"], ids=lambda case: case["name"])
def test_a_vector_that_breaks_a_rule_is_refused_by_it(case: dict[str, Any]) -> None:
    with pytest.raises(EncodingError) as caught:
        decoder.decode(*vector(case))
    assert str(caught.value) == case["rule"]

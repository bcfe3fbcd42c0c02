"""The decoder of encoding 1 gives the result that was encoded, and refuses all else."""

from binascii import unhexlify
from hashlib import sha256

import segments_bytes
import vectors
from expect import raises
from mutation import Mutations
from ota.errors import OtaError, PackageError
from ota.payload import Payload
from ota.payload import refused as error_of
from ota.segments import Decoder
from segments_bytes import Encoder, operation, prologue, stream

# docs/package-format.md, the worked example.
BASE = unhexlify("76657273696f6e20310000000001403f364100e50200a1f6ff1df00000000000")
RESULT = unhexlify("76657273696f6e20312e302e310000001001403f364100250300a1f5ffa502001df00000")
PROLOGUE = unhexlify(
    "09010000001400000010400d00140000000000043f400000000000103f41000000000000400d003000000008"
    "400d040000000000"
)
BLOCK = unhexlify("0006000709cf0107b4052e302e31a504d0")
PAYLOAD = unhexlify(
    "00000024e36464606010016201075e30cdc0c062ef00a605ec1dc1340350c600487138f0b280f900000000136360"
    "6360e73ccfc8be8555cf40cf7029cb0500"
)
FIRST = unhexlify("cafb87e07274fbc8709b76d033f03caa8388858c45987a662d44484f91e0f022")

RANGES = ((4096 * 3 + 8, 30_000, 0x400D0020, 16), (45_000, 8000, 0x40080000, -8))
SHIFTS = (
    (0x3F400000, 64),
    (0x3F410002, -128),
    (0x400D0000, 16),
    (0x400D4000, 24),
    (0x40100000, 0),
)


VECTORS = vectors.load("segments.json")


class Base:
    """A base in memory."""

    def __init__(self, data):
        self.size = len(data)
        self._data = data

    def read(self, position, view):
        """Fill `view`."""
        view[:] = self._data[position : position + len(view)]


def noise(seed, length):
    order = Mutations(seed)
    return bytes([order.below(256) for _ in range(length)])


def decoded(blocks, first, size, base=b"", words=True, code=True, piece=4096):
    """Return what a board makes of stored blocks that come in pieces of so many bytes."""
    payload = Payload(len(blocks) // 4096, 0, 0, first)
    decoder = Decoder(size, payload, Base(base) if base else None, words, code)
    view = memoryview(blocks)
    out = bytearray()
    at = 0
    for whole in decoder.decoding(0):
        if whole:
            out.extend(decoder.block)
            continue
        if not payload.missing:
            raise error_of("fewer")  # as `segments_writer` does
        end = at + payload.missing
        while at < end:
            assert payload.take(view[at : at + piece]) == 0
            at += piece
    assert at == len(blocks)
    return bytes(out)


def whole(encoder, **options):
    """Return what a board makes of what an encoder makes."""
    return decoded(*encoder.blocks(), len(encoder.result), encoder.base, **options)


def refused(payload, size, said, base=b"", **options):
    """Check that a payload is refused with a sentence that has `said`."""
    if isinstance(payload, list):
        payload = b"".join(payload)
    blocks, first = segments_bytes.chained(payload)
    error = raises(PackageError, decoded, blocks, first, size, base, **options)
    assert error.cause == "encoding", error.cause
    assert said in str(error), str(error)


# -- what is decoded -------------------------------------------------------------------------------


def test_the_worked_example_of_the_format_is_decoded():
    blocks, first = segments_bytes.chained(PAYLOAD)
    assert first == FIRST
    assert decoded(blocks, first, len(RESULT), BASE) == RESULT
    plain = stream(PROLOGUE) + stream(BLOCK)
    assert decoded(*segments_bytes.chained(plain), len(RESULT), BASE) == RESULT


def test_a_result_without_a_base_is_decoded_whatever_its_size():
    for size in (1, 2, 4095, 4096, 4097, 65_535, 65_536, 65_537, 140_000):
        result = noise(size, size)
        assert whole(Encoder(result)) == result


def test_stored_blocks_may_come_in_pieces():
    result = noise(5, 70_000)
    for piece in (256, 1024):
        assert whole(Encoder(result), piece=piece) == result


def test_a_delta_is_decoded():
    base = noise(2, 90_000)
    result = base[1000:60_000] + noise(3, 5000) + base[60_000:] + base[:333]
    encoder = Encoder(result, base, alignments=(1000, -4000, -94_000, 1))
    blocks, _ = encoder.blocks()
    assert len(blocks) < 20_000
    assert whole(encoder) == result


def test_a_base_that_is_longer_or_shorter_will_do():
    base = noise(2, 5000)
    for result in (base[1000:3000], base * 3, base + b"x"):
        assert whole(Encoder(result, base, alignments=(1000, 0, -5000, -10_000))) == result


def image_of_code():
    """Return an image full of addresses, and what comes of it when it moves by 24 bytes."""
    base = bytearray(noise(4, 80_000))
    order = Mutations(9)
    for at in range(0, len(base) - 4, 52):
        base[at : at + 4] = (0x3F400000 + order.below(0x30000)).to_bytes(4, "little")
    moved = Encoder(b"", base, ranges=RANGES, shifts=SHIFTS)
    result = bytearray()
    for position in range(0, 70_000, 4096):
        piece = bytes(base[position + 24 : position + 24 + min(4096, 70_000 - position)])
        piece = segments_bytes.words_moved(SHIFTS, piece, 0)
        result += segments_bytes.swept(moved, position, piece, 0, 0, 24)[1]
    for at in (5000, 20_000, 33_000, 50_001):
        result[at : at + 300] = noise(at, 300)
    return base, bytes(result)


def test_addresses_are_moved_as_the_format_says():
    base, result = image_of_code()
    for alignments in ((24,), (24, 25, 0), (27, 23), ()):
        encoder = Encoder(
            result, base, ranges=RANGES, shifts=SHIFTS, alignments=alignments, least=16
        )
        assert whole(encoder) == result, alignments
    assert len(encoder.blocks()[0]) > 60_000, "the literals alone"


def test_ranges_without_shifts_and_shifts_without_ranges_will_do():
    base, result = image_of_code()
    for options in ({"ranges": RANGES}, {"shifts": SHIFTS}, {"shifts": SHIFTS[-1:]}):
        encoder = Encoder(result, base, alignments=(24, 0), least=16, **options)
        assert whole(encoder) == result, options
    assert whole(Encoder(result, ranges=RANGES)) == result


def test_a_far_address_is_one_modulo_2_to_the_31():
    """The target of a call may lie below 0 or above 2^31 by its place."""
    base = noise(11, 9000)
    for address in (0, 0x7FFFDC00):
        options = {
            "ranges": ((0, 9000 - 9000 % 4, address, 4),),
            "shifts": ((0, 400), (0x20000, -44), (0x7FFDFFFF, 8), (0x7FFFFFFF, 0)),
        }
        encoder = Encoder(b"", base, **options)
        result = b""
        for position in range(0, 9000, 4096):
            piece = segments_bytes.words_moved(encoder.shifts, base[position : position + 4096], 0)
            result += segments_bytes.swept(encoder, position, piece, 0, 0, 0)[1]
        encoder = Encoder(result, base, **options)
        assert len(encoder.blocks()[0]) == 4096, "copies alone"
        assert whole(encoder) == result


def test_operations_may_be_empty_and_numbers_longer_than_needed():
    def block(operations, literals):
        head = len(operations).to_bytes(2, "big") + len(literals).to_bytes(2, "big")
        return stream(prologue()) + stream(head + operations + literals)

    for operations in (
        operation(3, 0) + operation(0, 0, 70_000) + operation(0, 0, -3),
        operation(1, 0) + operation(0, 0) + operation(2, 0),
    ):
        blocks = segments_bytes.chained(block(operations, b"abc"))
        assert decoded(*blocks, 3) == b"abc"
    blocks = segments_bytes.chained(block(b"\x70\x80\x00", b"abcdefg"))
    assert decoded(*blocks, 7) == b"abcdefg"


def of_vector(vector):
    """Return what a board makes of a vector that the host's decoder knows, too."""
    blocks, first = segments_bytes.chained(unhexlify(vector["payload_hex"]))
    base = unhexlify(vector["base_hex"] or "")
    return decoded(blocks, first, vector["size"], base, vector["shifts"], vector["codes"])


def test_the_vectors_that_the_host_decodes_are_decoded_here():
    for vector in VECTORS["good"]:
        assert of_vector(vector) == unhexlify(vector["result_hex"]), vector["name"]


def test_the_vectors_that_the_host_refuses_are_refused_here():
    """Each breaks one rule."""
    for vector in VECTORS["refused"]:
        assert raises(PackageError, of_vector, vector).cause == "encoding", vector["name"]


# -- stored blocks ---------------------------------------------------------------------------------


def test_nothing_of_a_stored_block_with_another_hash_is_decoded():
    result = noise(7, 6000)
    blocks, first = Encoder(result).blocks()
    payload = Payload(2, 0, 0, first)
    work = Decoder(6000, payload, None, True, True).decoding(0)
    assert next(work) is False
    for at in (0, 100, 4095):
        bad = bytearray(blocks[:4096])
        bad[at] ^= 1
        if at < 4095:
            assert payload.take(memoryview(bad)) == 4096
            assert next(work) is False
            assert payload.missing == 4096
    error = raises(PackageError, payload.take, memoryview(bad))
    assert error.cause == "encoding"
    assert "stored block 0 has another hash, 3 times" in str(error)


def test_a_right_block_in_between_lets_wrong_ones_count_anew():
    blocks, first = Encoder(noise(7, 6000)).blocks()
    payload = Payload(2, 0, 0, first)
    for at in (0, 4096):
        for _ in range(2):
            assert payload.take(memoryview(noise(1, 4096))) == 4096
        assert payload.take(memoryview(blocks)[at : at + 4096]) == 0
        payload.stream.seek(payload.left, 1)


def chain(number, change):
    """Return three blocks whose block `number` has `change` made, with right hashes."""
    pieces = [bytearray(noise(number + at, 4064)) for at in range(3)]
    digest = bytes(32)
    for at in (2, 1, 0):
        pieces[at] += digest
        if at == number:
            change(pieces[at])
        digest = sha256(pieces[at]).digest()
    return pieces, digest


def test_a_chain_that_ends_early_or_not_at_all_is_refused():
    def cut(block):
        block[4064:] = bytes(32)

    def endless(block):
        block[4064] = 1

    for number, change in ((1, cut), (0, cut), (2, endless)):
        pieces, first = chain(number, change)
        payload = Payload(3, 0, 0, first)
        for at in range(number):
            assert payload.take(pieces[at]) == 0
            payload.stream.seek(payload.left, 1)
        error = raises(PackageError, payload.take, pieces[number])
        assert "does not end with the last one" in str(error)


def test_a_payload_is_read_across_blocks_and_from_its_middle_on():
    pieces, first = chain(9, None)
    text = b"".join([bytes(piece[:4064]) for piece in pieces])
    for offset in (0, 4000, 4063):
        payload = Payload(3, 0, offset, first)
        found = b""
        for piece in pieces:
            assert payload.take(piece) == 0
            found += payload.stream.read(max(0, payload.left - 700))
            number, at, digest = payload.border
            assert number * 4064 + at == payload.position == offset + len(found)
            known = bytes(piece) if number < 3 and pieces[number] is piece else None
            assert known is None or sha256(known).digest() == digest
        found += payload.stream.read(payload.left)
        assert found == text[offset:]
        assert payload.missing == 0


# -- what is refused -------------------------------------------------------------------------------

ONE = b"\x00\x01\x00\x01\x10x"  # a block of one byte


def test_impossible_prologues_are_refused():
    good = [[0, 400, 0x400D0000, 0]]
    cases = (
        ("8 bits", prologue(8)),
        ("13 bits", prologue(13)),
        ("5 ranges", prologue(9, [[40 * i, 40, 0, 0] for i in range(5)])),
        ("too long", b"\x09\xff" + bytes(3000)),
        ("too long", prologue(9, (), [(i, 0) for i in range(257)])),
        ("too long", prologue(9)[:2] + b"\xff\xff" + bytes(2000)),
        ("at 4", prologue(9, [[0, 8, 0, 0], [4, 8, 0, 0]])),
        ("at 0", prologue(9, [[0, 0, 0, 0]])),
        ("at 1", prologue(9, [[1, 400, 0, 0]])),
        ("at 0", prologue(9, [[0, 401, 0, 0]])),
        ("at 0", prologue(9, [[0, 400, 2, 0]])),
        ("at 0", prologue(9, [[0, 400, 0, 3]])),
        ("at 4", prologue(9, [[4, 400, 0, 0]])),
        ("at 0", prologue(9, [[0, 400, 0x7FFFFF00, 0]])),
        ("at 0", prologue(9, [[0, 400, 0x80000000, 0]])),
        ("at 0", prologue(9, [[0, 400, 0, 1 << 24]])),
        ("at 0", prologue(9, [[0, 400, 0, -(1 << 24)]])),
        ("out of order at 7", prologue(9, (), [(7, 1), (7, 0)])),
        ("out of order at 6", prologue(9, (), [(7, 1), (6, 0)])),
        ("out of order at 2147483648", prologue(9, (), [(0x80000000, 0)])),
        ("last shift", prologue(9, (), [(7, 1)])),
        ("does not end where", prologue(9) + b"\x00"),
        ("damaged", prologue(9)[:3]),
    )
    for words, data in cases:
        refused([stream(data), stream(ONE)], 400, words, base=BASE)
    refused([stream(prologue(9, good)), stream(ONE)], 400, "1 ranges", base=BASE, code=False)
    refused([stream(prologue(9, (), SHIFTS)), stream(ONE)], 400, "5 shifts")
    refused([stream(prologue(9, (), SHIFTS)), stream(ONE)], 400, "5 shifts", BASE, words=False)


def test_a_prologue_that_reaches_out_of_its_block_is_refused():
    refused([b"\x00\x00\x0f\xdd", bytes(9000)], 400, "first stored block")
    refused([b"\xff\xff\xff\xff", bytes(9000)], 400, "longer than what is stored")


def test_impossible_blocks_are_refused():
    def block(operations, literals, length=None, count=None):
        return (
            (len(operations) if length is None else length).to_bytes(2, "big")
            + (len(literals) if count is None else count).to_bytes(2, "big")
            + operations
            + literals
        )

    ten = b"0123456789"
    cases = (
        ("impossible lengths", block(b"", ten)),
        ("impossible lengths", block(b"", ten, length=1025)),
        ("impossible lengths", block(operation(10, 0), ten, count=11)),
        ("too long", block(operation(11, 0), ten)),
        ("too long", block(operation(5, 0) + operation(6, 0), ten)),
        ("too long", block(operation(5, 6), ten[:5])),
        ("not filled", block(operation(9, 0), ten[:9])),
        ("not filled", block(operation(9, 0), ten)),
        ("out of the base", block(operation(9, 1, -10), ten[:9])),
        ("out of the base", block(operation(9, 1, 23), ten[:9])),
        ("number is too long", block(b"\x70", ten)),
        ("number is too long", block(b"\x70\x83", ten)),
        ("number is too long", block(b"\x70\x83\x80\x80\x00", ten)),
        ("number is too long", block(b"\x0f\x83\x80\x80\x00", ten)),
        ("number is too long", block(b"\x90\x83\x80\x80\x80\x00", ten)),
        ("number is too long", block(b"\x81", ten)),
    )
    for words, data in cases:
        refused([stream(prologue()), stream(data)], 10, words, base=BASE)
    refused([stream(prologue()), stream(block(operation(9, 1), ten[:9]))], 10, "out of the base")


def test_streams_that_do_not_end_where_they_say_are_refused():
    start = stream(prologue())
    good = stream(ONE)
    cases = (
        ("does not end where", start + stream(ONE + b"y")),
        ("damaged", start + stream(ONE[:-1])),
        ("does not end where", start + (len(good) - 3).to_bytes(4, "big") + good[4:] + b"\xff"),
        ("does not end where", start + (len(good) - 5).to_bytes(4, "big") + good[4:]),
        ("damaged", start + b"\x00\x00\x00\x00" + good[4:]),
        ("longer than", start + b"\x00\x01\x00\x00" + good[4:]),
        ("not padded", start + good + b"\xff\xfe"),
        ("not padded", start + good + stream(ONE)),
        ("more blocks", start + good + b"\xff" * 4064),
        ("damaged", start + b"\x00\x00\x00\x04" + b"\x07" + good[5:]),
    )
    for words, payload in cases:
        if words == "damaged" and payload.endswith(good[4:]):
            words = ""  # what follows is read as if it were the stream's
        refused(payload, 1, words)
    refused(start, 1, "longer than")
    refused(b"\xff" * 4060, 1, "longer than")
    blocks, first = segments_bytes.chained(start + good)
    raises(PackageError, decoded, blocks, first, 70_000)


def test_many_empty_blocks_of_deflate_are_refused():
    """They would run out of what is here within a symbol."""
    empty = b"\x00\x00\x00\xff\xff" * 2000
    data = ONE * 3000
    packed = segments_bytes.stored(data)
    long = empty + packed
    payload = stream(prologue()) + len(long).to_bytes(4, "big") + long
    refused(payload, 3000 * 6, "takes more bytes than it may")


def test_damage_of_every_kind_ends_in_an_error_or_in_some_result():
    """With right hashes: a signer may be at fault."""
    base, result = image_of_code()
    encoder = Encoder(
        result[:9000], base, ranges=RANGES[:0], shifts=SHIFTS, alignments=(24, 0), least=16
    )
    good = bytes(encoder.payload())
    seeds = Mutations(21)
    failed = 0
    for _ in range(150):
        blocks, first = segments_bytes.chained(seeds.of(good) or b"\x00")
        try:
            assert len(decoded(blocks, first, 9000, base)) == 9000
        except OtaError:
            failed += 1
        except AssertionError:
            failed += 1  # a block of padding was left
    assert failed > 50

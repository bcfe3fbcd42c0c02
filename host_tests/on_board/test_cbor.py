"""The board's CBOR takes one spelling of each value, and time as the bytes allow."""

from binascii import unhexlify

from expect import raises
from mutation import Mutations
from ota import cbor, package

# RFC 8949, appendix A: what can occur in a package, as (bytes, value).
RFC8949 = (
    ("00", 0),
    ("01", 1),
    ("0a", 10),
    ("17", 23),
    ("1818", 24),
    ("1819", 25),
    ("1864", 100),
    ("1903e8", 1000),
    ("1a000f4240", 1000000),
    ("1b000000e8d4a51000", 1000000000000),
    ("1bffffffffffffffff", 18446744073709551615),
    ("3bffffffffffffffff", -18446744073709551616),
    ("20", -1),
    ("29", -10),
    ("3863", -100),
    ("3903e7", -1000),
    ("40", b""),
    ("4401020304", b"\x01\x02\x03\x04"),
    ("60", ""),
    ("6161", "a"),
    ("6449455446", "IETF"),
    ("62225c", '"\\'),
    ("62c3bc", "\u00fc"),
    ("63e6b0b4", "\u6c34"),
    ("80", []),
    ("83010203", [1, 2, 3]),
    ("8301820203820405", [1, [2, 3], [4, 5]]),
    (
        "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25],
    ),
)
# RFC 8949, appendix A: maps.
RFC8949_MAPS = (
    ("a0", {}),
    ("a201020304", {1: 2, 3: 4}),
    ("a26161016162820203", {"a": 1, "b": [2, 3]}),
    ("826161a161626163", ["a", {"b": "c"}]),
    (
        "a56161614161626142616361436164614461656145",
        {"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"},
    ),
)
# RFC 8949, appendix A: tags, as (bytes, tag, value).
RFC8949_TAGS = (
    ("c11a514b67b0", 1, 1363896240),
    ("d74401020304", 23, b"\x01\x02\x03\x04"),
    ("d818456449455446", 24, b"dIETF"),
    ("d82076687474703a2f2f7777772e6578616d706c652e636f6d", 32, "http://www.example.com"),
)
# RFC 8949, appendix A: floats, simple values, and indefinite lengths.
RFC8949_REFUSED = """
    f90000 f98000 f93c00 fb3ff199999999999a fa47c35000 f97c00 f97e00 fa7f800000 fb7ff8000000000000
    f4 f5 f6 f7 f0 f8ff c1fb41d452d9ec200000
    5f42010243030405ff 7f657374726561646d696e67ff 9fff 9f018202039f0405ffff 9f01820203820405ff
    83018202039f0405ff 83019f0203ff820405 bf61610161629f0203ffff 826161bf61626163ff
    bf6346756ef563416d7421ff
    """.split()


def dumped(value):
    out = bytearray()
    cbor.dump(out, value)
    return bytes(out)


def skipped(data, pos):
    """Return the position after the item at `pos`."""
    reader = cbor.Reader(data)
    reader.pos = pos
    reader.skip()
    return reader.pos


def skip_refused(text):
    return str(raises(ValueError, skipped, unhexlify(text), 0))


def refused(text):
    return str(raises(ValueError, package.loads, unhexlify(text)))


def test_what_rfc_8949_lists_reads_as_it_says():
    for encoded, value in RFC8949 + RFC8949_MAPS:
        assert package.loads(unhexlify(encoded)) == value, encoded
    for encoded, tag, value in RFC8949_TAGS:
        tagged = package.loads(unhexlify(encoded))
        assert (tagged.tag, tagged.value) == (tag, value), encoded


def test_what_is_written_is_what_rfc_8949_lists():
    for encoded, value in RFC8949:
        assert dumped(value) == unhexlify(encoded), encoded


def test_a_map_is_written_in_the_order_given():
    out = bytearray(b"before")
    cbor.dump_map(out, ("b", [2, 3]), ("a", memoryview(b"xy")))
    assert out == b"before" + unhexlify("a26162820203616142") + b"xy"


def test_numbers_of_more_than_64_bits_and_other_types_are_not_written():
    raises(ValueError, dumped, 1 << 64)
    raises(ValueError, dumped, -1 - (1 << 64))
    for value in (None, 1.5, {1: 2}, (1, 2)):
        assert repr(value) in str(raises(TypeError, dumped, value))


def test_floats_simple_values_and_indefinite_lengths_are_refused():
    for encoded in RFC8949_REFUSED:
        said = refused(encoded)
        assert "a float, a simple value or an indefinite length" in said or "longer" in said, (
            encoded
        )


def test_every_length_of_number_has_one_spelling():
    for major in range(7):
        for low, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
            for value in (0, 1, 23, 255, 65535, 0xFFFFFFFF):
                needed = 0 if value < 24 else 1 if value < 256 else 2 if value < 65536 else 4
                if size > needed:
                    spelt = bytes([major << 5 | low]) + value.to_bytes(size, "big")
                    error = raises(ValueError, package.loads, spelt + bytes(min(value, 256)))
                    assert "longer than needed" in str(error), spelt


def test_map_keys_are_sorted_by_their_encoding_and_occur_once():
    assert package.loads(unhexlify("a41000186400200061610a"[:-2] + "00")) == {
        16: 0,
        100: 0,
        -1: 0,
        "a": 0,
    }
    for unsorted in ("a203040102", "a220000100", "a2616100" + "0100", "a262616100616200"):
        assert "sorted" in refused(unsorted)
    for twice in ("a201020103", "a2616101616102"):
        assert "twice" in refused(twice)


def test_map_keys_are_numbers_or_texts():
    for encoded in ("a1410100", "a1800000"[:6], "a1a000", "a1c10100"):
        assert "key" in refused(encoded)


def test_nothing_may_follow_and_nothing_may_lack():
    for encoded, _ in RFC8949 + RFC8949_MAPS:
        data = unhexlify(encoded)
        assert "followed by other bytes" in str(raises(ValueError, package.loads, data + b"\x00"))
        for length in range(len(data)):
            assert "ends too early" in str(raises(ValueError, package.loads, data[:length]))


def test_reserved_lengths_and_stray_breaks_are_refused():
    for low in (28, 29, 30):
        for major in range(8):
            refused("%02x" % (major << 5 | low))
    for encoded in ("ff", "81ff", "a1ff", "a101ff", "d2ff", "1f", "3f", "df"):
        refused(encoded)
    # Where others write, too: not what could be skipped to the end of something else.
    for encoded in ("ff", "81ff", "a1ff00", "1f", "3f", "9f1fff"):
        assert "stray break" in skip_refused(encoded + "0000"), encoded
    for encoded in ("1c", "5d", "9e", "fc"):
        assert "reserved length" in skip_refused(encoded + "00" * 40), encoded


def test_what_is_skipped_lies_within_the_data_to_its_last_byte():
    for encoded in (
        "4401020304", "6161", "83010203", "a201020304", "d818456449455446", "1864", "9f0102ff",
        "bf0102ff", "5f4101ff",
    ):  # fmt: skip
        data = unhexlify(encoded)
        assert skipped(data, 0) == len(data)
        for length in range(len(data)):
            assert "ends too early" in skip_refused(encoded[: 2 * length]), (encoded, length)
    assert skipped(unhexlify("a20102030405"), 0) == 5, "two pairs, and what follows"
    # A count beyond all data is refused for itself, before anything begins to count.
    reader = cbor.Reader(unhexlify("9aff00000000"))
    reader.head()
    raises(ValueError, reader.check_size)
    reader = cbor.Reader(unhexlify("8500"))
    reader.head()
    raises(ValueError, reader.check_size)
    reader = cbor.Reader(unhexlify("82"))
    reader.head()
    raises(ValueError, reader.check_size)
    reader = cbor.Reader(unhexlify("8100"))
    reader.head()
    reader.check_size()


def test_a_reader_begins_with_nothing_until_it_is_given_data():
    raises(ValueError, cbor.Reader().head)


def test_text_is_utf_8():
    raises(ValueError, package.loads, b"\x62\xc3\x28")


def test_six_levels_of_nesting_are_read_and_seven_refused():
    assert package.loads(unhexlify("818181818181" + "00")) == [[[[[[0]]]]]]
    assert "deep" in refused("81818181818181" + "00")
    assert "deep" in refused("a101" * 7 + "00")
    assert "deep" in refused("a101" * 6 + "80")
    assert "deep" in refused("c1" * 7 + "00")
    assert package.loads(unhexlify("c1" * 6 + "00")).tag == 1
    assert "deep" in refused("81" * 4000)
    assert "deep" in refused("a1" * 4000)
    assert skipped(unhexlify("81" * 6 + "00"), 0) == 7
    for encoded in ("81" * 7 + "00", "9f" * 4000, "c1" * 4000, "bf" * 4000, "5f" * 4000):
        assert "deep" in skip_refused(encoded)


def test_a_huge_count_is_refused_before_anything_counts_to_it():
    for major in (0x40, 0x60, 0x80, 0xA0):
        for length in ("18ff", "19ffff", "1affffffff", "1b7fffffffffffffff", "1bffffffffffffffff"):
            head = unhexlify(length)
            data = bytes([major | head[0] & 31]) + head[1:] + bytes(16)
            assert "early" in str(raises(ValueError, package.loads, data))
            assert "early" in str(raises(ValueError, skipped, data, 0))


def test_skip_finds_the_end_of_whatever_others_write():
    for encoded in (
        "1bffffffffffffffff",
        "fb3ff199999999999a",
        "f6",
        "f8ff",
        "5f42010243030405ff",
        "7f657374726561646d696e67ff",
        "9f01820203820405ff",
        "bf61610161629f0203ffff",
        "c1fb41d452d9ec200000",
        "1800",
    ):
        data = unhexlify(encoded)
        assert skipped(b"\x00" + data + b"\x00", 1) == 1 + len(data), encoded
        raises(ValueError, skipped, data[:-1], 0)


def test_damaged_bytes_are_read_or_refused_by_valueerror_alone():
    damaged = Mutations(20260101)
    data = unhexlify(
        "d2844da2012604485a7a78cca4a0f420a05818a301010263616263078182a1036164a1190400204401020304"
    )
    assert package.loads(data).tag == 18
    refusals = 0
    for _ in range(3000):
        sample = damaged.of(data)
        try:
            package.loads(sample)
        except ValueError:
            refusals += 1
    assert refusals > 2000


def test_what_is_read_is_written_back_the_same():
    damaged = Mutations(8949)
    data = unhexlify("8518641903e8420102636162631a000f4240")
    same = 0
    for _ in range(2000):
        sample = damaged.of(data)
        try:
            value = package.loads(sample)
            assert dumped(value) == sample
            same += 1
        except (TypeError, ValueError):  # holds a map or a tag, or is refused
            pass
    assert same > 100

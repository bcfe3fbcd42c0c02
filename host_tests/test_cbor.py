"""The host writes and reads the one deterministic form of CBOR, as RFC 8949 has it."""

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinslot.formats import cbor

# RFC 8949, appendix A: the examples of what a package may hold.
VECTORS: list[tuple[Any, str]] = [
    (0, "00"),
    (1, "01"),
    (10, "0a"),
    (23, "17"),
    (24, "1818"),
    (25, "1819"),
    (100, "1864"),
    (1000, "1903e8"),
    (1000000, "1a000f4240"),
    (1000000000000, "1b000000e8d4a51000"),
    (18446744073709551615, "1bffffffffffffffff"),
    (-18446744073709551616, "3bffffffffffffffff"),
    (-1, "20"),
    (-10, "29"),
    (-100, "3863"),
    (-1000, "3903e7"),
    (b"", "40"),
    (bytes.fromhex("01020304"), "4401020304"),
    ("", "60"),
    ("a", "6161"),
    ("IETF", "6449455446"),
    ('"\\', "62225c"),
    ("\u00fc", "62c3bc"),
    ("\u6c34", "63e6b0b4"),
    ("\U00010151", "64f0908591"),
    ([], "80"),
    ([1, 2, 3], "83010203"),
    ([1, [2, 3], [4, 5]], "8301820203820405"),
    (list(range(1, 26)), "98190102030405060708090a0b0c0d0e0f101112131415161718181819"),
    ({}, "a0"),
    ({1: 2, 3: 4}, "a201020304"),
    ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
    (["a", {"b": "c"}], "826161a161626163"),
    (
        {"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"},
        "a56161614161626142616361436164614461656145",
    ),
]
# What appendix A shows beside these: floats, simple values, indefinite lengths.
REFUSED = """
    f90000 f93c00 fb3ff199999999999a f97c00 f4 f5 f6 f7 f0 f8ff
    5f42010243030405ff 7f657374726561646d696e67ff 9fff 83018202039f0405ff
    bf61610161629f0203ffff
    """.split()
# RFC 8949, 4.2.1: the order of these keys, and the one of RFC 7049 that it replaces.
KEYS = "0a 1864 20 617a 626161".split()
OLD_KEYS = "0a 20 1864 617a 626161".split()

items = st.recursive(
    st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.integers(-(2**64), 2**64 - 1) | st.text(max_size=30), inner, max_size=5
        )
    ),
    max_leaves=6,
).filter(lambda value: depth(value) <= cbor.MAX_DEPTH)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@pytest.mark.parametrize(("value", "data"), VECTORS, ids=[data for _, data in VECTORS])
def test_the_examples_of_the_rfc_are_written_and_read(value: Any, data: str) -> None:
    assert cbor.dumps(value).hex() == data
    assert cbor.loads(bytes.fromhex(data)) == value


@pytest.mark.parametrize("data", REFUSED)
def test_what_a_package_must_not_hold_is_not_read(data: str) -> None:
    with pytest.raises(cbor.CBORError):
        cbor.loads(bytes.fromhex(data))


@pytest.mark.parametrize(
    "value", [1.5, True, None, {b"a": 1}, {1.5: 1}, [None], {1: True}, 2**64, -(2**64) - 1, (1,)]
)
def test_what_would_not_be_read_is_not_written(value: Any) -> None:
    by_key = isinstance(value, dict) and 1 not in value
    words = "neither a number nor a text" if by_key else "has no place in a package"
    with pytest.raises(cbor.CBORError, match=words):
        cbor.dumps(value)


def test_a_count_is_refused_before_anything_counts_to_it() -> None:
    for data, items in (
        ("9affffffff00", 4294967295),
        ("8200", 2),
        ("baffffffff0000", 4294967295),
    ):
        with pytest.raises(cbor.CBORError, match=f"cut short: {items} items announced"):
            cbor.loads(bytes.fromhex(data))


def test_six_levels_of_nesting_are_read_and_seven_refused() -> None:
    assert cbor.loads(bytes.fromhex("81" * 6 + "07")) == [[[[[[7]]]]]]
    assert cbor.loads(bytes.fromhex("a101" * 6 + "07")) == {1: {1: {1: {1: {1: {1: 7}}}}}}
    for data in ("81" * 7 + "07", "a101" * 7 + "07", "c1" * 7 + "07"):
        with pytest.raises(cbor.CBORError, match="nested"):
            cbor.loads(bytes.fromhex(data))


def test_keys_are_in_the_order_of_their_encoding() -> None:
    keys = [cbor2.loads(bytes.fromhex(key)) for key in KEYS]
    written = bytes.fromhex("a5" + "00".join(KEYS) + "00")
    assert cbor.dumps(dict.fromkeys(reversed(keys), 0)) == written
    assert list(cbor.loads(written)) == keys
    with pytest.raises(cbor.CBORError, match="out of order"):
        cbor.loads(bytes.fromhex("a5" + "00".join(OLD_KEYS) + "00"))


@given(items)
def test_whatever_is_written_is_read_and_written_the_same(value: Any) -> None:
    data = cbor.dumps(value)
    assert cbor.loads(data) == value
    assert cbor.dumps(cbor.loads(data)) == data
    assert cbor2.loads(data) == value

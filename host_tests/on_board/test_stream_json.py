"""A stream in JSON: its requests, its blocks decoded where they lie, and whatever else may come."""

import json
from binascii import a2b_base64, b2a_base64

from expect import raises
from mutation import Mutations
from ota import stream_json
from ota.errors import BlockError
from ota.window import Window

BLOCK = bytes(range(256)) * 16
# AWS's example of a block.
AWS_BLOCK = b'{"c":"j1","f":0,"l":5,"i":2,"p":"aGVsbG8="}'


def _as_on_a_chip(text):
    """Decode base64. MicroPython for the web has a binascii in Python, with errors of its own."""
    try:
        return a2b_base64(text)
    except Exception as error:
        raise ValueError(str(error)) from error


stream_json.a2b_base64 = _as_on_a_chip


def message(data, index=7, **fields):
    text = str(b2a_base64(data), "ascii").strip()
    return ('{"f":0,"i":%d,"l":%d,"p":"%s"}' % (index, len(data), text)).encode()


def parsed(text):
    """Return (file id, index, the block's bytes)."""
    buffer = bytearray(text)
    file_id, index, start, end = parse_data(buffer)
    return file_id, index, bytes(buffer[start:end])


def parse_data(buffer):
    data = stream_json.Data()
    data.read(buffer, len(buffer))
    return data.file_id, data.index, data.start, data.end


def refused(text):
    return str(raises(BlockError, parse_data, bytearray(text)))


def test_a_request_has_awss_keys_and_its_bitmap_in_hexadecimal():
    # AWS's example: from block 20, wanted are 20, 21, 24 and 43: 0x130080.
    window = Window(100 * 256, 256, 24, 20)
    for index in range(20, 44):
        if index not in (20, 21, 24, 43):
            window.mark(index)
    out = bytearray(b"of an earlier request")
    stream_json.get_request(out, 7, window)
    assert bytes(out) == b'{"c":"rdy","f":7,"l":256,"o":20,"b":"0x130080","n":4}'
    assert json.loads(bytes(out))["n"] == 4


def test_its_topics_are_those_of_json():
    assert stream_json.NAME == "json"  # AWS: streams/STREAM/get/json


def test_a_block_of_aws_is_read_where_it_lies():
    assert parsed(AWS_BLOCK) == (0, 2, b"hello")


def test_blocks_of_every_length_are_decoded():
    for size in (1, 2, 3, 4, 5, 190, 191, 192, 193, 194, 383, 384, 385, 4094, 4095, 4096):
        assert parsed(message(BLOCK[:size])) == (0, 7, BLOCK[:size])


def test_keys_come_in_any_order_and_with_blanks():
    for text in (
        b'{"p":"aGVsbG8=","l":5,"i":2,"f":3}',
        b' { "i" : 2 , "p" : "aGVsbG8=" , "f" : 3 , "l" : 5 }\r\n',
        b'{"c":"rdy","i":2,"x":null,"p":"aGVsbG8=","f":3,"l":5,"y":"z"}',
    ):
        assert parsed(text) == (3, 2, b"hello")


def test_an_empty_block_is_read_for_the_window_to_refuse():
    assert parsed(b'{"f":0,"l":0,"i":0,"p":""}') == (0, 0, b"")


def test_a_length_that_lies_is_refused():
    for length in (0, 4, 6, 1 << 40):
        text = b'{"f":0,"l":%d,"i":2,"p":"aGVsbG8="}' % length
        assert "a block of 5 bytes that claims %d" % length in refused(text)


def test_what_is_not_exactly_base64_is_refused():
    good = str(b2a_base64(BLOCK[:300]), "ascii").strip()
    for at in (0, 1, 100, 255, 256, 257, 398, 399):
        for bad in ("!", "=", "-", "_", " ", "\n", "\\", "\x00", "\x7f", "\xe9"):
            text = good[:at] + bad + good[at + 1 :]
            refused(('{"f":0,"l":300,"i":2,"p":"%s"}' % text).encode())
    for text in ("aGVsbG8", "aGVsbG8==", "=aGVsbG8", "aGVsbG8=aGVs", "aGVs====", "A===", "A", "=="):
        for length in range(10):
            refused(('{"f":0,"l":%d,"i":2,"p":"%s"}' % (length, text)).encode())
    # A decoder that skips what is foreign to it yields less than the length promises.
    for text in ("aGVs!!!!", "!!!!aGVs", "aGVs=aGVs!!!"):
        assert "p is not base64" in refused(('{"f":0,"l":5,"i":2,"p":"%s"}' % text).encode())


def test_a_block_cut_short_anywhere_is_refused():
    text = message(BLOCK)
    for length in list(range(300)) + list(range(300, len(text), 97)) + [len(text) - 1]:
        refused(text[:length])
    start = text.find(b'"p":"') + 5
    for length in (start + 4, start + 256, start + 400):
        said = refused(text[:length])
        assert "not JSON of a stream: p is cut short" in said


def test_nothing_of_an_earlier_block_is_taken_for_a_later_one():
    data = stream_json.Data()
    assert (data.file_id, data.index, data.start, data.end) == (-1, -1, -1, -1)
    data.read(bytearray(AWS_BLOCK), len(AWS_BLOCK))
    for text in (b'{"i":2,"l":5,"p":"aGVsbG8="}', b'{"f":0,"l":5,"p":"aGVsbG8="}'):
        raises(BlockError, data.read, bytearray(text), len(text))


def test_a_block_that_lacks_file_length_index_or_data_is_refused():
    for text in (
        b"",
        b"{}",
        b'{"l":5,"i":2,"p":"aGVsbG8="}',
        b'{"f":0,"i":2,"p":"aGVsbG8="}',
        b'{"f":0,"l":5,"p":"aGVsbG8="}',
        b'{"f":0,"l":5,"i":2}',
    ):
        refused(text)


def test_wrong_types_are_refused():
    for value in (
        b'"0"',
        b"null",
        b"true",
        b"-1",
        b"+1",
        b"1.0",
        b"1e1",
        b"01",
        b"0x1",
        b"1_0",
        b"[1]",
        b"{}",
        b"",
        b"NaN",
        b"\xd9\xa3",
    ):
        for key in (b"f", b"i", b"l"):
            refused(AWS_BLOCK.replace(b'"' + key + b'":', b'"' + key + b'":' + value + b',"x":'))
    for value in (b"-1", b"01", b"1_0"):
        changed = AWS_BLOCK.replace(b'"i":2', b'"i":' + value)
        assert "f, i or l is not a number" in refused(changed)
    for value in (b"5", b"null", b'["aGVsbG8="]', b'{"p":"aGVsbG8="}', b"aGVsbG8="):
        refused(AWS_BLOCK.replace(b'"aGVsbG8="', value))
    assert "p is missing or not a text" in refused(
        AWS_BLOCK.replace(b'"p":"', b'"p": ["')[:-1] + b"]}"
    )


def test_what_is_not_one_flat_object_is_refused():
    for text in (
        b"[" + AWS_BLOCK + b"]",
        AWS_BLOCK + AWS_BLOCK,
        AWS_BLOCK + b"x",
        b"x" + AWS_BLOCK,
        AWS_BLOCK.replace(b",", b",,"),
        AWS_BLOCK.replace(b",", b" "),
        AWS_BLOCK.replace(b":", b" "),
        AWS_BLOCK.replace(b'"f"', b"f"),
        AWS_BLOCK.replace(b'"i"', b'"f"'),
        AWS_BLOCK.replace(b'"c":"j1"', b'"p":"aGVsbG8="'),
        AWS_BLOCK.replace(b'"c":"j1"', b'"c":"\xff"'),
        AWS_BLOCK.replace(b'"}', b'"' + b" " * 300 + b"}"),
        b" " * 300 + AWS_BLOCK,
    ):
        refused(text)
    assert "too much beside p" in refused(AWS_BLOCK.replace(b'"}', b'"' + b" " * 300 + b"}"))
    assert "not an object" in refused(AWS_BLOCK + b"x")
    assert "not an object" in refused(b"[" + AWS_BLOCK[1:])
    for twice in (AWS_BLOCK.replace(b'"i"', b'"f"'), AWS_BLOCK.replace(b'"f"', b"f")):
        assert "a key that is none, or comes twice" in refused(twice)


def test_an_index_of_any_size_is_read():
    assert parsed(AWS_BLOCK.replace(b'"i":2', b'"i":18446744073709551616'))[1] == 1 << 64


def test_a_damaged_block_never_raises_anything_but_blockerror():
    damaged = Mutations(20480)
    window = Window(10000, 4096, 8)
    valid = message(BLOCK[:250], 2)
    read = 0
    for _ in range(3000):
        sample = bytearray(damaged.of(valid))
        try:
            _, index, start, end = parse_data(sample)
            assert 0 < start <= end <= len(sample)
            if window.takes(index, end - start):
                window.length_of(index)
            read += 1
        except BlockError:
            pass
    assert read > 100


def test_a_refusal_is_read_in_both_spellings():
    for key in ("o", "code"):
        text = '{"%s":"ResourceNotFound","m":"No such stream","c":"rdy"}' % key
        assert stream_json.parse_rejected(text.encode()) == "ResourceNotFound"


def test_an_unreadable_refusal_is_unknown():
    for text in (b"", b"0", b"[]", b"{}", b'{"o":5}', b'{"o":', b"\xff", b'{"m":"x"}'):
        assert stream_json.parse_rejected(text) == "unknown", text
    damaged = Mutations(403)
    for _ in range(1000):
        sample = damaged.of(b'{"o":"a","m":"","c":"rdy"}')
        assert isinstance(stream_json.parse_rejected(sample), str)

"""The board asks for exactly the blocks it misses, and reads whatever a stream may send."""

from binascii import unhexlify

from expect import raises
from mutation import Mutations
from ota import stream_cbor as stream
from ota import window as windows
from ota.errors import BlockError, SettingsError, SlowError
from ota.window import Window

BLOCK = bytes(range(256))
# A block as AWS IoT was seen to send it: an indefinite map of f, i, l, p.
AWS_BLOCK = unhexlify("bf6166006169" + "00" + "616c190100" + "6170590100") + BLOCK + b"\xff"


def request(window, file_id=0):
    out = bytearray(b"of an earlier request")
    stream.get_request(out, file_id, window)
    return bytes(out)


def parse_data(payload):
    data = stream.Data()
    data.read(payload, len(payload))
    return data.file_id, data.index, data.start, data.end


def parsed(text):
    return parse_data(unhexlify(text))


def refused(data):
    return str(raises(BlockError, parse_data, data))


def test_a_new_window_wants_its_first_blocks_and_no_more():
    window = Window(100000, 4096, 8)
    assert (window.blocks, window.first, window.received) == (25, 0, 0)
    assert window.missing() == 0xFF
    assert [i for i in range(30) if window.wants(i)] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert not window.complete


def test_only_the_last_block_is_short():
    window = Window(10000, 4096, 8)
    assert window.blocks == 3
    assert [window.length_of(i) for i in range(3)] == [4096, 4096, 1808]
    assert window.missing() == 7


def test_a_file_of_whole_blocks_ends_with_a_full_one():
    window = Window(8192, 4096, 8)
    assert window.blocks == 2
    assert window.length_of(1) == 4096


def test_a_file_of_one_byte_is_one_block():
    window = Window(1, 4096, 8)
    assert (window.blocks, window.length_of(0), window.missing()) == (1, 1, 1)
    window.mark(0)
    assert window.complete
    assert window.missing() == 0


def test_a_block_outside_the_file_is_not_wanted():
    window = Window(10000, 4096, 8)
    for index in (-1, 3, 4, 1 << 31, 1 << 64):
        assert not window.wants(index)
        assert not window.takes(index, 4096)


def test_only_a_block_that_is_wanted_and_as_long_as_it_must_be_is_taken():
    window = Window(10000, 4096, 2)
    assert window.takes(0, 4096)
    for index, size in (
        (0, 4095),
        (0, 4097),
        (0, 0),
        (2, 1808),
        (-1, 4096),
        (3, 4096),
        (1 << 62, 1),
    ):
        assert not window.takes(index, size)
    window.mark(0)
    assert not window.takes(0, 4096)
    assert window.takes(2, 1808)
    assert not window.takes(2, 4096)


def test_blocks_in_order_move_the_window():
    window = Window(100000, 4096, 4)
    for index in range(25):
        assert window.wants(index)
        window.mark(index)
        assert not window.wants(index)
        assert (window.first, window.received) == (index + 1, index + 1)
    assert window.complete


def test_blocks_out_of_order_move_the_window_past_the_first_gap_only():
    window = Window(100000, 4096, 4)
    window.mark(2)
    window.mark(1)
    assert (window.first, window.received, window.missing()) == (0, 2, 0b1001)
    window.mark(0)
    assert (window.first, window.received, window.missing()) == (3, 3, 0b1111)
    window.mark(6)
    assert (window.first, window.received, window.missing()) == (3, 4, 0b0111)
    assert window.wants(5)
    assert not window.wants(6)
    assert not window.wants(7)
    assert not window.wants(0)


def test_a_request_stays_within_its_group():
    window = Window(100000, 4096, 8, 1, 16, 1)
    assert window.missing() == 0xFF
    for index in range(1, 12):
        window.mark(index)
    assert (window.first, window.missing()) == (12, 0b11111)
    assert window.wants(16)
    assert not window.wants(17)
    window.mark(16)
    assert window.missing() == 0b01111
    for index in range(12, 16):
        window.mark(index)
    assert (window.first, window.missing()) == (17, 0xFF)
    # What lies before the first group is asked for up to its border.
    assert Window(100000, 4096, 8, 1, 16, 4).missing() == 0b111


def test_the_window_ends_with_the_file():
    window = Window(100000, 4096, 8, 22)
    assert window.missing() == 0b111
    for index in (24, 22, 23):
        window.mark(index)
    assert window.complete
    assert window.missing() == 0
    assert window.received == 25


def test_any_order_completes_the_file():
    order = Mutations(4096)
    window = Window(200 * 256 - 7, 256, 32)
    seen = []
    while not window.complete:
        wanted = [i for i in range(window.first, window.first + 32) if window.wants(i)]
        chosen = wanted[order.below(len(wanted))]
        window.mark(chosen)
        seen.append(chosen)
        assert window.received == len(seen)
    assert sorted(seen) == list(range(200))


def test_a_transfer_resumes_from_one_number():
    window = Window(100000, 4096, 8, 17)
    assert (window.first, window.received, window.missing()) == (17, 17, 0xFF)
    assert not window.wants(16)
    assert Window(100000, 4096, 8, 25).complete
    assert Window(100000, 4096, 8, 25).missing() == 0


def test_an_unusable_block_size_or_window_is_refused():
    for block_size in (0, 128, 255, 1000, 4095, 32768, -4096):
        assert "a power of two" in str(raises(SettingsError, Window, 10000, block_size, 1))
    for block_size, size in ((256, 0), (256, -1), (256, 33), (16384, 9)):  # the last: over 128 KB
        assert "1 to 32 blocks" in str(raises(SettingsError, Window, 10000, block_size, size))
    assert Window(1 << 20, 256, 1).missing() == 1
    assert Window(1 << 20, 16384, 8).missing() == 0xFF
    assert Window(1 << 20, 4096, 32).missing() == 0xFFFFFFFF


def test_more_is_asked_for_when_all_that_was_has_come_or_was_dropped():
    window = Window(100000, 4096, 4)
    assert window.idle(0), "nothing was asked for yet"
    assert window.ask() is window
    for index in range(4):
        assert not window.idle(3 - index), "%d of 4 are on their way" % (4 - index)
        assert window.idle(4 - index), "the others were dropped"
        window.mark(index)
    assert window.idle(0)
    window.mark(4)  # nobody had asked for it
    window.ask()
    assert not window.idle(3)
    assert window.idle(4)
    window.mark(6)
    window.ask()
    assert window.idle(3), "asked for is what is missing, and no more"
    assert not window.idle(2)


def test_a_window_is_halved_down_to_one_block():
    window = Window(100000, 4096, 7)
    for missing in (0b111, 0b1, 0b1):
        window.narrow()
        assert window.missing() == missing
        assert not window.wants(bin(missing).count("1"))


class Paced:
    """A Pace of 1000 bytes a second, with a clock of its own (ms)."""

    def __init__(self):
        self.now = 5000
        self._ticks_ms, windows.ticks_ms = windows.ticks_ms, lambda: self.now
        self._pace = windows.Pace(1000)

    def add(self, milliseconds, count):
        self.now += milliseconds
        self._pace.add(count)

    def close(self):
        windows.ticks_ms = self._ticks_ms


def test_a_transfer_is_slow_when_too_little_came_in_five_minutes():
    paced = Paced()
    try:
        for _ in range(4):
            paced.add(60_000, 10)
        error = raises(SlowError, paced.add, 60_000, 10)
        assert str(error) == "50 bytes in 300 s, below min_rate"
    finally:
        paced.close()


def test_a_transfer_is_judged_after_five_minutes_and_then_from_the_beginning():
    paced = Paced()
    try:
        for _ in range(2):
            for _ in range(4):
                paced.add(59_750, 0)
            paced.add(60_000, 0)  # 299 s
            paced.add(1000, 300_000)  # exactly as many as must be
        for _ in range(4):
            paced.add(59_750, 60_000)
        paced.add(60_000, 0)
        raises(SlowError, paced.add, 1000, 59_999)
    finally:
        paced.close()


def test_after_a_minute_of_silence_the_pace_is_judged_from_the_beginning():
    paced = Paced()
    try:
        for _ in range(20):
            paced.add(60_001, 1)
        for _ in range(4):
            paced.add(60_000, 0)
        raises(SlowError, paced.add, 60_000, 299_998)
    finally:
        paced.close()


def test_what_is_wanted_or_complete_is_said_by_yes_and_no():
    window = Window(5000, 4096, 1)
    assert (window.wants(0), window.wants(1), window.complete) == (True, False, False)
    assert window.wants(-1) is False
    window.mark(0)
    window.mark(1)
    assert window.complete is True


def test_a_request_has_the_bytes_that_freertos_sends():
    # 10000 bytes in blocks of 4096, FreeRTOS OTA agent V1.0.4; `n` is 3 where that asks for one.
    assert request(Window(10000, 4096, 8)) == unhexlify(
        "a6616363726479" + "616600" + "616c191000" + "616f00" + "61624107" + "616e03"
    )


def test_a_request_names_file_window_and_number_of_blocks():
    window = Window(1000 * 256, 256, 12, 300)
    window.mark(301)
    assert request(window, 7) == unhexlify(
        "a6616363726479" + "616607" + "616c190100" + "616f19012c" + "616242fd0f" + "616e0b"
    )


def test_the_bitmap_begins_with_the_lowest_bit_of_the_first_byte():
    # AWS's example: from block 20, wanted are 20, 21, 24 and 43: 13 00 80.
    window = Window(100 * 256, 256, 24, 20)
    for index in range(20, 44):
        if index not in (20, 21, 24, 43):
            window.mark(index)
    assert unhexlify("616f14" + "616243130080" + "616e04") in request(window)


def test_its_topics_are_those_of_cbor():
    assert stream.NAME == "cbor"  # AWS: streams/STREAM/get/cbor


def test_a_block_of_aws_is_read_where_it_lies():
    file_id, index, start, end = parse_data(memoryview(AWS_BLOCK))
    assert (file_id, index) == (0, 0)
    assert AWS_BLOCK[start:end] == BLOCK


def test_a_definite_map_is_read_as_well():
    assert parsed("a4" + "616601" + "61690a" + "616c03" + "617043010203") == (1, 10, 13, 16)


def test_keys_come_in_any_order_and_the_token_is_ignored():
    for text in (
        "bf" + "6163" + "63726479" + "617043010203" + "616c03" + "616905" + "616602" + "ff",
        "a5" + "617043010203" + "6163" + "63726479" + "616905" + "616602" + "616c03",
        "bf" + "616905" + "617043010203" + "616602" + "616c03" + "6163" + "63726479" + "ff",
    ):
        file_id, index, start, end = parsed(text)
        assert (file_id, index) == (2, 5)
        assert unhexlify(text)[start:end] == b"\x01\x02\x03"


def test_keys_of_a_later_service_are_skipped():
    text = "bf" + "6178" + "9f01820203ff" + "616602" + "616905" + "617043010203" + "6179f6" + "ff"
    file_id, index, start, end = parsed(text)
    assert (file_id, index, end - start) == (2, 5, 3)


def test_a_block_without_its_length_is_read():
    assert parsed("a3" + "616600" + "616900" + "617041aa") == (0, 0, 10, 11)


def test_an_empty_block_is_read_for_the_window_to_refuse():
    assert parsed("a3" + "616600" + "616900" + "617040") == (0, 0, 10, 10)


def test_a_long_index_is_read():
    assert parsed("a3" + "616600" + "6169" + "1a00012345" + "617041aa")[1] == 0x12345


def test_a_length_that_lies_is_refused():
    text = "a4" + "616600" + "616900" + "616c%02x" + "617043010203"
    assert "a block of 3 bytes that claims 4" in refused(unhexlify(text % 4))
    assert "a block of 3 bytes that claims 0" in refused(unhexlify(text % 0))


def test_a_block_cut_short_anywhere_is_refused():
    for length in range(len(AWS_BLOCK)):
        said = refused(AWS_BLOCK[:length])
        assert "not CBOR of a stream: " in said, length
        if len(AWS_BLOCK) - len(BLOCK) <= length < len(AWS_BLOCK) - 1:
            assert "p is cut short" in said
    assert "p is cut short" in refused(AWS_BLOCK[:-2])


def test_a_block_that_lacks_file_index_or_data_is_refused():
    for text in (
        "a0",
        "bfff",
        "a2" + "616900" + "617041aa",
        "a2" + "616600" + "617041aa",
        "a2" + "616600" + "616900",
    ):
        assert "a block without f, i or p" in refused(unhexlify(text))


def test_nothing_of_an_earlier_block_is_taken_for_a_later_one():
    data = stream.Data()
    assert (data.file_id, data.index, data.start, data.end) == (-1, -1, -1, -1)
    data.read(AWS_BLOCK, len(AWS_BLOCK))
    for text in ("a2" + "616900" + "617041aa", "a2" + "616600" + "617041aa", "a1" + "616600"):
        part = unhexlify(text)
        assert "without" in str(raises(BlockError, data.read, part, len(part))), text


def test_wrong_types_are_refused():
    number, string, key = "f, i or l is not a number", "p is not a byte string", "a key that is not"
    for text, says in (
        ("", "ends too early"),
        ("00", "not a map"),
        ("84" + "616600" + "616900", "not a map"),
        ("a3" + "616620" + "616900" + "617041aa", number),
        ("a3" + "61664100" + "616900" + "617041aa", number),
        ("a3" + "616600" + "6169f6" + "617041aa", number),
        ("a3" + "616600" + "61691f" + "617041aa", number),
        ("a3" + "616600" + "616900" + "617061aa", string),
        ("bf" + "616600" + "616900" + "61705f41aaff" + "ff", string),
        ("a3" + "416600" + "616900" + "617041aa", key),
        ("a3" + "62666600" + "616900" + "617041aa", key),
        ("a3" + "7f6166ff00" + "616900" + "617041aa", key),
        ("a1" + "61", key),
    ):
        assert says in refused(unhexlify(text)), text


def test_a_huge_length_is_refused_on_every_word_size():
    # As a length of data, of a skipped text, and as the number of pairs.
    for length in ("1a7fffffff", "1affffffff", "1b7fffffffffffffff", "1bffffffffffffffff"):
        first = int(length[:2], 16) & 31
        huge = "%02x" + length[2:]
        refused(unhexlify("a3" + "6170" + huge % (0x40 | first) + "616600" + "616900"))
        refused(unhexlify("a3" + "616600" + "616900" + "6170" + huge % (0x40 | first) + "00"))
        refused(unhexlify("bf" + "6163" + huge % (0x60 | first) + "616600" + "ff"))
        refused(unhexlify(huge % (0xA0 | first) + "616600" + "616900"))
        _, index, _, _ = parsed("a3" + "616600" + "6169" + huge % first + "617041aa")
        assert not Window(10000, 4096, 8).takes(index, 4096)


def test_a_damaged_block_never_raises_anything_but_blockerror():
    damaged = Mutations(20480)
    valid = (
        unhexlify("bf616363726479" + "616600" + "616902" + "616c08" + "617048")
        + BLOCK[:8]
        + b"\xff"
    )
    window = Window(10000, 4096, 8)
    read = 0
    for _ in range(3000):
        sample = damaged.of(valid)
        try:
            _, index, start, end = parse_data(memoryview(sample))
            assert 0 < start <= end <= len(sample)
            if window.takes(index, end - start):
                window.length_of(index)
            read += 1
        except BlockError:
            pass
    assert read > 100


def test_a_refusal_is_read_in_both_spellings():
    # {"o": "ResourceNotFound", "m": "No such stream", "c": "rdy"}, and with `code` for `o`.
    code = "70" + "5265736f757263654e6f74466f756e64"
    rest = "616d" + "6e4e6f20737563682073747265616d" + "6163" + "63726479"
    for text in (
        "bf" + "616f" + code + rest + "ff",
        "a3" + "616f" + code + rest,
        "bf" + rest + "64636f6465" + code + "ff",
        "a3" + rest + "64636f6465" + code,
    ):
        assert stream.parse_rejected(unhexlify(text)) == "ResourceNotFound"


def test_an_unreadable_refusal_is_unknown():
    for text in (
        "",
        "00",
        "a0",
        "bfff",
        "ff",
        "a1616f05",
        "a1616f7f6141ff",
        "a1616f62c328",
        "a1616f63",
        "82616f6161",
        "a1616d6161" + "616f6141",
        "bf616d6161ff" + "616f6141",
    ):
        assert stream.parse_rejected(unhexlify(text)) == "unknown", text
    damaged = Mutations(403)
    for _ in range(1000):
        sample = damaged.of(unhexlify("bf616f6252656163637264797f616dff"))
        assert isinstance(stream.parse_rejected(sample), str)

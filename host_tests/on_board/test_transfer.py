"""Each byte of a file reaches its writer once, in the order which that writes in."""

from ota.transfer import HEAD, Transfer
from ota.window import Window

BLOCK = 1024


class Writer:
    """Notes what it is given. safe_bytes: what it says is safe; due: pieces of work it has."""

    find = None
    group = 0
    kept_bytes = 0

    def __init__(self, in_order=False, safe_bytes=0, due=0):
        self.in_order = in_order
        self.safe_bytes = safe_bytes
        self.due = due
        self.received = None
        self.written = []
        self.ended = []

    def write(self, offset, data):
        self.written.append((offset, bytes(data)))

    def work(self):
        self.due -= 1
        return self.due >= 0

    def safe(self):
        return self.safe_bytes

    def kept(self):
        return self.kept_bytes

    def finish(self):
        self.ended.append("finished")

    def abandon(self):
        self.ended.append("abandoned")


def transfer(parts, size=8 * BLOCK, window=4, first=0):
    return Transfer(size, Window(size, BLOCK, window, first), parts)


def block(index):
    """Return the bytes of a block, which differ from every other's."""
    return bytes((index * 7 + i) & 0xFF for i in range(BLOCK))


def test_blocks_go_to_the_writers_whose_parts_they_are_of():
    first, second = Writer(), Writer()
    taking = transfer([(BLOCK, 2 * BLOCK, first), (4 * BLOCK, 2 * BLOCK, second)])
    for index in range(4):
        assert taking.take(index, memoryview(block(index))) is True
    for index in (4, 5, 6, 7):
        assert taking.take(index, memoryview(block(index)))
    assert first.written == [(0, block(1)), (BLOCK, block(2))]
    assert second.written == [(0, block(4)), (BLOCK, block(5))]
    assert taking.window.complete


def test_a_block_over_the_border_of_parts_is_divided():
    first, second = Writer(), Writer()
    border = BLOCK + 300
    taking = transfer([(0, border, first), (border, 2 * BLOCK, second)])
    taking.take(0, memoryview(block(0)))
    taking.take(1, memoryview(block(1)))
    assert first.written == [(0, block(0)), (BLOCK, block(1)[:300])]
    assert second.written == [(0, block(1)[300:])]
    taking.take(2, memoryview(block(2)))
    taking.take(3, memoryview(block(3)))
    end = border + 2 * BLOCK - 3 * BLOCK
    assert second.written[1:] == [(724, block(2)), (724 + BLOCK, block(3)[:end])]


def test_a_part_within_a_block_gets_its_own_bytes_alone():
    writer = Writer()
    taking = transfer([(100, 50, writer)])
    taking.take(0, memoryview(block(0)))
    assert writer.written == [(0, block(0)[100:150])]


def test_a_block_in_front_of_its_turn_is_left_where_a_writer_needs_the_order():
    for at, length, index, taken in (
        (BLOCK, BLOCK, 1, False),
        (BLOCK, BLOCK, 2, True),  # it begins where that part ends
        (2 * BLOCK, BLOCK, 1, True),  # it ends where that part begins
        (2 * BLOCK - 1, BLOCK, 1, False),
        (0, BLOCK + 1, 1, False),
        (0, BLOCK, 1, True),
    ):
        ordered, other = Writer(in_order=True), Writer()
        taking = transfer([(at, length, ordered), (4 * BLOCK, BLOCK, other)])
        assert taking.take(index, memoryview(block(index))) is taken, (at, length, index)
        assert ordered.written == []
        assert taking.window.wants(index) is not taken, "what is left is asked for again"
    ordered = Writer(in_order=True)
    taking = transfer([(0, 3 * BLOCK, ordered)])
    for index in range(3):
        assert taking.take(index, memoryview(block(index)))
    assert [offset for offset, _ in ordered.written] == [0, BLOCK, 2 * BLOCK]


def test_a_writer_knows_how_much_of_its_part_has_come_without_a_gap():
    first, second = Writer(), Writer()
    taking = transfer([(BLOCK, BLOCK + 10, first), (3 * BLOCK, 5 * BLOCK, second)])
    assert (first.received, second.received) == (0, 0)
    taking.take(0, memoryview(block(0)))
    taking.take(2, memoryview(block(2)))
    assert (first.received, second.received) == (0, 0), "a gap"
    taking.take(1, memoryview(block(1)))
    assert (first.received, second.received) == (BLOCK + 10, 0)
    taking.take(3, memoryview(block(3)))
    assert (first.received, second.received) == (BLOCK + 10, BLOCK)
    later = Writer()
    transfer([(0, 4 * BLOCK, later)], first=3)
    assert later.received == 3 * BLOCK


def test_a_checkpoint_is_what_is_safe_in_whole_sectors_up_to_the_first_gap():
    first, second = Writer(), Writer()
    taking = transfer([(HEAD, 10_000, first), (20_480, 8192, second)], size=30_000)
    for here, there, safe in (
        (0, 0, HEAD),
        (4095, 0, HEAD),
        (4096, 8192, HEAD + 4096),
        (9999, 0, HEAD + 8192),
        (10_000, 0, 20_480),
        (10_000, 5000, 20_480 + 4096),
        (10_000, 8191, 20_480 + 4096),
        (10_000, 8192, 20_480 + 8192),
    ):
        first.safe_bytes, second.safe_bytes = here, there
        assert taking.checkpoint == safe, (here, there)


def test_no_checkpoint_is_claimed_for_a_writer_that_finds_it_by_itself():
    first, second = Writer(), Writer()
    taking = transfer([(HEAD, 8192, first), (HEAD + 8192, 8192, second)], size=30_000)
    first.find = True
    first.safe_bytes = 4096
    assert taking.checkpoint == 0
    first.safe_bytes, second.safe_bytes = 8192, 4096
    assert taking.checkpoint == HEAD + 12_288
    assert transfer([]).checkpoint == 0


def test_what_comes_once_more_is_all_behind_what_the_first_writer_keeps():
    def again(kept, more, find=None, group=0):
        first, second = Writer(), Writer()
        taking = Transfer(65_536, Window(65_536, BLOCK, 4, 40), [])
        taking._parts = [(HEAD, 16_384, first), (HEAD + 16_384, 16_384, second)]
        first.kept_bytes, second.kept_bytes = kept, more
        first.find, first.group = find, group
        return taking.again

    received = 40 * BLOCK
    assert again(16_384, 16_384) == 0
    assert again(0, 16_384) == received - HEAD
    assert again(4096, 16_384) == received - HEAD - 4096
    assert again(8191, 16_384) == received - HEAD - 4096, "in whole sectors"
    assert again(8191, 16_384, group=8192) == received - HEAD
    assert again(8191, 16_384, find=True) == received - HEAD - 7 * BLOCK, "it knows to the byte"
    assert again(16_384, 0) == received - HEAD - 16_384
    assert again(8192, 0) == received - HEAD - 8192


def test_the_flash_works_for_one_writer_at_a_time():
    first, second = Writer(due=1), Writer(due=2)
    taking = transfer([(0, BLOCK, first), (BLOCK, BLOCK, second)])
    assert taking.work(False) is True
    assert (first.due, second.due) == (0, 2)
    assert taking.work(False) is True
    assert taking.work(False) is True
    assert taking.work(False) is False


def test_every_writer_is_finished_or_let_go():
    for end, word in (("finish", "finished"), ("abandon", "abandoned")):
        writers = [Writer(), Writer()]
        taking = transfer([(0, BLOCK, writers[0]), (BLOCK, BLOCK, writers[1])])
        getattr(taking, end)()
        assert [writer.ended for writer in writers] == [[word], [word]]

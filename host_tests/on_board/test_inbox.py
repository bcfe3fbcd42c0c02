"""The callback's queue holds two blocks and a few control messages, and counts what it drops."""

from ota import inbox as inboxes
from ota.inbox import Inbox, Stats


def opened(message_size, stats):
    inbox = Inbox(stats)
    inbox.jobs = b"t"
    inbox.streams = b"s"
    inbox.open(message_size)
    inbox.stream = b"data"
    return inbox


def block(inbox):
    """Return the oldest block's message, None without one."""
    slot = inbox.oldest()
    return None if slot < 0 else inbox.lend(slot, 0, inbox.lengths[slot])


def test_a_block_at_the_same_place_of_its_message_is_lent_by_the_same_view():
    inbox = opened(256, Stats())
    views = []
    for number in range(4):
        inbox.put(b"data", bytes([number]) * 100)
        views.append(inbox.lend(inbox.oldest(), 10, 90))
        assert bytes(views[-1]) == bytes([number]) * 80
        inbox.block_done()
    assert views[0] is views[2]
    assert views[1] is views[3]


def test_the_counts_print_as_the_freertos_demo_prints_them():
    stats = Stats()
    assert str(stats) == "Received: 0 Queued: 0 Processed: 0 Dropped: 0"
    inbox = opened(256, stats)
    inbox.put(b"t", b"{}")
    assert str(stats) == "Received: 1 Queued: 1 Processed: 0 Dropped: 0"
    inbox.take_control()
    assert str(stats) == "Received: 1 Queued: 1 Processed: 1 Dropped: 0"


def test_blocks_come_out_in_the_order_they_came_in():
    stats = Stats()
    inbox = opened(256, stats)
    for number in range(5):
        inbox.put(b"data", b"block %d" % number)
        inbox.put(b"data", b"other %d" % number)
        assert bytes(block(inbox)) == b"block %d" % number
        inbox.block_done()
        assert bytes(block(inbox)) == b"other %d" % number
        inbox.block_done()
        assert block(inbox) is None
    assert (stats.received, stats.queued, stats.processed, stats.dropped) == (10, 10, 10, 0)


def test_a_block_stays_until_it_is_done():
    inbox = opened(256, Stats())
    inbox.put(b"data", b"first")
    held = block(inbox)
    inbox.put(b"data", b"second")
    inbox.put(b"data", b"third")
    assert bytes(held) == bytes(block(inbox)) == b"first"


def test_a_third_block_is_dropped_counted_and_asked_for_again():
    stats = Stats()
    inbox = opened(256, stats)
    inbox.put(b"data", b"first")
    inbox.put(b"data", b"second")
    assert inbox.lost == 0
    inbox.put(b"data", b"third")
    assert inbox.lost == 1
    assert (stats.received, stats.queued, stats.dropped) == (3, 2, 1)
    inbox.block_done()
    inbox.put(b"data", b"fourth")
    inbox.block_done()
    assert bytes(block(inbox)) == b"fourth"


def test_the_payload_is_copied_for_the_library_reuses_its_buffer():
    inbox = opened(256, Stats())
    buffer = bytearray(b"block")
    inbox.put(b"data", memoryview(buffer))
    inbox.put(b"topic", memoryview(buffer))
    buffer[:] = b"XXXXX"
    assert bytes(block(inbox)) == b"block"
    assert inbox.take_control() == ("topic", b"block")


def test_the_largest_message_of_a_block_fits_and_a_larger_one_is_dropped():
    stats = Stats()
    inbox = opened(4096, stats)
    for overhead in (30, 64):  # FreeRTOS's agent has room for 30
        inbox.put(b"data", bytes(4096 + overhead))
        assert len(block(inbox)) == 4096 + overhead
        inbox.block_done()
    inbox.put(b"data", bytes(4096 + 65))
    assert (stats.queued, stats.dropped) == (2, 1)
    assert inbox.lost == 0  # it would come as long again


def test_buffers_are_made_once_and_used_in_turn():
    inbox = opened(256, Stats())
    buffers = [id(buffer) for buffer in inbox.buffers]
    for number in range(7):
        inbox.put(b"data", bytes([number]) * (256 - number))
        view = block(inbox)
        assert bytes(view) == bytes([number]) * (256 - number)
        inbox.block_done()
    assert [id(buffer) for buffer in inbox.buffers] == buffers
    assert [len(buffer) for buffer in inbox.buffers] == [256 + 64, 256 + 64]


def test_control_messages_come_in_order_and_the_fifth_is_dropped():
    stats = Stats()
    inbox = opened(256, stats)
    for number in range(5):
        inbox.put(b"t/%d" % number, b"p%d" % number)
    assert (stats.received, stats.queued, stats.dropped) == (5, 4, 1)
    assert inbox.lost == 0
    for number in range(4):
        assert inbox.take_control() == ("t/%d" % number, b"p%d" % number)
    assert inbox.take_control() is None
    assert stats.processed == 4


def test_a_job_message_larger_than_any_the_agent_reads_is_dropped():
    stats = Stats()
    inbox = opened(256, stats)
    inbox.put(b"t", bytes(4097))
    assert inbox.take_control() is None
    assert stats.dropped == 1
    inbox.put(b"t", bytes(4096))
    assert len(inbox.take_control()[1]) == 4096


def test_clearing_forgets_everything_and_counts_it_as_processed():
    stats = Stats()
    inbox = opened(256, stats)
    for _ in range(3):
        inbox.put(b"data", b"block")
        inbox.put(b"t", b"p")
    inbox.clear()
    assert block(inbox) is None
    assert inbox.take_control() is None
    assert inbox.lost == 0
    assert stats.queued == stats.processed == 5
    inbox.put(b"data", b"next")
    assert bytes(block(inbox)) == b"next"


def test_where_heap_is_scarce_one_block_has_room():
    kept, inboxes.mem_free = inboxes.mem_free, lambda: 60000
    try:
        box = opened(256, Stats())
    finally:
        inboxes.mem_free = kept
    box.put(b"data", b"first")
    box.put(b"data", b"second")
    assert (bytes(block(box)), box.lost) == (b"first", 1)
    box.block_done()
    box.put(b"data", b"third")
    assert bytes(block(box)) == b"third"

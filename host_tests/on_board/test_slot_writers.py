"""An image gets into its slot whole, with as few flash operations as it takes."""

import engine_world
from chip_bench import Bench
from expect import raises
from mutation import Mutations
from ota import slot_writer, slots
from ota import slot_writer_64k as wide
from ota.compat import mem_free
from ota.errors import FlashError, MismatchError

SECTOR = 4096
BLOCK = 65536


class Counted(slots.Slot):
    """A slot that notes what is done to it: `erased` sectors, `programmed` offsets, `replaced`."""

    def __init__(self, slot):
        super().__init__(slot._partition)
        self.forget()

    def forget(self):
        self.erased = []
        self.programmed = []
        self.replaced = []

    def erase(self, sector):
        self.erased.append(sector)
        super().erase(sector)

    def program(self, offset, data):
        self.programmed.append(offset)
        super().program(offset, data)

    def replace(self, offset, data):
        self.replaced.append((offset, len(data)))
        super().replace(offset, data)


def counted():
    Bench()
    return Counted(slots.Slots().other)


def image(length, seed=1):
    """Bytes that differ from sector to sector."""
    data = bytearray(length)
    for i in range(0, length, 64):
        data[i : i + 2] = (i // 64 * seed & 0xFFFF).to_bytes(2, "little")
    return memoryview(data)


def begun(slot, length, written=0, same=False, window=8 * SECTOR):
    filling = slot_writer.SlotWriter(slot, length, window, bytearray(SECTOR))
    filling.begin(written, same)
    return filling


def write(filling, data, blocks, size=SECTOR):
    for block in blocks:
        filling.write(block * size, data[block * size : (block + 1) * size])


def work(filling, here):
    """Let it work when `here` bytes have come without a gap."""
    filling.received = here
    return filling.work()


def safe(filling, here):
    filling.received = here
    return filling.safe()


def holds(slot, data):
    here = bytearray(SECTOR)
    for at in range(0, len(data), SECTOR):
        piece = memoryview(here)[: min(SECTOR, len(data) - at)]
        slot.read(at, piece)
        if piece != data[at : at + SECTOR]:
            return False
    return True


# -- sector by sector ----------------------------------------------------------------------------


def test_any_order_within_a_window_reads_back_and_erases_each_sector_once():
    order = Mutations(7)
    for size in (1024, 4096, 16384):
        slot = counted()
        data = image(20 * SECTOR - 48)
        filling = begun(slot, len(data), window=4 * size)
        blocks = (len(data) + size - 1) // size
        first = 0
        here = []
        while first < blocks:
            wanted = [i for i in range(first, min(first + 4, blocks)) if i not in here]
            chosen = wanted[order.below(len(wanted))]
            if order.below(2):
                work(filling, first * size)
            write(filling, data, [chosen], size)
            here.append(chosen)
            while first in here:
                first += 1
        filling.finish()
        assert holds(slot, data)
        assert sorted(slot.erased) == list(range(20)), "each once, no other"


def test_a_window_is_erased_ahead_and_no_more():
    slot = counted()
    data = image(40 * SECTOR)
    filling = begun(slot, len(data))
    while work(filling, 0):
        pass
    assert slot.erased == list(range(8))
    write(filling, data, range(8))
    assert slot.erased == list(range(8)), "writing erases nothing that is erased"
    assert work(filling, 3 * SECTOR)
    assert work(filling, 3 * SECTOR)
    assert work(filling, 3 * SECTOR)
    assert not work(filling, 3 * SECTOR)
    assert slot.erased == list(range(11))


def test_nothing_is_erased_past_the_image():
    slot = counted()
    length = slot.capacity
    filling = begun(slot, length, written=length - 3 * SECTOR)
    while work(filling, length - 3 * SECTOR):
        pass
    count = slot.size // SECTOR
    assert slot.erased == [count - 4, count - 3, count - 2], "not the trailer's sector"
    filling = begun(slot, 9_000)
    slot.forget()
    while work(filling, 0):
        pass
    assert slot.erased == [0, 1, 2]


def test_equal_sectors_are_neither_erased_nor_programmed():
    slot = counted()
    data = image(30 * SECTOR - 16)
    write(begun(slot, len(data)), data, range(12))
    slot.forget()
    filling = begun(slot, len(data), written=4 * SECTOR, same=True)
    for block in range(4, 12):
        assert not work(filling, block * SECTOR), "they may hold what comes"
        write(filling, data, [block])
    assert slot.erased == slot.programmed == []
    for block in range(12, 30):
        write(filling, data, [block])
        work(filling, (block + 1) * SECTOR)
    assert holds(slot, data)
    assert sorted(slot.erased) == list(range(12, 30)), "each once"


def test_what_came_before_a_gap_is_kept_behind_it_too():
    slot = counted()
    data = image(40 * SECTOR)
    write(begun(slot, len(data)), data, [0, 1, 4, 6, 7])
    slot.forget()
    filling = begun(slot, len(data), same=True)
    for block in (5, 0, 3, 1, 2, 4, 7, 6):
        write(filling, data, [block])
        work(filling, 0)
    assert slot.programmed == [5 * SECTOR, 3 * SECTOR, 2 * SECTOR]
    write(filling, data, range(8, 40))
    assert holds(slot, data)
    assert len(slot.erased) == len(slot.programmed) == 40 - 5


def test_after_the_first_new_sector_erasing_goes_ahead_again():
    slot = counted()
    data = image(40 * SECTOR)
    filling = begun(slot, len(data), same=True)
    write(filling, data, range(1))
    assert not work(filling, SECTOR - 1)
    assert work(filling, SECTOR)
    assert slot.erased == [0, 8]


def test_a_block_of_four_sectors_keeps_what_is_equal_of_it():
    slot = counted()
    data = image(16 * SECTOR)
    write(begun(slot, len(data)), data, range(2))
    slot.forget()
    filling = begun(slot, len(data), same=True)
    write(filling, data, range(4), 4 * SECTOR)
    assert holds(slot, data)
    assert sorted(slot.erased) == list(range(2, 16))


def test_another_image_replaces_every_sector():
    slot = counted()
    write(begun(slot, 10 * SECTOR), image(10 * SECTOR), range(10))
    data = image(10 * SECTOR, seed=3)
    write(begun(slot, 10 * SECTOR), data, range(10))
    assert holds(slot, data)


def test_a_fill_stays_within_the_slot():
    slot = counted()
    filling = begun(slot, slot.size, written=slot.size)
    raises(FlashError, filling.write, slot.size, b"\x00" * 16)


# -- 64 KB at a time -----------------------------------------------------------------------------


def wide_fill(slot, length, written=0):
    filling = wide.WideWriter(slot, length, bytearray(SECTOR))
    filling.begin(written, False)
    return filling


def test_64_kb_are_collected_in_any_order_and_written_at_once():
    slot = counted()
    data = image(2 * BLOCK + 5 * 1024 + 16)
    filling = wide_fill(slot, len(data))
    for block in range(63, -1, -1):
        assert not work(filling, 0)
        write(filling, data, [block], 1024)
    assert slot.replaced == []
    write(filling, data, range(16, 32))
    assert slot.replaced == [(0, BLOCK)], "the second 64 KB wait for a moment without a message"
    assert safe(filling, 2 * BLOCK) == BLOCK
    assert work(filling, 0)
    assert safe(filling, 2 * BLOCK) == 2 * BLOCK
    assert not work(filling, 0)
    write(filling, data, [33, 32])
    filling.finish()
    assert slot.replaced[2:] == [(2 * BLOCK, 2 * SECTOR)], "the last sector is padded"
    assert slot.erased == slot.programmed == []
    assert holds(slot, data)
    filling.finish()
    assert not work(filling, len(data))
    assert len(slot.replaced) == 3


def test_equal_64_kb_are_left_alone():
    slot = counted()
    data = image(3 * BLOCK)
    write(begun(slot, len(data)), data, range(40))
    filling = wide_fill(slot, len(data), BLOCK)
    write(filling, data, range(16, 48))
    filling.finish()
    assert slot.replaced == [(2 * BLOCK, BLOCK)]
    assert holds(slot, data)


def test_a_cut_while_64_kb_are_written_costs_those_only():
    bench = Bench()
    slot = slots.Slots().other
    data = image(2 * BLOCK)
    filling = wide_fill(slot, len(data))
    write(filling, data, range(17))
    write(filling, data, range(17, 32))
    assert bench.cut(filling.finish, 1)
    bench.boot(1)
    slot = slots.Slots().other
    assert holds(slot, data[:BLOCK])
    filling = wide_fill(slot, len(data), safe(filling, len(data)))
    write(filling, data, range(16, 32))
    filling.finish()
    assert holds(slot, data)


# -- where 64 KB at a time can be had --------------------------------------------------------------


def test_blocks_that_cross_sectors_and_slots_that_lie_askew_rule_it_out():
    Bench()
    board = engine_world.board()
    image = engine_world.component(1000)
    for size in (4096, 256):
        board.settings["block_size"] = size
        assert wide.make(board, image, False).group == BLOCK
    board.settings["block_size"] = 8192
    raises(MismatchError, wide.make, board, image, False)
    board.settings["block_size"] = 4096

    class Shifted(slots.Slots):
        def __init__(self):
            super().__init__()
            self.other.address += SECTOR

    straight, slots.Slots = slots.Slots, Shifted
    try:
        raises(MismatchError, wide.make, board, image, False)
    finally:
        slots.Slots = straight


def test_the_free_heap_is_a_number_on_every_interpreter():
    assert mem_free() >= 0

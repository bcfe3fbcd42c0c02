"""What every component writer promises (`ota.transfer`), clause by clause.

A clause takes a kit, which knows one writer and the place it writes to:
    data            bytes of the component as a package has them (memoryview)
    blocks          block sizes that the writer may meet
    fresh()         make the place again, with nothing in it
    stale()         let something else lie there
    open(same)      return a writer
    lies(count)     whether the first `count` bytes of `data` lie in the place
    spoil()         change what lies in the place, of a writer with `find`
    spent()         time that flash has taken so far, in programmed pages
    cut(action, n)  run `action`, with power failing in its nth flash operation; says whether it did
    break_place()   let the place refuse everything from now on
    left_open()     what the writer holds open
    close()         clean up after a clause
"""

from mutation import Mutations
from ota.compat import finish
from ota.errors import FlashError, OtaError
from ota.transfer import Transfer
from ota.window import Window

# Of the component in its package.
OFFSET = 4096
BLOCK = 4096
SCRIBBLE = memoryview(b"\x55" * 16384)


class Filling:
    """A writer that is fed as `transfer` does it, from one buffer that is used again each time.

    done: bytes that a transfer before this one has left in the place. found: those that the writer
    has begun behind.
    """

    def __init__(self, kit, block=BLOCK, done=0, same=False, width=8):
        self._kit = kit
        self.writer = writer = kit.open(same)
        if writer.find:
            done = finish(writer.find(bytearray(BLOCK)))
        else:
            done -= done % (writer.group or BLOCK)
        self.found = done
        size = OFFSET + len(kit.data)
        group = writer.group // block
        self._buffer = bytearray(block)
        if done == len(kit.data):  # no writer begins any more
            self.window = Window(size, block, width, (size + block - 1) // block)
            return
        first = (OFFSET + done) // block
        writer.begin(max(0, first * block - OFFSET), same)
        self.window = Window(size, block, width, first, group, OFFSET // block)
        self.transfer = Transfer(size, self.window, [(OFFSET, len(kit.data), writer)])

    def give(self, index):
        """Let block `index` come."""
        block = self.window.block_size
        lent = memoryview(self._buffer)[: self.window.length_of(index)]
        start = index * block - OFFSET
        for at in range(0, len(lent), BLOCK):
            end = min(at + BLOCK, len(lent))
            if start + at >= 0:
                lent[at:end] = self._kit.data[start + at : start + end]
        taken = self.transfer.take(index, lent)
        lent[:] = SCRIBBLE[: len(lent)]
        rounds = 0
        while self.transfer.work(True):
            rounds += 1
            assert rounds < 1000, "it never takes more"
        return taken

    def missing(self):
        """Return the numbers of the blocks that may come now."""
        first = self.window.first
        return [i for i in range(first, self.window.blocks) if self.window.wants(i)]

    def fill(self, blocks=1000, order=None, each=lambda: None):
        """Let so many blocks come, the first missing one or any; `each` is called after each."""
        while blocks and not self.window.complete:
            blocks -= 1
            missing = self.missing()
            while not self.give(missing[order.below(len(missing)) if order else 0]):
                pass
            each()
        return self

    def whole(self, **options):
        """Let all that is missing come, and the writer finish."""
        self.fill(**options)
        assert self.window.complete
        self.writer.finish()
        return self

    def work(self):
        """Work as long as there is some. Returns how often."""
        count = 0
        while self.writer.work():
            count += 1
            assert count <= len(self._kit.data) // BLOCK + 2, "work() has no end"
        return count


def _holds(kit):
    assert kit.lies(len(kit.data)), "the place does not hold the component"


def _away(kit, blocks):
    """Let so many blocks come into an empty place, and the writer go. Returns it."""
    kit.fresh()
    writer = Filling(kit).fill(blocks).writer
    writer.abandon()
    return writer


# -- clauses -------------------------------------------------------------------------------------


def group_is_a_multiple_of_every_block_that_it_is_for(kit):
    kit.fresh()
    group = kit.open(False).group
    assert group >= 0
    assert all(group % block == 0 for block in kit.blocks)
    assert not group or max(kit.blocks) <= BLOCK


def in_order_is_true_or_any_order_of_a_window_will_do(kit):
    for seed in (1, 2):
        kit.fresh()
        Filling(kit).whole(order=Mutations(seed))
        _holds(kit)


def received_is_kept_by_the_transfer(kit):
    kit.fresh()
    filling = Filling(kit)
    order = Mutations(4)
    while not filling.window.complete:
        filling.fill(1, order)
        here = min(max(0, filling.window.first * BLOCK - OFFSET), len(kit.data))
        assert filling.writer.received == here
        assert filling.writer.safe() <= here, "more than has come without a gap"


def find_is_none_or_finds_what_was_kept(kit):
    for blocks in (0, 1, 2, 3, 7, 12, 1000):
        kept = _away(kit, blocks).kept()
        filling = Filling(kit, done=kept, same=True)
        if filling.writer.find:
            assert filling.found == kept, (blocks, filling.found, kept)
            assert kit.lies(kept)


def find_counts_what_does_not_fit_as_nothing(kit):
    for blocks in (2, 9, 1000):
        writer = _away(kit, blocks)
        if not writer.find:
            return
        kit.spoil()
        filling = Filling(kit, same=True)
        assert filling.found == 0
        filling.whole()
        _holds(kit)


def find_believes_nothing_that_is_not_the_same(kit):
    if _away(kit, 5).find:
        assert Filling(kit, same=False).found == 0


def begin_starts_behind_what_lies_there(kit):
    for blocks in (0, 5, 11):
        for same in (False, True):
            kit.fresh()
            before = Filling(kit).fill(blocks)
            before.work()
            safe = before.writer.safe()
            assert safe < len(kit.data), "the kit's component is too short"
            Filling(kit, done=safe, same=same).whole()
            _holds(kit)


def begin_finds_what_it_will_in_the_place(kit):
    """`same` says that the place may hold this component, not that it does."""
    for same in (False, True):
        kit.stale()
        Filling(kit, same=same).whole(each=lambda: None)
        _holds(kit)


def begin_takes_a_place_that_holds_this_very_component(kit):
    kit.fresh()
    Filling(kit).whole()
    kit.again()
    Filling(kit, same=True).whole()
    _holds(kit)


def full_is_over_after_some_work(kit):
    kit.fresh()
    filling = Filling(kit)
    while not filling.window.complete:
        filling.give(filling.window.first)
        assert not filling.writer.full


def write_takes_blocks_of_every_size(kit):
    for block in kit.blocks:
        kit.fresh()
        Filling(kit, block).whole(order=Mutations(block))
        _holds(kit)


def write_raises_no_error_but_its_own(kit):
    for blocks in (0, 3):
        kit.fresh()
        try:
            filling = Filling(kit).fill(blocks)
            kit.break_place()
            filling.whole()
        except OtaError:
            continue
        raise AssertionError("nothing was raised")


def begin_work_and_finish_raise_flash_errors(kit):
    for name in ("begin", "work", "finish"):
        kit.fresh()
        filling = Filling(kit)
        while not filling.window.complete:
            filling.fill(1)
        kit.break_place()
        try:
            if name == "begin":
                kit.open(False).begin(0, False)
            else:
                getattr(filling.writer, name)()
        except FlashError:
            pass  # any other error is none of the contract's


def work_comes_to_an_end_in_every_state_and_spoils_nothing(kit):
    kit.fresh()
    filling = Filling(kit)
    filling.work()
    filling.whole(each=filling.work)
    assert not filling.writer.work(), "all is done"
    _holds(kit)


def work_takes_no_longer_than_a_write(kit):
    kit.fresh()
    longest = 0
    filling = Filling(kit)
    while not filling.window.complete:
        before = kit.spent()
        filling.fill(1)
        longest = max(longest, kit.spent() - before)
    kit.fresh()
    filling = Filling(kit)
    while not filling.window.complete:
        for _ in range(3):
            before = kit.spent()
            filling.writer.work()
            assert kit.spent() - before <= longest
        filling.fill(1)


def safe_bytes_lie_in_the_place(kit):
    kit.fresh()
    filling = Filling(kit)
    seen = [0]

    def look():
        safe = filling.writer.safe()
        assert seen[0] <= safe <= filling.writer.received
        assert kit.lies(safe), "they do not"
        seen[0] = safe

    order = Mutations(3)
    while not filling.window.complete:
        filling.fill(1, order, look)
        if order.below(2) and filling.writer.work():
            look()


def safe_bytes_survive_a_power_cut_anywhere(kit):
    at = 1
    while True:
        kit.fresh()
        filling = Filling(kit)
        safe = [0]

        def look(filling=filling, safe=safe):
            filling.writer.work()
            safe[0] = filling.writer.safe()

        if not kit.cut(lambda filling=filling, look=look: filling.whole(each=look), at):
            return
        if safe[0] < len(kit.data):  # else no writer is opened any more
            Filling(kit, done=safe[0], same=True).whole()
        _holds(kit)
        at += 1 + at * 2 // 3


def safe_is_everything_after_finish(kit):
    kit.fresh()
    filling = Filling(kit).whole()
    assert filling.writer.safe() == len(kit.data)


def kept_bytes_lie_in_the_place_when_it_is_let_go(kit):
    for blocks in (0, 1, 5, 11, 1000):
        for work in (False, True):
            kit.fresh()
            filling = Filling(kit).fill(blocks)
            if work:
                filling.work()
            writer = filling.writer
            safe, kept = writer.safe(), writer.kept()
            assert safe <= kept <= writer.received
            writer.abandon()
            assert kit.lies(kept), "they do not"


def finish_writes_the_rest(kit):
    kit.fresh()
    filling = Filling(kit).fill()
    filling.writer.finish()
    _holds(kit)
    assert kit.left_open() == []


def abandon_lets_go_in_the_middle(kit):
    for blocks in (0, 1, 3, 9):
        kit.fresh()
        filling = Filling(kit).fill(blocks)
        before, writer = kit.spent(), filling.writer
        writer.abandon()
        assert kit.spent() == before or writer.find, "it writes"
        assert kit.left_open() == []
        kit.again()
        Filling(kit).whole()
        _holds(kit)


# Word of the contract -> its clauses.
CLAUSES = {
    "group": [group_is_a_multiple_of_every_block_that_it_is_for],
    "in_order": [in_order_is_true_or_any_order_of_a_window_will_do],
    "received": [received_is_kept_by_the_transfer],
    "find": [
        find_is_none_or_finds_what_was_kept,
        find_counts_what_does_not_fit_as_nothing,
        find_believes_nothing_that_is_not_the_same,
    ],
    "begin": [
        begin_starts_behind_what_lies_there,
        begin_finds_what_it_will_in_the_place,
        begin_takes_a_place_that_holds_this_very_component,
    ],
    "full": [full_is_over_after_some_work],
    "write": [write_takes_blocks_of_every_size, write_raises_no_error_but_its_own],
    "work": [
        work_comes_to_an_end_in_every_state_and_spoils_nothing,
        work_takes_no_longer_than_a_write,
    ],
    "safe": [
        safe_bytes_lie_in_the_place,
        safe_bytes_survive_a_power_cut_anywhere,
        safe_is_everything_after_finish,
    ],
    "kept": [kept_bytes_lie_in_the_place_when_it_is_let_go],
    "finish": [finish_writes_the_rest, begin_work_and_finish_raise_flash_errors],
    "abandon": [abandon_lets_go_in_the_middle],
}

"""The toy writer with one fault each. A fault's name says what it does; its clause finds it."""

from ota.errors import OtaError
from ota.slots import SECTOR
from toy_writer import HexWriter


class _ClaimsMemory(HexWriter):
    def safe(self):
        return self.received


class _NeverAllSafe(HexWriter):
    def safe(self):
        return min(self.received, 2 * self.stored - self.group)


class _ForgetsSafe(HexWriter):
    def safe(self):
        return 0 if self.missing else super().safe()


class _KeepsMemory(HexWriter):
    def kept(self):
        return self.received


class _BeginsAtZero(HexWriter):
    def begin(self, done, same):
        super().begin(0, same)


class _TrustsSame(HexWriter):
    def begin(self, done, same):
        super().begin(self.size * 2 if same else done, same)

    def write(self, offset, data):
        if self.stored < self.size:
            super().write(offset, data)


class _AlwaysMore(HexWriter):
    def work(self):
        super().work()
        return True


class _ErasesAll(HexWriter):
    _erased = False

    def work(self):
        if not self._erased:
            self._erased = True
            for sector in range(self.stored // SECTOR, self.size // SECTOR + 1):
                self.slot.erase(sector)
        return super().work()


class _StoresHalves(HexWriter):
    def work(self):
        if self.missing and self.missing < self.due():
            self.store()
            return True
        return super().work()


class _KeepsWhatIsLent(HexWriter):
    def begin(self, done, same):
        super().begin(done, same)
        self._lent = []

    def decode(self, at, data):
        self._lent.append((at, data))

    def store(self):
        for at, data in self._lent:
            super().decode(at, data)
        self._lent = []
        super().store()


class _NeedsOrder(HexWriter):
    def write(self, offset, data):
        here = self.stored + self.due() - self.missing if self.missing else self.stored
        super().write(2 * here, data)


class _TakesOneSizeOnly(HexWriter):
    def write(self, offset, data):
        super().write(offset, data)
        self.missing -= max(0, SECTOR // 2 - len(data) // 2) if self.missing else 0


class _HasNoGroup(HexWriter):
    group = 0


class _HasAnOddGroup(HexWriter):
    group = 6144


class _LeavesTheRest(HexWriter):
    def finish(self):
        pass


class _CannotLetGo(HexWriter):
    def abandon(self):
        if self.missing < self.due():
            raise ValueError("in the middle")


class _WritesWhenLetGo(HexWriter):
    def abandon(self):
        self.store()


class _CountsItself(HexWriter):
    def write(self, offset, data):
        super().write(offset, data)
        self.received = self._own = getattr(self, "_own", 0) + len(data)

    def safe(self):
        return getattr(self, "_own", 0)


class _RaisesWhatFlashRaises(HexWriter):
    def store(self):
        self.slot._partition.writeblocks(self.stored // SECTOR, self.view)
        self.stored += self.due()
        self.missing = self.due()


class _FinishRaisesWhatItLikes(HexWriter):
    def finish(self):
        try:
            self.work()
        except OtaError:
            raise ValueError("flash")  # noqa: B904, a chip knows no cause


# Fault -> (class, clause that finds it).
FAULTS = {
    "safe() claims what is in memory only": (_ClaimsMemory, "safe_bytes_lie_in_the_place"),
    "safe() never has the end": (_NeverAllSafe, "safe_is_everything_after_finish"),
    "safe() takes back what it has claimed": (_ForgetsSafe, "safe_bytes_lie_in_the_place"),
    "kept() claims what is in memory only": (
        _KeepsMemory,
        "kept_bytes_lie_in_the_place_when_it_is_let_go",
    ),
    "begin() ignores what lies there": (_BeginsAtZero, "begin_starts_behind_what_lies_there"),
    "begin() believes `same`": (_TrustsSame, "begin_finds_what_it_will_in_the_place"),
    "work() never returns False": (
        _AlwaysMore,
        "work_comes_to_an_end_in_every_state_and_spoils_nothing",
    ),
    "work() erases all at once": (_ErasesAll, "work_takes_no_longer_than_a_write"),
    "work() writes what has not come": (
        _StoresHalves,
        "work_comes_to_an_end_in_every_state_and_spoils_nothing",
    ),
    "write() keeps what was lent": (_KeepsWhatIsLent, "finish_writes_the_rest"),
    "write() takes one size of block only": (
        _TakesOneSizeOnly,
        "write_takes_blocks_of_every_size",
    ),
    "in_order is False and should be True": (
        _NeedsOrder,
        "in_order_is_true_or_any_order_of_a_window_will_do",
    ),
    "group is 0 and should not be": (
        _HasNoGroup,
        "in_order_is_true_or_any_order_of_a_window_will_do",
    ),
    "group is no multiple of the block": (
        _HasAnOddGroup,
        "group_is_a_multiple_of_every_block_that_it_is_for",
    ),
    "finish() writes nothing": (_LeavesTheRest, "finish_writes_the_rest"),
    "finish() raises no FlashError": (
        _FinishRaisesWhatItLikes,
        "begin_work_and_finish_raise_flash_errors",
    ),
    "abandon() cannot come in the middle": (_CannotLetGo, "abandon_lets_go_in_the_middle"),
    "abandon() writes": (_WritesWhenLetGo, "abandon_lets_go_in_the_middle"),
    "received is the writer's own": (_CountsItself, "received_is_kept_by_the_transfer"),
    "an OSError passes": (_RaisesWhatFlashRaises, "write_raises_no_error_but_its_own"),
}


class Module:
    """What stands for the toy's module, with a faulty class."""

    def __init__(self, writer):
        self._writer = writer

    def make(self, board, component, _same):
        return self._writer(board.slots.other, component.size)

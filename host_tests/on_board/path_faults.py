"""The toy path with one fault each. A fault's name says what it does; its clause finds it."""

from toy_path import ToyPath


class _SizeChanges(ToyPath):
    def release(self):
        super().release()
        self.size += 1


class _SizeNeverComes(ToyPath):
    def poll(self, window):
        return -1 if window is None else super().poll(window)


class _BlockBeforeItsWindow(ToyPath):
    def poll(self, window):
        if window is None:
            super().poll(window)
            return 0
        return super().poll(window)


class _BytesLent(ToyPath):
    def lend(self, index, block):
        return super().lend(index, bytes(block))


class _LendsOneBuffer(ToyPath):
    """The block lies in a buffer into which the next one goes as soon as it is there."""

    buffer = bytearray(16384)

    def poll(self, window):
        index = super().poll(window)
        if self.block is not None and self.file.coming:
            waiting = self.file.coming[0][1]
            self.buffer[: len(waiting)] = waiting
        return index

    def lend(self, index, block):
        self.buffer[: len(block)] = block
        return super().lend(index, memoryview(self.buffer)[: len(block)])


class _GoesOnWithoutRelease(ToyPath):
    def poll(self, window):
        before, self.block = self.block, None
        index = super().poll(window)
        if index < 0 and before is not None:
            self.block, index = before, self.index
        return index


class _TakesAnything(ToyPath):
    def poll(self, window):
        if window is None or self.block is not None or not self.file.coming:
            return super().poll(window)
        return self.lend(*self.file.coming.pop(0))


class _TakesAnyLength(ToyPath):
    def poll(self, window):
        coming = self.file.coming
        while window and self.block is None and coming:
            index, block = coming.pop(0)
            if window.wants(index):
                return self.lend(index, block)
        return super().poll(window)


class _BlockOfItsFirstSize(ToyPath):
    _first = 0

    def poll(self, window):
        if window:
            self._first = self._first or window.block_size
            if window.block_size != self._first:
                return -1
        return super().poll(window)


class _BeginsAtZero(ToyPath):
    _next = 0

    def poll(self, window):
        index = super().poll(window)
        if index >= 0 and self._next < index:
            self.index = self._next
        return self.index if index >= 0 else index

    def release(self):
        super().release()
        self._next += 1


class _NeverGivesUp(ToyPath):
    def silence(self):
        pass


class _GivesUpWithItsOwnError(ToyPath):
    def silence(self):
        raise RuntimeError("silent")


class _IgnoresRelease(ToyPath):
    def release(self):
        pass


class _ReleasesTheNumberOnly(ToyPath):
    def poll(self, window):
        index = super().poll(window)
        return self.index if window and index < 0 and self.index >= 0 else index

    def request(self, window):
        self.index = -1
        return super().request(window)


class _AsksAllTheTime(ToyPath):
    def request(self, window):
        super().request(window)
        return 0


class _AsksOnce(ToyPath):
    def ask(self, window):
        if not self.file.asked or self.asked <= 0:
            super().ask(window)


class _IgnoresANewLink(ToyPath):
    def connected(self):
        pass


class _LosesTheLentBlock(ToyPath):
    """And does not know that it must be asked for again."""

    def connected(self):
        self.block = None
        self.asked = 1000
        self.period = 1 << 29
        self.timer.after(self.period)


class _FailsWhenTheServiceAnswers(ToyPath):
    def answered(self):
        self.silence()


class _FailsWhenNamedAgain(ToyPath):
    def named(self, job):
        raise ValueError("again")


class _ReadsARefusal(ToyPath):
    def refused(self, data):
        self._code = data[0]


class _KeepsItsMemory(ToyPath):
    def suspend(self):
        self.block = None


class _HearsOnlyAwake(ToyPath):
    _suspended = False

    def suspend(self):
        super().suspend()
        self._suspended = True

    def resume(self):
        super().resume()
        self._suspended = False

    def answered(self):
        if self._suspended:
            raise ValueError("suspended")


class _ResumesTooSmall(ToyPath):
    def poll(self, window):
        index = super().poll(window)
        if index >= 0:
            own = memoryview(self.inbox.buffers[0])[: len(self.block)]
            own[:] = self.block
            self.block = own
        return index

    def resume(self):
        self.inbox.open(4096 if self.size else self.longest)


class _KeepsTheLentBlock(ToyPath):
    def suspend(self):
        self.inbox.give_back()


class _ClosesOnce(ToyPath):
    _closed = False

    def close(self):
        if self._closed:
            raise ValueError("closed")
        self._closed = True
        super().close()


class _ClosesBetweenBlocksOnly(ToyPath):
    def close(self):
        if self.block is None:
            super().close()


class _NeedsItsMemoryToClose(ToyPath):
    def close(self):
        self.inbox.buffers[0][0] = 0
        super().close()


# Fault -> (class, clause that finds it).
FAULTS = {
    "size changes": (_SizeChanges, "size_stays"),
    "size never comes": (_SizeNeverComes, "size_is_known_before_the_first_block"),
    "a block comes before its window": (
        _BlockBeforeItsWindow,
        "size_is_known_before_the_first_block",
    ),
    "block is a copy": (_BytesLent, "size_stays"),
    "block lies where the next one goes": (_LendsOneBuffer, "block_is_lent_until_release"),
    "poll() goes on without release()": (_GoesOnWithoutRelease, "block_is_lent_until_release"),
    "poll() returns what the window does not want": (
        _TakesAnything,
        "poll_brings_only_what_the_window_wants",
    ),
    "poll() returns a block of another length": (
        _TakesAnyLength,
        "poll_brings_only_what_the_window_wants",
    ),
    "poll() returns blocks of one size only": (
        _BlockOfItsFirstSize,
        "resume_serves_another_window",
    ),
    "poll() begins at the first block of the file": (
        _BeginsAtZero,
        "poll_begins_where_the_window_does",
    ),
    "poll() never gives up": (
        _NeverGivesUp,
        "poll_or_what_is_heard_raises_an_ota_error_when_the_file_never_comes",
    ),
    "poll() gives up with another error": (
        _GivesUpWithItsOwnError,
        "poll_or_what_is_heard_raises_an_ota_error_when_the_file_never_comes",
    ),
    "release() does nothing": (_IgnoresRelease, "release_lets_the_memory_be_used_again"),
    "poll() returns a released block": (
        _ReleasesTheNumberOnly,
        "release_lets_the_memory_be_used_again",
    ),
    "request() never pauses": (_AsksAllTheTime, "request_pauses_while_nothing_comes"),
    "request() asks once": (_AsksOnce, "request_asks_again_when_it_is_due"),
    "connected() does nothing": (_IgnoresANewLink, "connected_asks_at_once"),
    "connected() forgets the lent block": (
        _LosesTheLentBlock,
        "connected_may_take_a_lent_block",
    ),
    "answered() counts what comes as silence": (
        _FailsWhenTheServiceAnswers,
        "answered_and_named_disturb_nothing_that_comes",
    ),
    "named() takes no job twice": (
        _FailsWhenNamedAgain,
        "answered_and_named_disturb_nothing_that_comes",
    ),
    "refused() reads what may be empty": (_ReadsARefusal, "refused_takes_any_bytes"),
    "suspend() keeps the memory": (_KeepsItsMemory, "suspend_gives_the_memory_back"),
    "suspend() keeps the block": (_KeepsTheLentBlock, "suspend_gives_the_memory_back"),
    "suspend() makes it deaf": (
        _HearsOnlyAwake,
        "suspended_it_hears_and_resumed_it_goes_on",
    ),
    "resume() makes buffers for the head only": (
        _ResumesTooSmall,
        "resume_serves_another_window",
    ),
    "close() comes once": (_ClosesOnce, "close_comes_at_any_time_and_twice"),
    "close() comes between blocks": (
        _ClosesBetweenBlocksOnly,
        "close_comes_at_any_time_and_twice",
    ),
    "close() cannot come while suspended": (
        _NeedsItsMemoryToClose,
        "close_comes_at_any_time_and_twice",
    ),
}


class Module:
    """What stands for the toy's module, with a faulty class."""

    def __init__(self, path):
        self.make = path

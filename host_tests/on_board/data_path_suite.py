"""What every data path promises (`ota.transfer`), clause by clause.

A clause takes a kit, which knows one path and the far end that has the file:
    data            bytes of the file
    blocks          block sizes that it may come in
    patience        turns of the far end after which a block is overdue
    world           engine_world.World, since `open`
    open(stops_at, **settings)  open a path in a new world. The far end fails from block `stops_at`
                    of 4096 bytes on, None: from none
    reopen()        open another one in the same world
    turn()          let the far end do a thing
    mend()          let it fail no more
    stray()         let it send what nobody wants, where it can
    break_link(), mend_link()  the client's link is down; it is up again
    job()           the job as the service names it again, None where there is none
    left_open()     what a path holds open
    close()         clean up after a clause
"""

from ota.engine import UNTOLD
from ota.errors import OtaError
from ota.window import Window

BLOCK = 4096
# What no service says.
NOISE = (b"", b"\xff", b"{", b"null", b'{"o":"ResourceNotFound"}', b"\xa1aoaR", bytes(300))


class Fetch:
    """A path that is driven as `transfer` does it. got: numbers of the blocks that have come."""

    def __init__(self, kit, path, block=BLOCK, first=0, here=(), size=0, width=4):
        self.kit = kit
        self.path = path
        turns = 0
        while not path.size:
            assert path.poll(None) == -1, "a block before its window"
            if not path.size:
                path.request(None)
            kit.turn()
            turns += 1
            assert turns < kit.patience, "the size never comes"
        if path.size == UNTOLD:
            path.size = len(kit.data)  # as the head says
        self.window = Window(size or len(kit.data), block, width, first)
        for index in here:
            self.window.mark(index)
        self.got = []
        self._data = memoryview(kit.data)

    def lent(self, moves=False):
        """Drive until a block is lent. Returns its number. moves: as `run`."""
        for _ in range(self.kit.patience):
            index = self.path.poll(self.window)
            if index >= 0:
                return index
            wait = self.path.request(self.window)
            if moves:
                self.kit.world.clock.now += wait
            self.kit.turn()
        raise AssertionError("no block comes")

    def step(self):
        """Take a block, or ask. Returns -1 for a block, else the milliseconds to wait."""
        path, window = self.path, self.window
        index = path.poll(window)
        assert path.size == len(self.kit.data)
        if index >= 0:
            self.take(index)
            return -1
        wait = path.request(window)
        assert isinstance(wait, int) and 0 <= wait <= 75000
        return wait

    def take(self, index):
        """Take the block that is lent."""
        path, window = self.path, self.window
        assert isinstance(path.block, memoryview)
        assert window.takes(index, len(path.block)), "nobody wants it"
        start = index * window.block_size
        assert path.block == self._data[start : start + len(path.block)], "it is another block"
        self.got.append(index)
        path.release()
        assert path.block is None
        window.mark(index)

    def run(self, blocks=1000, moves=False, each=lambda: None):
        """Drive until so many blocks have come, or all. moves: time goes on in every pause."""
        idle = 0
        while blocks and not self.window.complete:
            wait = self.step()
            if wait < 0:
                blocks -= 1
                idle = 0
            else:
                idle += 1
                assert idle < self.kit.patience, "no block comes"
                if moves:
                    self.kit.world.clock.now += wait
            each()
            self.kit.turn()
        return self

    def stuck(self):
        """Drive until the far end fails, and the path waits."""
        waits = 0
        for _ in range(self.kit.patience):
            waits = waits + 1 if self.step() > 0 else 0
            self.kit.turn()
            if waits == 30:
                return self
        raise AssertionError("it asks without a pause")

    def check(self, first=0, here=()):
        """Check that every block has come once."""
        assert self.window.complete
        wanted = [i for i in range(first, self.window.blocks) if i not in here]
        assert sorted(self.got) == wanted


# -- clauses -------------------------------------------------------------------------------------


def size_is_known_before_the_first_block(kit):
    path = kit.open()
    assert path.size in (0, UNTOLD, len(kit.data))
    Fetch(kit, path)
    assert path.size == len(kit.data)


def size_stays(kit):
    Fetch(kit, kit.open()).run().check()  # which looks at it in every step


def block_is_lent_until_release(kit):
    path = kit.open()
    fetch = Fetch(kit, path)
    for _ in range(4):
        index = fetch.lent()
        before = bytes(path.block)
        for _ in range(5):
            kit.turn()
            assert path.poll(fetch.window) == index, "it is the same until it is taken"
        assert bytes(path.block) == before, "its memory was used again"
        fetch.take(index)
    fetch.run().check()


def poll_brings_blocks_of_every_size(kit):
    for block in kit.blocks:
        Fetch(kit, kit.open(block_size=block), block).run().check()
        kit.close()


def poll_brings_only_what_the_window_wants(kit):
    here = 1, 3
    fetch = Fetch(kit, kit.open(), here=here, width=5)
    kit.stray()
    fetch.run(each=kit.stray).check(here=here)


def poll_begins_where_the_window_does(kit):
    Fetch(kit, kit.open(), first=5).run().check(first=5)


def poll_or_what_is_heard_raises_an_ota_error_when_the_file_never_comes(kit):
    path = kit.open(stops_at=2, momentum=3, source_tries=3)
    fetch = Fetch(kit, path)
    try:
        for _ in range(kit.patience):
            wait = fetch.step()
            kit.turn()
            if wait > 0:
                kit.world.clock.now += wait
                path.answered()
    except OtaError:
        assert len(fetch.got) == 2
        return
    raise AssertionError("it never gives up")


def release_lets_the_memory_be_used_again(kit):
    path = kit.open()
    fetch = Fetch(kit, path)
    index = fetch.lent()
    fetch.take(index)
    assert path.poll(fetch.window) != index
    path.release()
    fetch.run()


def request_pauses_while_nothing_comes(kit):
    fetch = Fetch(kit, kit.open(stops_at=2))
    fetch.stuck()
    assert len(fetch.got) == 2


def request_asks_again_when_it_is_due(kit):
    fetch = Fetch(kit, kit.open(stops_at=2)).stuck()
    kit.mend()
    fetch.run(moves=True).check()


def request_passes_what_the_client_raises(kit):
    path = kit.open(stops_at=3, source_tries=1000)
    fetch = Fetch(kit, path).run(1)
    kit.break_link()
    for _ in range(10):
        try:
            wait = fetch.step()
            kit.world.clock.now += max(0, wait)
        except OSError:
            pass
        kit.turn()
    kit.mend_link()
    kit.mend()
    kit.world.engine.channel.open()
    path.connected()
    fetch.run(moves=True).check()


def connected_asks_at_once(kit):
    path = kit.open(stops_at=2)
    fetch = Fetch(kit, path).stuck()
    kit.mend()
    path.connected()
    fetch.run().check()


def connected_may_take_a_lent_block(kit):
    path = kit.open()
    fetch = Fetch(kit, path)
    fetch.run(2)
    fetch.lent()
    kit.world.engine.channel.open()
    path.connected()
    fetch.run().check()


def answered_and_named_disturb_nothing_that_comes(kit):
    path = kit.open(momentum=1, source_tries=1)

    def hear():
        path.answered()
        path.named(kit.job())

    hear()
    Fetch(kit, path).run(each=hear).check()


def refused_takes_any_bytes(kit):
    path = kit.open()
    for noise in NOISE:
        path.refused(noise)
    Fetch(kit, path).run(each=lambda: path.refused(NOISE[-2])).check()


def suspend_gives_the_memory_back(kit):
    path = kit.open()
    fetch = Fetch(kit, path).run(2)
    fetch.lent()
    path.suspend()
    assert path.block is None
    assert not kit.world.inbox.buffers, "the buffers stay"


def suspended_it_hears_and_resumed_it_goes_on(kit):
    for new_link in (False, True):
        path = kit.open()
        fetch = Fetch(kit, path).run(2)
        for _ in range(2):
            fetch.lent(moves=True)
            path.suspend()
            for _ in range(6):
                kit.turn()
            path.answered()
            path.named(kit.job())
            path.refused(b"")
            if new_link:
                path.connected()
            path.resume()
        fetch.run(moves=True).check()
        kit.close()


def resume_serves_another_window(kit):
    """As for the head, and then for the rest in blocks of another size."""
    for block in kit.blocks:
        path = kit.open(block_size=block)
        head = Fetch(kit, path, min(block, BLOCK), size=BLOCK)
        head.run()
        path.suspend()
        path.resume()
        first = BLOCK // block
        Fetch(kit, path, block, first).run(moves=True).check(first)
        kit.close()


def close_comes_at_any_time_and_twice(kit):
    for moment in ("at once", "on its way", "lent", "suspended", "in a pause"):
        path = kit.open(stops_at=2 if moment == "in a pause" else None)
        if moment != "at once":
            fetch = Fetch(kit, path).run(1)
            if moment in ("lent", "suspended"):
                fetch.lent()
            if moment == "suspended":
                path.suspend()
            if moment == "in a pause":
                fetch.stuck()
        path.close()
        path.close()
        for _ in range(6):
            kit.turn()
        inbox = kit.world.inbox
        assert (inbox.stream, len(inbox.buffers)) == (b"", 0), moment
        assert kit.left_open() == [], moment
        kit.mend()
        Fetch(kit, kit.reopen()).run(moves=True).check()
        kit.close()


# Word of the contract -> its clauses.
CLAUSES = {
    "size": [size_is_known_before_the_first_block, size_stays],
    "block": [block_is_lent_until_release],
    "poll": [
        poll_brings_blocks_of_every_size,
        poll_brings_only_what_the_window_wants,
        poll_begins_where_the_window_does,
        poll_or_what_is_heard_raises_an_ota_error_when_the_file_never_comes,
    ],
    "release": [release_lets_the_memory_be_used_again],
    "request": [
        request_pauses_while_nothing_comes,
        request_asks_again_when_it_is_due,
        request_passes_what_the_client_raises,
    ],
    "connected": [connected_asks_at_once, connected_may_take_a_lent_block],
    "answered": [answered_and_named_disturb_nothing_that_comes],
    "named": [answered_and_named_disturb_nothing_that_comes],
    "refused": [refused_takes_any_bytes],
    "suspend": [suspend_gives_the_memory_back, suspended_it_hears_and_resumed_it_goes_on],
    "resume": [resume_serves_another_window, suspended_it_hears_and_resumed_it_goes_on],
    "close": [close_comes_at_any_time_and_twice],
}
